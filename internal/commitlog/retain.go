package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
)

// trimmer takes records away at either end of a log, for who holds its turn.
type trimmer struct{ *Log }

// DeleteTo makes offset the log's start and removes the segments below it. The
// start is durable before anything is removed and before DeleteTo returns, so
// what was deleted does not come back. It flushes first. offset must not be above
// the high watermark, which the caller knows; below Start nothing happens. Where
// the disk is too full for that, it may be asked again.
func (l *Log) DeleteTo(offset int64) error {
	l.turn.lock()
	defer l.turn.unlock()
	return trimmer{l}.deleteLocked(offset)
}

func (l trimmer) deleteLocked(offset int64) error {
	if err := l.Failed(); err != nil {
		return err
	}
	offset = max(offset, l.Start())
	segs := *l.segments.Load()
	left := len(segs) > 1 && segs[1].Base() <= offset
	if offset == l.Start() && !l.unsaved && !left {
		return nil
	}
	if offset > l.End() {
		return fmt.Errorf("log %s: delete up to %d, the log ends at %d: %w", l.tp, offset, l.End(), kafka.OffsetOutOfRange)
	}
	if err := rester(l).stirForGood(); err != nil {
		return err
	}
	// Also for the producer snapshot that rolling has left for later:
	// without it, what the removed batches told of their producers is lost.
	if err := l.Flush(); err != nil {
		return err
	}
	l.tidying.lock()
	defer l.tidying.unlock()
	if err := l.home.relieved(l.tidy); err != nil {
		return l.failUnlessFull(err)
	}
	l.start.Store(offset)
	l.unsaved = true
	l.epochs.dropBelow(offset)
	l.producers.startMoved(offset)
	if err := l.home.saving.do(); err != nil {
		return l.failUnlessFull(err)
	}
	l.unsaved = false
	return l.removeBelow(offset)
}

// removeBelow removes the closed segments that end at or below offset, which is
// the durable start. What rolling has left for later is done.
func (l trimmer) removeBelow(offset int64) error {
	segs := *l.segments.Load()
	n := 0
	for n+1 < len(segs) && segs[n+1].Base() <= offset {
		n++
	}
	if n == 0 {
		l.forgetDamage(func(d Damage) bool { return d.To <= offset && d.Segment < segs[0].Base() })
		return nil
	}
	l.flushing.lock() // no removed segment may be under way in a flush
	defer l.flushing.unlock()
	kept := slices.Clone(segs[n:])
	l.mu.Lock()
	l.segments.Store(&kept)
	l.mu.unsynced.retired = slices.DeleteFunc(l.mu.unsynced.retired, func(r retired) bool { return r.seg.Base() < kept[0].Base() })
	l.mu.Unlock()
	for _, s := range segs[:n] {
		if err := l.home.trash.put(l.Log, s); err != nil {
			return l.fail(err)
		}
	}
	if err := l.snaps.drop(func(at int64) bool { return at < kept[0].Base() }); err != nil {
		return l.fail(err)
	}
	l.forgetDamage(func(d Damage) bool { return d.To <= offset && d.Segment < kept[0].Base() })
	return nil
}

// Retain deletes the oldest segments that retention no longer covers, whole
// segments only and none that reaches above limit, the high watermark: those
// below the start; then the oldest while the rest is still larger than
// RetentionBytes; then those whose youngest record is older than RetentionAge. If
// that is every segment, the active one is rolled first. A segment with a
// timestamp in the future keeps itself and all behind it.
func (l *Log) Retain(limit int64) (deleted int, err error) {
	t := l.tunables.Load()
	l.producers.expire(l.home.Safe(l.now()).Add(-t.ProducerRetention).UnixMilli())
	if l.Failed() != nil {
		return 0, nil
	}
	if t.KeepAll { // what lies below the start goes all the same
		keep := *t
		keep.RetentionAge, keep.RetentionBytes = -1, 0
		t = &keep
	}
	tr := trimmer{l}
	var r reading
	n := 0
	err = steady(l, func(now *reading) (err error) {
		r = *now
		n, err = tr.expired(now, limit, t)
		return err
	})
	if err != nil || n == 0 {
		return 0, err
	}
	l.turn.lock()
	defer l.turn.unlock()
	if err := l.Failed(); err != nil {
		return 0, err
	}
	start := r.end
	if n < len(r.segs) {
		start = r.segs[n].Base()
	} else if l.End() != r.end {
		return 0, nil // it was written meanwhile: next time
	} else if err := (rester{l}).stirForGood(); err != nil {
		return 0, err
	} else if err := l.w.roll(r.end); err != nil {
		return 0, l.w.refuse(err)
	}
	before := len(*l.segments.Load())
	if err := tr.deleteLocked(start); err != nil {
		return 0, err
	}
	return before - len(*l.segments.Load()), nil
}

// expired counts the segments, from the oldest, that may go.
func (l trimmer) expired(r *reading, limit int64, t *Tunables) (int, error) {
	var total int64
	for i := range r.segs {
		total += r.sizeOf(i)
	}
	now := l.home.Safe(l.now()).UnixMilli()
	n := 0
	for ; n < len(r.segs); n++ {
		end := r.end
		if n+1 < len(r.segs) {
			end = r.segs[n+1].Base()
		}
		if end > limit || n+1 == len(r.segs) && r.size == 0 {
			break
		}
		over := t.RetentionBytes > 0 && total-r.sizeOf(n) >= t.RetentionBytes
		if !over && end > l.Start() {
			old, err := l.tooOld(r.segs[n], now, t)
			if err != nil {
				return 0, err
			}
			if !old {
				break
			}
		}
		total -= r.sizeOf(n)
	}
	return n, nil
}

func (l trimmer) tooOld(seg *segment.Segment, now int64, t *Tunables) (bool, error) {
	if t.RetentionAge < 0 {
		return false, nil
	}
	newest, err := Rewriter(l).youngest(seg)
	if err != nil {
		return false, storageError("log "+l.tp.String()+": retention", err)
	}
	if newest > now {
		l.logger.Warn("segment has a timestamp in the future, retention by time waits for it",
			"log", l.tp.String(), "segment", seg.Base(), "timestamp", newest)
		return false, nil
	}
	return now-newest > t.RetentionAge.Milliseconds(), nil
}

// TruncateTo cuts off the records from offset on, at a batch boundary: if offset
// lies inside a batch, the whole batch goes. It is for a follower whose leader
// has another history. The cut is durable when it returns.
func (l *Log) TruncateTo(offset int64) error {
	l.turn.lock()
	defer l.turn.unlock()
	l.tidying.lock()
	defer l.tidying.unlock()
	l.flushing.lock()
	defer l.flushing.unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	if offset >= l.End() {
		l.epochs.dropFrom(l.End()) // those of a leadership in which nobody wrote: others do not know them
		return nil
	}
	if offset < l.Start() {
		return fmt.Errorf("log %s: truncate to %d, the log starts at %d: %w", l.tp, offset, l.Start(), kafka.OffsetOutOfRange)
	}
	if err := l.w.mend(); err != nil { // what it would take away later may have the name of what begins now
		return l.w.refuse(err)
	}
	if err := (rester{l}).stirForGood(); err != nil {
		return err
	}
	err := (trimmer{l}).truncate(offset)
	if errors.Is(err, errUntouched) {
		return l.failUnlessFull(err)
	}
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// truncate first takes the recovery point back, durably: below it a start trusts
// what it finds.
func (l trimmer) truncate(offset int64) error {
	r := l.picture()
	if offset < r.segs[0].Base() { // the first segments are missing
		return l.empty(l.Start(), offset)
	}
	i := r.segmentOf(offset)
	at, ok, err := r.locate(i, offset)
	if damage := damageIn(err); damage != nil { // goes whole, as a batch does
		at, ok, err = place{base: damage.First, pos: damage.From}, true, nil
	}
	if err != nil {
		return err
	}
	end, pos := offset, r.sizeOf(i)
	if ok {
		end, pos = min(offset, at.base), at.pos
	}
	if err := l.retreat(end); err != nil {
		return err
	}
	kept := slices.Clone(r.segs[:i+1])
	l.mu.Lock()
	l.segments.Store(&kept)
	l.mu.view = view{end: end, size: pos}
	gone := func(r retired) bool { return r.seg.Base() >= kept[i].Base() }
	l.mu.unsynced.retired = slices.DeleteFunc(l.mu.unsynced.retired, gone)
	l.mu.untidy = slices.DeleteFunc(l.mu.untidy, gone)
	l.mu.Unlock()
	for j := len(r.segs) - 1; j > i; j-- {
		if err := r.segs[j].Remove(); err != nil {
			return err
		}
	}
	if err := kept[i].Truncate(pos); err != nil {
		return err
	}
	l.cutDamage(end)
	return l.restore(kept, i, end)
}

// errUntouched says that a cut failed before it changed the log.
var errUntouched = errors.New("nothing was cut")

// retreat moves flushed and recovery point back to end, the latter durably. If it
// fails, what was flushed still is.
func (l trimmer) retreat(end int64) error {
	l.closedAt = -1
	l.cuts++
	if err := l.home.cleaned.cut(l.tp, end); err != nil {
		return fmt.Errorf("%w: %w", errUntouched, err)
	}
	if l.point.Load() > end {
		l.point.Store(end)
		if err := l.home.saving.do(); err != nil {
			return fmt.Errorf("%w: %w", errUntouched, err)
		}
	}
	l.flushed.Store(min(l.flushed.Load(), end))
	return nil
}

// restore makes the state anew after segments from i on were changed, and syncs
// the names.
func (l trimmer) restore(segs []*segment.Segment, i int, end int64) error {
	l.epochs.dropFrom(end)
	l.w.firstStamp = -1
	o := &opener{Log: l.Log, segs: segs, start: l.Start(), epoch: true}
	if !invariant.Planted("commitlog/producers") {
		if err := o.state(end, i); err != nil {
			return err
		}
	}
	if _, err := o.resume(); err != nil {
		return err
	}
	// Or a crash would leave the epochs of what is gone in the file.
	if err := l.saveEpochs(); err != nil {
		return err
	}
	return l.fs.SyncDir(l.dir)
}

// ResetTo empties the log and lets it begin anew at offset, for a follower that
// has fallen behind its leader's start.
func (l *Log) ResetTo(offset int64) error {
	l.turn.lock()
	defer l.turn.unlock()
	l.tidying.lock()
	defer l.tidying.unlock()
	l.flushing.lock()
	defer l.flushing.unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	if err := l.w.mend(); err != nil { // what it would take away later may have the name of what begins now
		return l.w.refuse(err)
	}
	if err := (rester{l}).stirForGood(); err != nil {
		return err
	}
	err := (trimmer{l}).reset(offset)
	if errors.Is(err, errUntouched) {
		return l.failUnlessFull(err)
	}
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// reset is ResetTo for who has both locks, or the log alone.
func (l trimmer) reset(offset int64) error { return l.empty(offset, offset) }

// empty takes all segments away and lets the log, which begins at start then, go
// on at offset. What lies between is missing.
func (l trimmer) empty(start, offset int64) error {
	old := *l.segments.Load()
	if err := l.retreat(min(offset, l.Start(), old[0].Base())); err != nil {
		return err
	}
	for j := len(old) - 1; j >= 0; j-- {
		if err := old[j].Remove(); err != nil {
			return err
		}
	}
	if err := l.snaps.drop(func(int64) bool { return true }); err != nil {
		return err
	}
	fresh, err := segment.Create(l.segmentConfig(offset))
	if err != nil {
		return err
	}
	if start == offset {
		l.forgetDamage(func(Damage) bool { return true })
		l.epochs.dropFrom(0)
	}
	l.cutDamage(offset)
	l.epochs.dropFrom(offset)
	l.producers.reset()
	l.mu.Lock()
	l.segments.Store(&[]*segment.Segment{fresh})
	l.mu.view = view{end: offset}
	l.mu.unsynced.retired, l.mu.untidy = nil, nil
	l.mu.Unlock()
	l.start.Store(start)
	l.w.firstStamp, l.w.createdAt = -1, l.now()
	if err := l.fs.SyncDir(l.dir); err != nil {
		return err
	}
	// Or a crash would leave the epochs of what is gone in the file.
	if err := l.saveEpochs(); err != nil {
		return err
	}
	l.flushed.Store(offset)
	l.point.Store(offset)
	return l.home.saving.do()
}
