package replica

import (
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// Isolation says up to where a reader may read.
type Isolation int8

const (
	// ReadUncommitted reads up to the high watermark.
	ReadUncommitted Isolation = iota
	// ReadCommitted reads up to the last stable offset and gets the aborted
	// transactions to leave out.
	ReadCommitted
	// ReadAll reads up to the log end; for followers and this broker itself.
	ReadAll
)

// Read asks for batches from an offset on.
type Read struct {
	Offset   int64
	MaxBytes int
	// MinOne gives at least one whole batch even if it has more than MaxBytes
	// (KIP-74).
	MinOne    bool
	Isolation Isolation
	// CurrentEpoch is the leader epoch that the reader knows (KIP-320),
	// LastFetchedEpoch that of the last batch it has (KIP-595); kafka.NoEpoch
	// leaves out the check.
	CurrentEpoch, LastFetchedEpoch int32
	// FromLeader refuses unless this broker leads; consumers that may read from
	// the nearest replica leave it out (KIP-392).
	FromLeader bool
}

// Result is what Read found. Range is empty when nothing is there yet, or when
// Diverging is set; release it once.
type Result struct {
	Range     commitlog.Range
	HW, LSO   int64
	LogStart  int64
	LogEnd    int64
	Aborted   []commitlog.AbortedTxn // by first offset; for ReadCommitted only
	Diverging *EpochEnd
}

// EpochEnd is the last epoch not above one that was asked for, and the offset
// at which it ended.
type EpochEnd struct {
	Epoch  int32
	Offset int64
}

// Read gives whole batches from the one that contains q.Offset on. The bytes
// stay in the file: send or read them through the range.
//
// Errors: OFFSET_OUT_OF_RANGE, those of epochs and roles, KAFKA_STORAGE_ERROR.
func (r *Replica) Read(q Read) (Result, error) {
	r.count.TotalFetch.Add(1)
	res, err := r.read(&q)
	if err != nil {
		r.count.FailedFetch.Add(1)
		return Result{}, err
	}
	if q.Isolation == ReadAll {
		r.count.ReplicatedOut.Add(int64(res.Range.Len()))
	} else {
		r.count.BytesOut.Add(int64(res.Range.Len()))
	}
	return res, nil
}

// read looks again in the log that took the place of the one it began with.
func (r *Replica) read(q *Read) (Result, error) {
	for {
		at := r.at.Load()
		res, err := r.readFrom(at.log, q)
		if err == nil || r.at.Load() == at {
			return res, err
		}
	}
}

func (r *Replica) readFrom(log *commitlog.Log, q *Read) (Result, error) {
	if err := r.check(q.CurrentEpoch, q.FromLeader); err != nil {
		return Result{}, err
	}
	// The outer offsets are loaded last: they only grow, so every order of the
	// four holds in the answer.
	res := Result{LSO: r.LSO(), HW: r.HW(), LogEnd: log.End(), LogStart: log.Start()}
	if q.LastFetchedEpoch != kafka.NoEpoch && !invariant.Planted("replica/diverging") {
		end, err := r.diverging(log, q)
		if err != nil || end != nil {
			res.Diverging = end
			return res, err
		}
	}
	if q.Offset < res.LogStart || q.Offset > res.LogEnd {
		return Result{}, r.wrap(fmt.Errorf("offset %d, the log has %d to %d: %w", q.Offset, res.LogStart, res.LogEnd, kafka.OffsetOutOfRange))
	}
	limit := res.HW
	switch q.Isolation {
	case ReadCommitted:
		limit = res.LSO
	case ReadAll:
		limit = res.LogEnd
	}
	if q.Offset >= limit {
		return res, nil
	}
	var err error
	res.Range, err = log.Read(q.Offset, q.MaxBytes, limit, q.MinOne)
	if err != nil {
		return Result{}, r.storage(err)
	}
	if q.Isolation == ReadCommitted && res.Range.Len() > 0 && !invariant.Planted("replica/aborted") {
		if res.Aborted, err = res.Range.Aborted(log, q.Offset, limit); err != nil {
			res.Range.Release()
			return Result{}, r.storage(err)
		}
	}
	return res, nil
}

// diverging finds out whether the reader's last batch is in this log: nil if it
// is, else where the logs part.
func (r *Replica) diverging(log *commitlog.Log, q *Read) (*EpochEnd, error) {
	epoch, end := log.EndOffsetForEpoch(q.LastFetchedEpoch)
	switch {
	case epoch == kafka.NoEpoch || end == kafka.NoOffset:
		return nil, r.wrap(fmt.Errorf("no end is known of epoch %d: %w", q.LastFetchedEpoch, kafka.OffsetOutOfRange))
	case epoch < q.LastFetchedEpoch || end < q.Offset:
		return &EpochEnd{Epoch: epoch, Offset: end}, nil
	}
	return nil, nil
}

// storage gives an error of the log its code if it has none.
func (r *Replica) storage(err error) error {
	var c kafka.Code
	if errors.As(err, &c) {
		return r.wrap(err)
	}
	return fmt.Errorf("partition %s: %w: %w", r.tp, err, kafka.KafkaStorageError)
}

// OffsetQuery asks for an offset by time, as ListOffsets does.
type OffsetQuery struct {
	// Timestamp is in ms, or one of the sentinels of package kafka.
	Timestamp    int64
	Isolation    Isolation
	CurrentEpoch int32
	FromLeader   bool
}

// OffsetFor answers a query: the first record whose timestamp is not less, exact
// to the record, or what the sentinel names. Where there is none, offset,
// timestamp and epoch are -1.
//
// Errors: those of epochs and roles; OFFSET_NOT_AVAILABLE while the leader does
// not know yet how far its predecessor had committed (KIP-207).
func (r *Replica) OffsetFor(q OffsetQuery) (commitlog.Found, error) {
	none := commitlog.Found{Offset: kafka.NoOffset, Timestamp: kafka.NoTimestamp, Epoch: kafka.NoEpoch}
	if err := r.check(q.CurrentEpoch, q.FromLeader); err != nil {
		return none, err
	}
	limit := r.readable(q.Isolation)
	var unsure error
	if q.Isolation != ReadAll {
		r.mu.Lock()
		unsure = r.mu.part.LatestKnown()
		r.mu.Unlock()
	}
	switch q.Timestamp {
	case kafka.LatestTimestamp:
		if unsure != nil {
			return none, r.wrap(unsure)
		}
		_, epoch := r.Leader()
		return commitlog.Found{Offset: limit, Timestamp: kafka.NoTimestamp, Epoch: epoch}, nil
	case kafka.EarliestTimestamp, kafka.EarliestLocalTimestamp:
		return r.earliest(), nil
	case kafka.LatestTieredTimestamp, kafka.EarliestPendingUploadTimestamp:
		return none, nil
	}
	found, ok, err := r.lookUp(q.Timestamp)
	switch {
	case err != nil:
		return none, r.storage(err)
	case ok && found.Offset < limit:
		return found, nil
	case unsure != nil:
		return none, r.wrap(unsure)
	}
	return none, nil
}

// lookUp finds a record by time, or the one with the largest.
func (r *Replica) lookUp(at int64) (found commitlog.Found, ok bool, err error) {
	for {
		b := r.at.Load()
		if at == kafka.MaxTimestamp {
			found, ok, err = b.log.MaxTimestamp()
		} else {
			found, ok, err = b.log.OffsetForTime(at)
		}
		if err == nil || r.at.Load() == b {
			return found, ok, err
		}
	}
}

// earliest is the log's start, with its epoch where that is known.
func (r *Replica) earliest() commitlog.Found {
	f := commitlog.Found{Offset: r.log().Start(), Timestamp: kafka.NoTimestamp, Epoch: kafka.NoEpoch}
	if epochs := r.log().Epochs(); len(epochs) > 0 && epochs[0].Start <= f.Offset {
		f.Epoch = epochs[0].Epoch
	}
	return f
}

func (r *Replica) readable(i Isolation) int64 {
	switch i {
	case ReadCommitted:
		return r.LSO()
	case ReadAll:
		return r.log().End()
	}
	return r.HW()
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch not above
// the one asked for and the offset at which it ended, both -1 if none is known.
func (r *Replica) EndOffsetForEpoch(current, asked int32) (EpochEnd, error) {
	if err := r.check(current, true); err != nil {
		return EpochEnd{kafka.NoEpoch, kafka.NoOffset}, err
	}
	epoch, end := r.log().EndOffsetForEpoch(asked)
	return EpochEnd{epoch, end}, nil
}

// DeleteRecords moves the log's start up to offset, or to the high watermark
// for -1, and gives the start as it then is (KIP-107).
//
// Errors: OFFSET_OUT_OF_RANGE beyond the high watermark, POLICY_VIOLATION on a
// topic that is compacted only, those of roles.
func (r *Replica) DeleteRecords(offset int64) (int64, error) {
	if err := r.check(kafka.NoEpoch, true); err != nil {
		return kafka.NoOffset, err
	}
	if s := r.set.Load(); s.Compacted && s.Log.KeepAll {
		return kafka.NoOffset, r.wrap(fmt.Errorf("the topic is compacted: %w", kafka.PolicyViolation))
	}
	hw := r.HW()
	if offset == kafka.NoOffset {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return kafka.NoOffset, r.wrap(fmt.Errorf("offset %d, high watermark %d: %w", offset, hw, kafka.OffsetOutOfRange))
	}
	// In a turn, so that the log cannot be moved away meanwhile with the old start.
	r.turn.lock()
	moved := offset > r.log().Start()
	var err error
	if moved {
		err = r.log().DeleteTo(offset)
	}
	start := r.log().Start()
	r.turn.leave()
	if err != nil {
		return kafka.NoOffset, r.storage(err)
	}
	if moved {
		r.startMoved()
	}
	return start, nil
}

// startMoved tells the partition and the watchers that the log begins later
// now.
func (r *Replica) startMoved() {
	r.mu.Lock()
	a := r.settle(r.mu.part.LogStart(r.log().Start()))
	r.mu.Unlock()
	a.run(&r.board)
	r.ring()
}

// Batches reads and copies whole batches from offset on for this broker's own
// use: a coordinator that loads its partition. It gives nothing at the end; next
// is the offset to go on from.
func (r *Replica) Batches(offset int64, maxBytes int, i Isolation) (batches []byte, next int64, err error) {
	res, err := r.Read(Read{Offset: offset, MaxBytes: maxBytes, MinOne: true, Isolation: i,
		CurrentEpoch: kafka.NoEpoch, LastFetchedEpoch: kafka.NoEpoch, FromLeader: true})
	if err != nil {
		return nil, offset, err
	}
	if res.Range.Len() == 0 {
		return nil, offset, nil
	}
	defer res.Range.Release()
	batches = make([]byte, res.Range.Len())
	if _, err := res.Range.ReadAt(batches, 0); err != nil {
		return nil, offset, r.storage(err)
	}
	for rest := batches; len(rest) > 0; {
		h, err := record.ParseHeader(rest)
		if err != nil || h.Size() > len(rest) {
			return nil, offset, r.storage(fmt.Errorf("batch after %d is cut off: %w", next, kafka.CorruptMessage))
		}
		next = h.NextOffset()
		rest = rest[h.Size():]
	}
	return batches, next, nil
}
