package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// ErrOvertaken says that a replacement came too late: retention, truncation or
// another replacement changed the segments it stood for. Nothing was changed.
var ErrOvertaken = errors.New("the segments were changed meanwhile")

// replaceBuffer is how much of a new segment is collected for one write.
const replaceBuffer = 512 << 10

// Rewriter is the side of a log that compaction works on.
type Rewriter struct{ *Log }

// Replacement rewrites a run of closed segments. The caller reads them with
// [Rewriter.Scan], appends what is to stay, and ends with Commit or Discard.
//
// Offsets do not change: a batch is appended as it was, or with fewer records,
// and in the same order. What is appended lies in files of its own, which
// nobody reads until Commit.
type Replacement struct {
	log   *Log
	olds  []*segment.Segment
	sizes []int64 // of olds
	next  int64   // base of the segment behind
	cuts  int     // of the log, when it began
	limit int64   // how large a new segment may grow

	parts []*segment.Segment
	last  int64 // last offset of the newest part, below its base if it is empty
	epoch int32 // leader epoch of the last batch
	buf   []byte
	marks []segment.Mark
}

// Replace begins to rewrite the closed segments from the one with base from to
// the one before base next. What they hold is durable, and the recovery point is
// behind them on disk, before it returns: only there may offsets be missing.
//
// ErrOvertaken: there is no such run.
func (l Rewriter) Replace(from, next int64) (*Replacement, error) {
	if err := l.settleBelow(next); err != nil {
		return nil, err
	}
	l.tidying.lock() // what a crash leaves of the new files is only looked for if the log is not at rest
	err := rester(l).stirForGood()
	l.tidying.unlock()
	if err != nil {
		return nil, err
	}
	l.flushing.lock()
	cuts := l.cuts
	l.flushing.unlock()
	r := &Replacement{log: l.Log, next: next, cuts: cuts, last: from - 1, limit: l.tunables.Load().SegmentBytes}
	segs := *l.segments.Load()
	i := slices.IndexFunc(segs, func(s *segment.Segment) bool { return s.Base() == from })
	j := slices.IndexFunc(segs, func(s *segment.Segment) bool { return s.Base() == next })
	if i < 0 || j <= i {
		return nil, fmt.Errorf("log %s: segments %d to %d: %w", l.tp, from, next, ErrOvertaken)
	}
	r.olds = slices.Clone(segs[i:j])
	for _, s := range r.olds {
		r.sizes = append(r.sizes, s.Size())
		r.limit = max(r.limit, s.Size())
	}
	r.limit = min(r.limit, math.MaxInt32)
	return r, nil
}

// settleBelow makes the recovery point on disk pass offset, the begin of a
// segment.
func (l Rewriter) settleBelow(offset int64) error {
	if err := l.Failed(); err != nil {
		return err
	}
	if l.point.Load() < offset {
		if l.flushed.Load() < offset {
			if err := l.Flush(); err != nil {
				return err
			}
		}
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	if l.point.Load() < offset {
		return fmt.Errorf("log %s: nothing is durable up to %d: %w", l.tp, offset, ErrOvertaken)
	}
	return l.home.saving.do()
}

// Append adds a batch, whose bytes are copied. Its offsets lie behind those
// before and within the run.
func (r *Replacement) Append(h *record.Header, batch []byte) error {
	if h.BaseOffset <= r.last || h.LastOffset() >= r.next || h.Size() != len(batch) {
		return fmt.Errorf("log %s: batch of %d bytes at %d to %d after %d, before %d: %w",
			r.log.tp, len(batch), h.BaseOffset, h.LastOffset(), r.last, r.next, kafka.InvalidRecord)
	}
	if err := r.room(h); err != nil {
		return err
	}
	if len(r.buf)+len(batch) > replaceBuffer && len(r.buf) > 0 {
		if err := r.write(); err != nil {
			return err
		}
	}
	r.buf = append(r.buf, batch...)
	r.marks = append(r.marks, markOf(h))
	r.last, r.epoch = h.LastOffset(), h.LeaderEpoch
	return nil
}

// AppendAborted notes a rolled back transaction whose marker was just appended.
func (r *Replacement) AppendAborted(a AbortedTxn) error {
	if len(r.parts) == 0 {
		return fmt.Errorf("log %s: aborted transaction before its marker: %w", r.log.tp, kafka.InvalidRecord)
	}
	return r.parts[len(r.parts)-1].AppendAborted(a)
}

// room begins a new part where there is none or the batch does not fit.
func (r *Replacement) room(h *record.Header) error {
	if len(r.parts) == 0 {
		return r.begin(r.olds[0].Base())
	}
	part := r.parts[len(r.parts)-1]
	if part.Size()+int64(len(r.buf)+h.Size()) <= r.limit && h.LastOffset()-part.Base() <= math.MaxInt32 && !part.IndexFull() {
		return nil
	}
	if err := r.end(h.BaseOffset); err != nil {
		return err
	}
	return r.begin(h.BaseOffset)
}

func (r *Replacement) begin(base int64) error {
	cfg := r.log.segmentConfig(base)
	cfg.Ending = cleanedSuffix
	part, err := segment.Create(cfg)
	if err != nil {
		return storageError("log "+r.log.tp.String()+": replacement", err)
	}
	r.parts = append(r.parts, part)
	return nil
}

func (r *Replacement) write() error {
	if len(r.buf) == 0 {
		return nil
	}
	err := r.parts[len(r.parts)-1].Write([][]byte{r.buf}, r.marks)
	r.buf, r.marks = r.buf[:0], r.marks[:0]
	return storageError("log "+r.log.tp.String()+": replacement", err)
}

// end completes the newest part, behind which offset begins what is next: all of
// it is durable then, but for its name.
//
// A part ends at or behind the base of the last segment that it replaces, if
// need be with an empty batch: so finishing a swap that was cut off can tell
// from the names which old segments go.
func (r *Replacement) end(offset int64) error {
	part := r.parts[len(r.parts)-1]
	covers := part.Base()
	for _, s := range r.olds {
		if s.Base() < offset {
			covers = max(covers, s.Base())
		}
	}
	if r.last < covers {
		filler := record.Empty(&record.Header{BaseOffset: covers, LeaderEpoch: r.epoch, ProducerID: kafka.NoProducer,
			ProducerEpoch: kafka.NoProdEpoch, BaseSequence: kafka.NoSequence, MaxTimestamp: kafka.NoTimestamp})
		h, err := record.ParseHeader(filler)
		if err != nil {
			return err
		}
		r.buf = append(r.buf, filler...)
		r.marks = append(r.marks, markOf(&h))
		r.last = covers
	}
	err := r.write()
	for _, step := range []func() error{part.Seal, part.Sync, func() error { return part.SyncIndexes(offset) }} {
		if err == nil {
			err = storageError("log "+r.log.tp.String()+": replacement", step())
		}
	}
	return err
}

// Discard gives the replacement up and removes what it wrote. After Commit it
// does nothing.
func (r *Replacement) Discard() error {
	var err error
	for _, part := range r.parts {
		err = errors.Join(err, part.Remove())
	}
	r.parts = nil
	return err
}

// Commit puts the new segments in place of the old ones, by the steps drawn in
// swap.go. Readers go on undisturbed: a [Range] outlives the segment it is of.
//
// ErrOvertaken and errors before the new names count leave the old segments in
// place, and Discard is due. A later error fails the log for writing; the next
// Open finishes what was begun.
func (r *Replacement) Commit() error {
	if len(r.parts) == 0 {
		if err := r.begin(r.olds[0].Base()); err != nil {
			return err
		}
	}
	if err := r.end(r.next); err != nil {
		return err
	}
	l := r.log
	if err := l.fs.SyncDir(l.dir); err != nil {
		return storageError("log "+l.tp.String()+": replacement", err)
	}
	l.tidying.lock()
	defer l.tidying.unlock()
	if err := r.check(); err != nil {
		return err
	}
	if err := (rester{l}).stirForGood(); err != nil {
		return err
	}
	err := r.swap()
	r.parts = nil // they are the log's
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// check tells whether the run is still as it was. The caller has tidying, so it
// stays so.
func (r *Replacement) check() error {
	l := r.log
	if err := l.Failed(); err != nil {
		return err
	}
	l.flushing.lock()
	cuts := l.cuts
	l.flushing.unlock()
	segs := *l.segments.Load()
	i := slices.Index(segs, r.olds[0])
	n := i + len(r.olds)
	if cuts != r.cuts || i < 0 || n >= len(segs) || !slices.Equal(segs[i:n], r.olds) || segs[n].Base() != r.next {
		return fmt.Errorf("log %s: segments %d to %d: %w", l.tp, r.olds[0].Base(), r.next, ErrOvertaken)
	}
	return nil
}

// swap takes the steps of which the first makes the new segments count.
func (r *Replacement) swap() error {
	l := r.log
	for _, part := range slices.Backward(r.parts) {
		release, err := segment.Swap{Segment: part}.Hold()
		if err != nil {
			return err
		}
		defer release()
		if err := (segment.Swap{Segment: part}).Rename(swapSuffix); err != nil {
			return err
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	r.publish()
	for _, old := range r.olds {
		if err := l.home.trash.put(l, old); err != nil {
			return err
		}
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	for _, part := range r.parts {
		if err := (segment.Swap{Segment: part}).Rename(""); err != nil {
			return err
		}
		segment.Swap{Segment: part}.Evictable()
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	return l.snaps.drop(r.orphan)
}

// publish lets readers see the new segments.
func (r *Replacement) publish() {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := *l.segments.Load()
	i := slices.Index(segs, r.olds[0])
	kept := slices.Concat(segs[:i], r.parts, segs[i+len(r.olds):])
	l.segments.Store(&kept)
}

// orphan tells whether a producer snapshot belonged to a segment that is gone.
func (r *Replacement) orphan(at int64) bool {
	is := func(s *segment.Segment) bool { return s.Base() == at }
	return slices.ContainsFunc(r.olds, is) && !slices.ContainsFunc(r.parts, is)
}

// ClosedSegment describes a segment that is not written any more.
type ClosedSegment struct {
	Base, Next int64 // Next is the base of the segment behind
	Bytes      int64
}

// Closed lists all segments but the active one, in their order. It costs no
// look at the disk.
func (l Rewriter) Closed() []ClosedSegment {
	segs := *l.segments.Load()
	out := make([]ClosedSegment, 0, len(segs)-1)
	for i, s := range segs[:len(segs)-1] {
		out = append(out, ClosedSegment{Base: s.Base(), Next: segs[i+1].Base(), Bytes: s.Size()})
	}
	return out
}

// closed finds a closed segment; ErrOvertaken if there is none.
func (l Rewriter) closed(base int64) (*segment.Segment, error) {
	segs := *l.segments.Load()
	i := slices.IndexFunc(segs, func(s *segment.Segment) bool { return s.Base() == base })
	if i < 0 || i == len(segs)-1 {
		return nil, fmt.Errorf("log %s: segment %d: %w", l.tp, base, ErrOvertaken)
	}
	return segs[i], nil
}

// Youngest is the largest timestamp (ms) of a closed segment, or the time of its
// file if no batch has one.
func (l Rewriter) Youngest(base int64) (int64, error) {
	s, err := l.closed(base)
	if err != nil {
		return 0, err
	}
	ts, err := l.youngest(s)
	return ts, l.segmentError(base, err)
}

// First is the largest timestamp (ms) of a closed segment's first batch; -1 if
// it has none.
func (l Rewriter) First(base int64) (ts int64, err error) {
	s, err := l.closed(base)
	if err != nil {
		return 0, err
	}
	ts = kafka.NoTimestamp
	err = s.With(func(f vfs.File) error {
		walk := newScanner(f, 0, s.Size())
		if walk.Next() {
			ts = walk.head.MaxTimestamp
		}
		return walk.err
	})
	return ts, l.segmentError(base, err)
}

// IndexBytes are how large a closed segment's two indexes are.
func (l Rewriter) IndexBytes(base int64) (offsets, times int, err error) {
	s, err := l.closed(base)
	if err != nil {
		return 0, 0, err
	}
	offsets, times, err = segment.Swap{Segment: s}.IndexSizes()
	return offsets, times, l.segmentError(base, err)
}

// segmentError makes of an error what callers are told: of a segment that retention
// took away under the reader that others came first, not that the disk failed.
func (l Rewriter) segmentError(base int64, err error) error {
	if errors.Is(err, fs.ErrClosed) || errors.Is(err, fs.ErrNotExist) {
		if _, gone := l.closed(base); gone != nil {
			return gone
		}
	}
	return storageError(fmt.Sprintf("log %s: segment %d", l.tp, base), err)
}

// youngest is the largest timestamp of a segment, or the time of its file if no
// batch has one.
func (l Rewriter) youngest(s *segment.Segment) (int64, error) {
	newest, _, err := s.Newest()
	if err != nil || newest >= 0 {
		return newest, err
	}
	info, err := l.fs.Stat(l.path(segment.Name(s.Base(), segment.LogSuffix)))
	if err != nil {
		return 0, err
	}
	return info.ModTime.UnixMilli(), nil
}

// Scan visits the batches of the closed segment that begins at base, in their
// order, and checks each one's CRC and offsets. What visit is given is good until
// it returns; its error ends the scan and comes back. What memory did not hold
// before it holds no longer afterwards.
//
// A batch that is damaged is CORRUPT_MESSAGE. ErrOvertaken: there is no such
// segment.
func (l Rewriter) Scan(base int64, visit func(h *record.Header, batch []byte) error) error {
	segs := *l.segments.Load()
	i := slices.IndexFunc(segs, func(s *segment.Segment) bool { return s.Base() == base })
	if i < 0 || i == len(segs)-1 {
		return fmt.Errorf("log %s: segment %d: %w", l.tp, base, ErrOvertaken)
	}
	seg, next, end := segs[i], base, segs[i+1].Base()
	var visited error // by visit, whose errors are not the disk's
	err := seg.With(func(f vfs.File) error {
		p := passage{file: f, size: seg.Size()}
		defer p.leave()
		s := newScanner(f, 0, p.size)
		s.window = bodyWindow
		for p.enter(0); s.Next(); p.enter(s.next) {
			batch, err := s.Body()
			if err == nil {
				_, err = record.Check(batch)
			}
			if err == nil && (s.head.BaseOffset < next || s.head.LastOffset() >= end) {
				err = fmt.Errorf("batch of %d to %d after %d, before %d: %w", s.head.BaseOffset, s.head.LastOffset(), next-1, end, kafka.CorruptMessage)
			}
			if err != nil {
				return fmt.Errorf("at %d: %w", s.pos, err)
			}
			next = s.head.NextOffset()
			if visited = visit(&s.head, batch); visited != nil {
				return nil
			}
		}
		return s.err
	})
	if visited != nil {
		return visited
	}
	return l.segmentError(base, err)
}

// passage is the way of a scan through a file, a piece at a time: a piece that
// was not in memory before is let go of behind it, so that old data does not
// drive out what others read.
type passage struct {
	file     vfs.File
	size     int64
	from, to int64 // the piece
	cold     bool
}

const pieceBytes = 8 << 20

// enter says that the scan is at position pos.
func (p *passage) enter(pos int64) {
	if pos < p.to || pos >= p.size {
		return
	}
	p.leave()
	p.from, p.to = pos, min(pos+pieceBytes, p.size)
	p.cold = p.file.Cached(p.from, p.to-p.from) < (p.to-p.from)/10
}

// leave gives the piece up. That is advice only, its errors do not matter.
func (p *passage) leave() {
	if p.cold {
		_ = p.file.Advise(p.from, p.to-p.from, vfs.DontNeed)
	}
	p.cold = false
}
