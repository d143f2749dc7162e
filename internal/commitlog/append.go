package commitlog

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// appender is the writing end of a log: what Append needs beside the active
// segment. Whoever has the turn has it.
type appender struct {
	*Log
	firstStamp int64     // largest timestamp of the active segment's first batch; -1 when empty
	createdAt  time.Time // of the active segment
	bufs       [][]byte  // kept from one append to the next
	marks      []segment.Mark

	// What a write that found the disk full has left behind, see mend.
	torn   bool    // bytes behind the active segment's end
	strays []int64 // segments that are not the log's, empty, by base
}

// refuse ends an append that did not work. A full disk is the one error that
// the log survives: what was written is taken back, and who appends may try
// again. Any other is final.
func (l *appender) refuse(err error) error {
	if !vfs.IsNoSpace(err) {
		return l.fail(err)
	}
	l.home.foundFull()
	if merr := l.mend(); merr != nil && !vfs.IsNoSpace(merr) {
		return l.fail(merr)
	}
	return storageError("log "+l.tp.String(), err)
}

// mend takes away what a write that found the disk full has left: torn batches
// behind the end, which a crash would show to recovery, and the file of a
// segment that was to begin but did not, which must not be there when the one
// before grows past its name. Nothing is written before that is done.
func (l *appender) mend() error {
	if l.torn {
		seg := l.active()
		if err := seg.With(func(f vfs.File) error { return f.Truncate(seg.Size()) }); err != nil {
			return err
		}
		l.torn = false
	}
	for len(l.strays) > 0 {
		last := len(l.strays) - 1
		if err := segment.Open(l.segmentConfig(l.strays[last]), 0).Remove(); err != nil {
			return err
		}
		l.strays = l.strays[:last]
		l.mu.Lock()
		l.mu.unsynced.names = true // or a power cut might bring it back
		l.mu.Unlock()
	}
	return nil
}

// admit looks at all batches before any is written.
func (l *appender) admit(batches []Batch, t *Tunables) error {
	next := l.End()
	for i := range batches {
		h := &batches[i].Header
		if len(batches[i].Bytes) != h.Size() {
			return fmt.Errorf("log %s: batch of %d bytes in %d: %w", l.tp, h.Size(), len(batches[i].Bytes), kafka.CorruptMessage)
		}
		if h.BaseOffset < next {
			return fmt.Errorf("log %s: batch at offset %d, the log ends at %d: %w", l.tp, h.BaseOffset, next, kafka.InvalidRecord)
		}
		if int64(h.Size()) > t.SegmentBytes {
			return fmt.Errorf("log %s: batch of %d bytes, a segment has %d: %w", l.tp, h.Size(), t.SegmentBytes, kafka.RecordListTooLarge)
		}
		next = h.NextOffset()
	}
	return nil
}

// room tells how many of the batches, at least one, go into the active segment;
// it rolls first if none does.
func (l *appender) room(batches []Batch, t *Tunables) (int, error) {
	size, full := l.active().Size(), l.active().IndexFull()
	if l.mustRoll(&batches[0].Header, size, full, t) {
		if err := l.roll(l.nextBase(&batches[0].Header)); err != nil {
			return 0, err
		}
		size, full = 0, false
	}
	if l.firstStamp < 0 && size == 0 {
		l.firstStamp = batches[0].Header.MaxTimestamp
	}
	size += int64(batches[0].Header.Size())
	n := 1
	for n < len(batches) && !l.mustRoll(&batches[n].Header, size, full, t) {
		size += int64(batches[n].Header.Size())
		n++
	}
	return n, nil
}

// mustRoll tells whether a batch must begin a new segment when the active one
// has size bytes: it would grow too large, it is too old by the batches' own
// clock (by ours if they have none), an index is full, or an offset does not fit
// 32 bits beside the base.
func (l *appender) mustRoll(h *record.Header, size int64, full bool, t *Tunables) bool {
	base := l.active().Base()
	if h.LastOffset()-base > math.MaxInt32 {
		return true
	}
	if size == 0 {
		return false
	}
	var age time.Duration
	if l.firstStamp >= 0 && h.MaxTimestamp >= 0 {
		age = time.Duration(h.MaxTimestamp-l.firstStamp) * time.Millisecond
	} else {
		age = l.now().Sub(l.createdAt)
	}
	return size+int64(h.Size()) > t.SegmentBytes || age > t.SegmentAge-l.jitter(base, t) || full
}

// nextBase names the next segment by the log's end, so that recovery can tell
// from the names that a segment before lost its tail; by the batch itself only
// where the offsets leap too far for that.
func (l *appender) nextBase(h *record.Header) int64 {
	end := l.End()
	if h.LastOffset()-end > math.MaxInt32 {
		return h.BaseOffset
	}
	return end
}

// jitter spreads the rolls of many logs that began together. It is the same
// for a segment whenever it is asked.
func (l *appender) jitter(base int64, t *Tunables) time.Duration {
	if t.SegmentJitter <= 0 {
		return 0
	}
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s %d", l.tp, base)
	return time.Duration(hash.Sum64() % uint64(t.SegmentJitter))
}

// roll begins a new segment. The old one's data and the new one's name become
// durable with the next Flush, before anything in the new one counts as flushed.
// On a full disk the log stays as it was.
func (l *appender) roll(base int64) error {
	if err := l.mend(); err != nil {
		return err
	}
	old := l.active()
	fresh, err := segment.Create(l.segmentConfig(base))
	if err != nil {
		l.strays = append(l.strays, base)
		return err
	}
	if old.Size() > 0 {
		if err := old.Retire(); err != nil {
			fresh.Close()
			l.strays = append(l.strays, base)
			return err
		}
	}
	l.mu.Lock()
	segs := *l.segments.Load() // only now: a replacement may have changed those before
	kept := segs[:len(segs):len(segs)]
	l.mu.unsynced.names = true
	if old.Size() > 0 {
		l.mu.unsynced.retired = append(l.mu.unsynced.retired, retired{old, l.producers.encode(base), base})
	} else {
		kept = kept[: len(kept)-1 : len(kept)-1]
		if n := len(kept); n > 0 && base != old.Base() { // the one before says that the empty one follows
			l.mu.unsynced.retired = append(l.mu.unsynced.retired, retired{kept[n-1], l.producers.encode(base), base})
		}
	}
	l.mu.size = 0
	kept = append(kept, fresh)
	l.segments.Store(&kept)
	l.mu.Unlock()
	l.firstStamp, l.createdAt = -1, l.now()
	if old.Size() == 0 {
		old.Close()
		l.strays = append(l.strays, old.Base())
		return l.mend()
	}
	return nil
}

// write puts batches into the active segment and publishes them.
func (l *appender) write(batches []Batch) error {
	l.bufs, l.marks = l.bufs[:0], l.marks[:0]
	var bytes, records int64
	for i := range batches {
		l.bufs = append(l.bufs, batches[i].Bytes)
		l.marks = append(l.marks, markOf(&batches[i].Header))
		bytes += int64(len(batches[i].Bytes))
		records += int64(batches[i].Header.Count)
	}
	seg := l.active()
	pos := seg.Size()
	l.owe(bytes, records)
	err := seg.Write(l.bufs, l.marks)
	clear(l.bufs) // the caller's bytes are the caller's again
	if err != nil {
		l.torn = true // it is owed until the next flush, which may have counted it already
		return err
	}
	for i := range batches {
		if err := l.account(&batches[i].Header, batches[i].Bytes, seg); err != nil {
			return err
		}
	}
	l.publish(seg, pos, batches)
	return nil
}

func (l *appender) publish(seg *segment.Segment, pos int64, batches []Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batches {
		h := &batches[i].Header
		p := place{seg: seg, base: h.BaseOffset, last: h.LastOffset(), pos: pos, size: int64(h.Size())}
		if len(l.mu.recent) < recentBatches {
			l.mu.recent = append(l.mu.recent, p)
		} else {
			l.mu.recent[l.mu.written%recentBatches] = p
		}
		l.mu.written++
		pos += p.size
	}
	l.mu.size = pos
	l.mu.end = batches[len(batches)-1].Header.NextOffset()
}
