package replica

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Origin says who wrote a batch, and with that which rules it is under.
type Origin int8

const (
	// Client: all rules apply.
	Client Origin = iota
	// Coordinator: a group or transaction coordinator writes its topic. Its
	// batches are always durable and are not opened.
	Coordinator
	// Marker: the end of a transaction. Always durable; its producer epoch is
	// checked, it has no sequence.
	Marker
)

// Batch is one batch to append.
type Batch struct {
	// Bytes is exactly one batch that [record.CheckClient] accepted, or that
	// this broker built. Append writes offset and epoch into it.
	Bytes  []byte
	Header record.Header
	// Epoch is the leader epoch that the caller expects; kafka.NoEpoch: any.
	Epoch int32
	// Durable asks that the batch be flushed on the whole ISR before anybody
	// sees it (acks=all). It needs min.insync.replicas.
	Durable bool
	// Lone says that the caller has nothing else to do than to wait: it calls
	// [Replica.Flush] next, or [FlushAll] where it has several, and nobody is woken
	// to flush.
	Lone   bool
	Origin Origin
	// Guard is what [Replica.Guard] gave for a client's transactional batch.
	Guard Guard
	// CoordinatorEpoch is that of a marker's writer, TxnVersion the version of the
	// transaction that it ends (KIP-890).
	CoordinatorEpoch int32
	TxnVersion       int16
}

// Appended is where a batch went.
type Appended struct {
	Base, Last int64
	LogStart   int64
	AppendTime int64 // ms under LogAppendTime and for duplicates, else -1
	// Duplicate: the batch was there already. Base and Last are the first
	// one's; wait for them with [Waiter.Durable] as for a new batch.
	Duplicate bool
}

// Append writes a batch to the log in its turn. On return the batch is in the
// page cache and visible as far as nothing holds it back; b.Bytes may be used
// again. It is acknowledged to who sent acks=all only when a [Waiter] for
// Last+1 is done.
//
// It waits for its turn and for the write, never for a flush. The package
// comment lists the errors; one of kind [*record.Refusal] names records. After
// KAFKA_STORAGE_ERROR it is unknown whether the batch is in the log, except where
// the disk is full ([vfs.IsNoSpace]) or nearly so: then it is not.
func (r *Replica) Append(b Batch) (Appended, error) {
	r.count.TotalProduce.Add(1)
	got, err := r.append(&b)
	if err != nil {
		r.count.FailedProduce.Add(1)
		return Appended{LogStart: kafka.NoOffset}, err
	}
	return got, nil
}

func (r *Replica) append(b *Batch) (Appended, error) {
	if err := r.admit(b); err != nil {
		return Appended{}, err
	}
	if err := r.inspect(b); err != nil {
		return Appended{}, err
	}
	e := r.env.entries.Get().(*entry)
	e.batch, e.got, e.err = *b, Appended{}, nil
	if r.turn.enter(e) || <-e.wake == yours {
		r.write(e)
	}
	got, err := e.got, e.err
	e.batch = Batch{}
	r.env.entries.Put(e)
	return got, err
}

// Flush flushes, on the caller's goroutine, what its batch under [Batch.Lone]
// asked for, and tells all who waited for that. It may find nothing to do.
func (r *Replica) Flush() {
	b := r.at.Load()
	b.dir.Flusher.Help(b.log)
}

// FlushMost is how many replicas a lone caller may have [FlushAll] flush.
const FlushMost = 8

// FlushAll is [Replica.Flush] for several replicas at once, one of them on the
// caller's goroutine. To begin when all are written saves the file system a
// journal commit: what comes after the first has begun waits for another. And what
// is on its way to the device already takes a worker that is late no time.
func FlushAll(replicas []*Replica) {
	last := len(replicas) - 1
	if last > 0 {
		for _, r := range replicas {
			b := r.at.Load()
			b.dir.Flusher.WriteOut(b.log)
		}
	}
	for i, r := range replicas {
		if i == last {
			r.Flush()
			return
		}
		b := r.at.Load()
		b.dir.Flusher.Release(b.log)
	}
}

// FlushFilled flushes what [Follower.Append] wrote to several replicas. It does
// not wait for all: see [Replica.AwaitFlushed].
func FlushFilled(list []*Replica) {
	for _, r := range list {
		if r.at.Load().dir != list[0].at.Load().dir { // a disk that stalls is to hold up no other
			for _, r := range list {
				at := r.at.Load()
				at.dir.Flusher.Release(at.log)
			}
			return
		}
	}
	FlushAll(list)
}

// admit refuses early what the turn would refuse, so that nothing is opened or
// queued in vain; the turn asks again.
func (r *Replica) admit(b *Batch) error {
	if err := r.Offline(); err != nil {
		return err
	}
	r.mu.Lock()
	err := r.mu.part.Admit(b.Epoch, b.demanding())
	if r.mu.resigned {
		err = kafka.NotLeaderOrFollower
	}
	r.mu.Unlock()
	if err == nil && b.Origin == Client {
		err = r.log().Home().Crowded()
	}
	if err != nil {
		return r.wrap(err)
	}
	return nil
}

// inspect applies the topic's rules to the batch itself: its size, and what is
// in it where the header leaves doubt.
func (r *Replica) inspect(b *Batch) error {
	s := r.set.Load()
	if err := r.fits(b, s); err != nil {
		return err
	}
	if b.Origin != Client {
		return nil
	}
	now := r.env.nowMs()
	if !s.rules.MustOpen(&b.Header, now) {
		return nil
	}
	r.count.OpenedForRules.Add(1)
	var err error
	rules := s.rules
	rules.Partition = r.tp
	b.Bytes, b.Header, err = r.env.pool.Inspect(b.Bytes, b.Header, &rules, now)
	if err != nil {
		return r.wrap(err)
	}
	return r.fits(b, s)
}

// fits holds a batch to max.message.bytes and segment.bytes, and cuts off what
// follows it.
func (r *Replica) fits(b *Batch, s *settings) error {
	n := b.Header.Size()
	switch {
	case n > len(b.Bytes):
		return r.wrap(fmt.Errorf("batch of %d bytes in %d: %w", n, len(b.Bytes), kafka.CorruptMessage))
	case n > s.MaxMessageBytes && b.Origin != Marker:
		return r.wrap(fmt.Errorf("batch of %d bytes, max.message.bytes is %d: %w", n, s.MaxMessageBytes, kafka.MessageTooLarge))
	case int64(n) > s.segmentBytes:
		return r.wrap(fmt.Errorf("batch of %d bytes, segment.bytes is %d: %w", n, s.segmentBytes, kafka.RecordListTooLarge))
	}
	b.Bytes = b.Bytes[:n]
	return nil
}

// write is the holder's part of an append: everything from admit to publish, for
// itself and all who queued, then it hands the turn on.
func (r *Replica) write(own *entry) {
	h := r.env.holders.Get().(*holder)
	h.group = r.turn.gather(append(h.group[:0], own), len(own.batch.Bytes))
	h.batches, h.writes = h.batches[:0], h.writes[:0]

	flush := r.produce(h)
	var after aftermath
	at, failed := r.at.Load(), false
	if len(h.batches) > 0 {
		after, failed = r.put(h, at.log)
	}
	switch {
	case failed:
	case flush && own.batch.Lone && own.err == nil && len(h.group) == 1:
		at.dir.Flusher.Hold(at.log)
	case flush || len(h.batches) > 0:
		at.schedule(flush)
	}

	// Once woken, an entry belongs to its owner, and once the turn is left, the
	// scratch memory to the next holder.
	for i, e := range h.group {
		if e != own {
			e.wake <- done
		}
		h.group[i] = nil
	}
	clear(h.batches)
	clear(h.writes)
	r.env.holders.Put(h)
	r.turn.leave()
	// Those who are told now may append again, so the turn must be free.
	after.run(&r.board)
	if failed {
		r.dismiss(r.Offline(), true)
	}
}

// put writes the batches of a turn and lets everyone know. Those that find the
// disk full are refused, and nothing is left of them; failed says that the log
// is at its end.
func (r *Replica) put(h *holder, log *commitlog.Log) (after aftermath, failed bool) {
	had := log.Home().Ballast()
	err := log.Append(h.batches)
	for vfs.IsNoSpace(err) && log.Failed() == nil && h.vital() && log.Home().RelieveSince(had) {
		had = log.Home().Ballast()
		err = log.Append(h.batches[h.written(log.End()):])
	}
	if err == nil {
		return r.publish(h), false
	}
	if log.Failed() != nil {
		r.spoil(fmt.Errorf("append: %w", err))
		for _, e := range h.writes {
			e.err = r.Offline()
		}
		return after, true
	}
	end := log.End()
	log.Producers().Restore(&h.undo, end)
	for _, e := range h.group { // also what was taken for a duplicate of these
		if e.err == nil && e.got.Last >= end {
			e.err = r.wrap(err)
		}
	}
	n := h.written(end)
	clear(h.writes[n:])
	h.writes = h.writes[:n]
	if n > 0 {
		after = r.publish(h)
	}
	return after, false
}

// written is how many of the batches lie below the log's end.
func (h *holder) written(end int64) (n int) {
	for n < len(h.writes) && h.writes[n].got.Last < end {
		n++
	}
	return n
}

// vital says whether this broker writes for itself: what a full disk makes way
// for.
func (h *holder) vital() bool {
	return slices.ContainsFunc(h.writes, func(e *entry) bool { return e.batch.Origin != Client })
}

// produce admits each of the group, asks the producer state, gives out offsets
// and stamps. What is to be written is then in h.batches and h.writes. It says
// whether somebody waits for a flush.
func (r *Replica) produce(h *holder) (flush bool) {
	r.mu.Lock()
	for _, e := range h.group {
		e.err = r.mu.part.Admit(e.batch.Epoch, e.batch.demanding())
	}
	_, epoch := r.mu.part.Leader()
	r.mu.Unlock()
	broken := r.Offline()

	h.undo.Reset()
	s := r.set.Load()
	next, start := r.log().End(), r.log().Start()
	for _, e := range h.group {
		switch {
		case broken != nil:
			e.err = broken
			continue
		case e.err != nil:
			e.err = r.wrap(e.err)
			continue
		}
		b := &e.batch
		if e.err = r.fits(b, s); e.err != nil { // by the rules of this turn
			continue
		}
		dup, err := r.known(b)
		if err != nil {
			e.err = r.wrap(err)
			continue
		}
		if dup.Duplicate {
			r.count.Duplicates.Add(1)
			e.got = Appended{Base: dup.Base, Last: dup.Last, LogStart: start, AppendTime: dup.Timestamp, Duplicate: true}
			flush = flush || b.Durable && !s.WriteCaching && r.log().Flushed() <= dup.Last
			continue
		}
		flush = flush || b.mustFlush(s)
		e.got = Appended{Base: next, LogStart: start, AppendTime: kafka.NoTimestamp}
		record.Stamp(b.Bytes, next, epoch)
		if s.AppendTime && b.Origin == Client {
			if r.stamp == 0 { // not below what an earlier process wrote
				r.stamp = max(0, commitlog.LastAppendTime(r.log()))
			}
			r.stamp = max(r.stamp, r.env.nowMs())
			b.Header = record.SetAppendTime(b.Bytes, r.stamp)
			e.got.AppendTime = r.stamp
		} else {
			b.Header.BaseOffset, b.Header.LeaderEpoch = next, epoch
		}
		e.got.Last = b.Header.LastOffset()
		next = e.got.Last + 1
		r.log().Producers().Take(&b.Header, &h.undo)
		h.batches = append(h.batches, commitlog.Batch{Bytes: b.Bytes, Header: b.Header})
		h.writes = append(h.writes, e)
	}
	return flush
}

// known asks the producer state about a batch: whether it may come now, or came
// already.
func (r *Replica) known(b *Batch) (commitlog.Verdict, error) {
	if !b.Header.Idempotent() || b.Origin == Client && invariant.Planted("replica/duplicates") {
		return commitlog.Verdict{}, nil
	}
	if b.Origin == Marker {
		return commitlog.Verdict{}, r.markable(b)
	}
	if b.Origin == Coordinator { // in the name of a producer, without its sequences
		return commitlog.Verdict{}, r.log().Producers().CheckEpoch(b.Header.ProducerID, b.Header.ProducerEpoch)
	}
	v, err := r.log().Producers().Check(&b.Header)
	if err == nil && !v.Duplicate && b.Origin == Client && b.Header.Attributes.Has(record.Transactional) && !invariant.Planted("replica/guard") {
		err = r.guarded(b)
	}
	return v, err
}

// demanding says whether a batch needs min.insync.replicas: acks=all, and
// whatever this broker writes itself.
func (b *Batch) demanding() bool { return b.Durable || b.Origin != Client }

// mustFlush says whether nobody may see the batch before it is flushed. On top
// of acks=all that is so for transactions, since their outcome is decided on it.
func (b *Batch) mustFlush(s *settings) bool {
	if s.WriteCaching || invariant.Planted("replica/flush") {
		return false
	}
	return b.demanding() || b.Header.Attributes.Has(record.Transactional)
}

// publish lets the partition and the readers know what was written.
func (r *Replica) publish(h *holder) aftermath {
	s := r.set.Load()
	var bytes, records int64
	r.mu.Lock()
	fx := partition.Effects{}
	for _, e := range h.writes {
		b := &e.batch
		bytes += int64(len(b.Bytes))
		records += int64(b.Header.Count)
		step := r.mu.part.Written(e.got.Base, e.got.Last+1, b.mustFlush(s))
		fx.Advanced = fx.Advanced || step.Advanced
	}
	r.mu.written += bytes
	r.mu.end = h.writes[len(h.writes)-1].got.Last + 1
	a := r.settle(fx)
	r.mu.all.tell(&a, bytes)
	r.mu.Unlock()
	r.count.BytesIn.Add(bytes)
	r.count.MessagesIn.Add(records)
	return a
}
