package replica

import (
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Follower is a replica as who fills it from its leader sees it.
//
// What a follower has comes from its leader and nowhere else. Every call names
// the leader epoch in which the caller asked; when the replica has another by
// then, or leads itself, the call changes nothing and fails with
// NOT_LEADER_OR_FOLLOWER or an error of epochs. One goroutine calls at a time.
//
//	Position ──▶ Fetch from the leader ──▶ Append   ──▶ flush ──▶ Learn ──╮
//	   ▲                                ╰▶ Diverged │ Reset               │
//	   ╰──────────────────────────────────────────────────────────────────╯
type Follower struct{ *Replica }

// ErrSettling says that what the log holds is not all flushed: a follower does
// not fetch before, since the offset it fetches from stands for what is flushed.
var ErrSettling = fmt.Errorf("the log is not flushed: %w", kafka.NotLeaderOrFollower)

// errUnsafe is why a follower does not cut off what its leader does not have.
var errUnsafe = errors.New("the leader misses records that were committed and flushed on every replica in sync; " +
	"to drop them here as well, allow unclean.leader.election.enable on the topic and restart this broker, " +
	"to keep them, elect this broker")

// Position is where a follower goes on.
type Position struct {
	Leader, Epoch int32
	// Offset is the end of the log, all of it flushed unless the topic has
	// write.caching.
	Offset int64
	// LastEpoch is the leader epoch of the last batch, kafka.NoEpoch if there
	// is none.
	LastEpoch    int32
	LogStart, HW int64
}

// Following says whom the replica follows and in which epoch; ok is false where
// it does not, or where it is offline.
func (r Follower) Following() (leader, epoch int32, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	leader, epoch = r.mu.part.Leader()
	return leader, epoch, r.mu.part.Role() == partition.Follower && leader >= 0 && r.Offline() == nil
}

// Position is from where to fetch. With [ErrSettling] a flush is under way: see
// [Replica.AwaitFlushed].
func (r Follower) Position() (Position, error) {
	if err := r.Offline(); err != nil {
		return Position{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Position{HW: r.mu.part.HighWatermark()}
	p.Leader, p.Epoch = r.mu.part.Leader()
	if r.mu.part.Role() != partition.Follower {
		return p, r.wrap(kafka.NotLeaderOrFollower)
	}
	at := r.at.Load()
	p.Offset, p.LastEpoch, p.LogStart = r.mu.end, at.log.LatestEpoch(), at.log.Start()
	if at.log.Flushed() < p.Offset && !r.caching.Load() && !invariant.Planted("follow/unflushed") {
		at.schedule(true)
		return p, r.wrap(ErrSettling)
	}
	return p, nil
}

// follows refuses what was asked in another epoch than the replica follows in.
// The caller has the turn.
func (r Follower) follows(epoch int32) error {
	if err := r.Offline(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.mu.part.CheckEpoch(epoch, false)
	if err == nil && r.mu.part.Role() != partition.Follower {
		err = kafka.NotLeaderOrFollower
	}
	if err != nil {
		return r.wrap(err)
	}
	return nil
}

// Append puts what the leader sent to the end of the log: whole batches, whose
// offsets and epochs stay as they are. It checks each, leaves out those that are
// there already and a last one that is cut off, and says whether it wrote any:
// then they are to be flushed, by [FlushAll] from the same goroutine.
//
// Errors: CORRUPT_MESSAGE for what cannot come from a leader, and then nothing is
// written; KAFKA_STORAGE_ERROR.
func (r Follower) Append(batches []byte, epoch int32) (wrote bool, err error) {
	list, err := parse(batches, epoch)
	if err != nil {
		return false, r.wrap(err)
	}
	r.turn.lock()
	after, wrote, err := r.append(list, epoch)
	r.turn.leave()
	after.run(&r.board)
	if r.Offline() != nil {
		r.dismiss(r.Offline(), true)
	}
	return wrote, err
}

// parse checks batches as they come from a leader. Their bytes are not copied.
func parse(b []byte, epoch int32) ([]commitlog.Batch, error) {
	var list []commitlog.Batch
	last := kafka.NoEpoch
	next := int64(0)
	for {
		n := record.Size(b)
		if n == 0 || n > len(b) {
			return list, nil
		}
		h, err := record.Check(b[:n])
		switch {
		case err != nil:
			return nil, err
		case h.BaseOffset < next:
			return nil, fmt.Errorf("batch at offset %d behind one that ends at %d: %w", h.BaseOffset, next, kafka.CorruptMessage)
		case h.LeaderEpoch > epoch || h.LeaderEpoch < last:
			return nil, fmt.Errorf("batch at offset %d of epoch %d, after epoch %d, from a leader of epoch %d: %w",
				h.BaseOffset, h.LeaderEpoch, last, epoch, kafka.CorruptMessage)
		}
		last, next = h.LeaderEpoch, h.NextOffset()
		list = append(list, commitlog.Batch{Bytes: b[:n], Header: h})
		b = b[n:]
	}
}

// append is Append in a turn.
func (r Follower) append(list []commitlog.Batch, epoch int32) (after aftermath, wrote bool, err error) {
	if err := r.follows(epoch); err != nil {
		return after, false, err
	}
	at := r.at.Load()
	end := at.log.End()
	for len(list) > 0 && list[0].Header.NextOffset() <= end {
		list = list[1:]
	}
	if len(list) == 0 {
		return after, false, nil
	}
	if h := &list[0].Header; h.BaseOffset < end || h.LeaderEpoch < at.log.LatestEpoch() {
		return after, false, r.wrap(fmt.Errorf("batch at offset %d of epoch %d, the log ends at %d in epoch %d: %w",
			h.BaseOffset, h.LeaderEpoch, end, at.log.LatestEpoch(), kafka.CorruptMessage))
	}
	had := at.log.Home().Ballast()
	err = at.log.Append(list)
	for vfs.IsNoSpace(err) && at.log.Failed() == nil && kafka.IsInternalTopic(r.tp.Topic) && at.log.Home().RelieveSince(had) {
		had = at.log.Home().Ballast()
		err = at.log.Append(above(list, at.log.End()))
	}
	if at.log.Failed() != nil {
		r.spoil(fmt.Errorf("append: %w", err))
		return after, false, r.Offline()
	}
	if now := at.log.End(); now > end {
		wrote = true
		after = r.filled(list, end, now)
		at.dir.Flusher.Hold(at.log)
	}
	if err != nil {
		err = r.storage(err)
	}
	return after, wrote, err
}

// above is what of a list is not in a log that ends at end.
func above(list []commitlog.Batch, end int64) []commitlog.Batch {
	for len(list) > 0 && list[0].Header.BaseOffset < end {
		list = list[1:]
	}
	return list
}

// filled lets the partition and the readers know what came from the leader.
func (r Follower) filled(list []commitlog.Batch, from, end int64) aftermath {
	var bytes int64
	for i := range list {
		if list[i].Header.BaseOffset < end {
			bytes += int64(len(list[i].Bytes))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.written += bytes
	r.mu.end = end
	a := r.settle(r.mu.part.Written(from, end, false))
	r.mu.all.tell(&a, bytes)
	r.count.ReplicatedIn.Add(bytes)
	return a
}

// Told is what a leader tells of a partition with every answer.
type Told struct {
	Epoch int32 // of the leader
	HW    int64
	// Durable is up to where the whole ISR has flushed.
	Durable  int64
	LogStart int64
}

// Learn takes in what the leader told: consumers here see what is committed, and
// what the leader has deleted goes.
func (r Follower) Learn(t Told) error {
	r.mu.Lock()
	_, epoch := r.mu.part.Leader()
	if epoch != t.Epoch {
		r.mu.Unlock()
		return nil
	}
	a := r.settle(r.mu.part.LeaderHW(t.HW, t.Durable))
	r.mu.Unlock()
	a.run(&r.board)
	if t.LogStart <= r.log().Start() {
		return nil
	}
	return r.trim(t.LogStart, t.Epoch)
}

// trim lets the log begin where the leader's does, as far as it is committed.
func (r Follower) trim(start int64, epoch int32) error {
	r.turn.lock()
	err := r.follows(epoch)
	start = min(start, r.HW())
	moved := err == nil && start > r.log().Start()
	if moved {
		if err = r.log().DeleteTo(start); err != nil {
			err = r.storage(err)
		}
	}
	r.turn.leave()
	if moved && err == nil {
		r.startMoved()
	}
	return err
}

// Diverged cuts off what the leader does not have: it says that the last epoch
// that both may know ended there. The answer may take several rounds, each with an
// older epoch (KIP-279). It gives the log's new end.
//
// What is known to be committed and flushed everywhere is not cut: the replica
// goes offline instead, with all it has, since either this log or the leader is
// not what it was.
func (r Follower) Diverged(at EpochEnd, epoch int32) (int64, error) {
	return r.cut(epoch, func(log *commitlog.Log) int64 {
		own, end := log.EndOffsetForEpoch(at.Epoch)
		switch {
		case own == kafka.NoEpoch:
			return at.Offset
		case own != at.Epoch:
			return end
		}
		return min(end, at.Offset)
	})
}

// Reset has the replica begin anew, or go back, where its own offset is outside
// the leader's log, which goes from start to end.
func (r Follower) Reset(start, end int64, epoch int32) (int64, error) {
	return r.cut(epoch, func(log *commitlog.Log) int64 {
		switch own := log.End(); {
		case own > end:
			return end
		case own < start:
			return start
		default:
			return own
		}
	})
}

// cut moves the log's end to where to says, which may be beyond it: then the log
// is emptied and begins there.
func (r Follower) cut(epoch int32, to func(*commitlog.Log) int64) (int64, error) {
	r.turn.lock()
	err := r.follows(epoch)
	if err == nil {
		err = r.cutTo(to(r.log()))
	}
	end := r.log().End()
	r.turn.leave()
	if r.Offline() != nil {
		r.dismiss(r.Offline(), true)
		err = r.Offline()
	}
	r.ring()
	return end, err
}

// cutTo is cut in a turn. The partition hears of it after: what a flush reports
// meanwhile is bounded by what the log says, see recount.
func (r Follower) cutTo(to int64) error {
	log := r.log()
	r.mu.Lock()
	safe, end := r.mu.part.Safe(), r.mu.end
	if r.set.Load().Unclean {
		safe = 0
	}
	r.mu.Unlock()
	switch {
	case invariant.Planted("follow/far"):
		to, safe = log.Start(), 0
	case invariant.Planted("follow/little"):
		to = end
	}
	if to < safe {
		r.spoil(fmt.Errorf("cut to %d, committed and flushed to %d, end %d: %w", to, safe, end, errUnsafe))
		return r.Offline()
	}
	if to < end {
		r.env.logger.Warn("follower cuts off what its leader does not have", "partition", r.tp.String(), "from", to, "end", end, "hw", r.HW())
	}
	var err error
	if to > end || to < log.Start() {
		r.env.logger.Warn("follower begins anew", "partition", r.tp.String(), "at", to, "start", log.Start(), "end", end)
		err = log.ResetTo(to)
	} else {
		err = log.TruncateTo(to)
	}
	r.recount(log)
	if failed := log.Failed(); failed != nil {
		r.spoil(fmt.Errorf("cut: %w", failed))
	}
	if err != nil {
		return r.storage(err)
	}
	return nil
}

// recount takes the log's end anew after a cut.
func (r Follower) recount(log *commitlog.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := log.End()
	r.mu.part.Truncated(log.Start(), end, log.Flushed())
	r.mu.end = end
	r.mu.written, r.mu.seen, r.mu.stableSeen = 0, 0, 0
	hw := r.mu.part.HighWatermark()
	lso := hw
	if first, ok := r.producers.FirstUnstable(hw); ok {
		lso = min(lso, first)
	}
	r.hw.Store(hw)
	r.lso.Store(lso)
}
