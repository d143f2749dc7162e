package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"sort"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// reading is a reader's picture of the log.
type reading struct {
	view
	segs []*segment.Segment
	from *[]*segment.Segment // where segs were taken
	log  *Log

	recent [recentBatches]place // the ring as it was
}

// stale tells that err came of segments that were removed or replaced meanwhile:
// another look will do.
func (r *reading) stale(err error) bool {
	return errors.Is(err, fs.ErrClosed) && r.log.Failed() == nil && r.log.segments.Load() != r.from
}

// steady looks at the log until what it saw was not stale.
func steady(l *Log, look func(r *reading) error) error {
	for {
		r := l.picture()
		if err := look(&r); !r.stale(err) {
			return err
		}
	}
}

func (l *Log) picture() reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.ahead == nil {
		l.mu.ahead = new(cursors)
	}
	from := l.segments.Load()
	r := reading{view: l.mu.view, segs: *from, from: from, log: l}
	copy(r.recent[:], l.mu.recent)
	return r
}

// Read gives whole batches from the one that holds offset on, or from the next
// one there is: at most maxBytes, from one segment, and nothing at or above
// limit, which is a batch boundary (a high watermark or last stable offset) or
// beyond End. With minOne the first batch comes even if it alone is larger.
//
// The range is empty at or above limit. It holds its segment until Release.
// Outside [Start, End] the error wraps OFFSET_OUT_OF_RANGE. The range ends where
// damage begins; in damage the error wraps CORRUPT_MESSAGE, see [Log.Damage].
func (l *Log) Read(offset int64, maxBytes int, limit int64, minOne bool) (Range, error) {
	for {
		r := l.picture()
		if offset < l.Start() || offset > r.end {
			return Range{}, l.outOfRange(offset, r.end)
		}
		most := min(limit, r.end)
		if offset >= most {
			return Range{}, nil
		}
		if err := l.missing(offset); err != nil {
			return Range{}, fmt.Errorf("log %s: %w", l.tp, err)
		}
		out, err := r.find(offset, maxBytes, most, minOne)
		if err == nil {
			return out, nil
		}
		if !r.stale(err) {
			return Range{}, storageError(fmt.Sprintf("log %s: read at %d", l.tp, offset), err)
		}
	}
}

func (l *Log) outOfRange(offset, end int64) error {
	return fmt.Errorf("log %s: offset %d is not within %d to %d: %w", l.tp, offset, l.Start(), end, kafka.OffsetOutOfRange)
}

// find is Read within bounds that are checked.
func (r *reading) find(offset int64, maxBytes int, limit int64, minOne bool) (Range, error) {
	for i := r.segmentOf(offset); i < len(r.segs); i++ {
		at, ok, err := r.locate(i, offset)
		if err != nil {
			return Range{}, err
		}
		if !ok {
			continue // nothing at or above offset is left in this segment
		}
		if at.base >= limit {
			return Range{}, nil
		}
		end, err := r.position(i, limit)
		if err != nil {
			return Range{}, err
		}
		if at.size > int64(maxBytes) {
			if !minOne {
				return Range{}, nil
			}
			return r.give(i, &at, at.pos+at.size)
		}
		if end-at.pos > int64(maxBytes) {
			if end, err = r.boundary(&at, at.pos+int64(maxBytes)); err != nil {
				return Range{}, err
			}
		}
		return r.give(i, &at, end)
	}
	return Range{}, nil
}

// segmentOf is the index of the last segment that begins at or below offset.
func (r *reading) segmentOf(offset int64) int {
	n := sort.Search(len(r.segs), func(i int) bool { return r.segs[i].Base() > offset })
	return max(n-1, 0)
}

// size is how many bytes of segment i a reader may see.
func (r *reading) sizeOf(i int) int64 {
	if i == len(r.segs)-1 {
		return r.size
	}
	return r.segs[i].Size()
}

// locate finds the first batch of segment i that ends at or above offset.
func (r *reading) locate(i int, offset int64) (place, bool, error) {
	seg := r.segs[i]
	for n := min(r.written, recentBatches); n > 0; n-- {
		p := &r.recent[(r.written-n)%recentBatches]
		if p.seg == seg && p.base <= offset && offset <= p.last {
			found := *p
			found.recent = true
			return found, true, nil
		}
	}
	if p, ok := r.ahead.find(seg, offset); ok {
		return p, true, nil
	}
	found, err := r.seek(i, offset)
	var code kafka.Code
	if (errors.As(err, &code) || errors.Is(err, errTorn)) && damageIn(err) == nil && i+1 < len(r.segs) {
		// The index led astray: it is a cache, and made anew once.
		if err := seg.Rebuild(); err != nil {
			return place{}, false, err
		}
		found, err = r.seek(i, offset)
	}
	return found, found.seg != nil, err
}

// seek walks from where the index says to the first batch of segment i that
// ends at or above offset.
func (r *reading) seek(i int, offset int64) (found place, err error) {
	seg := r.segs[i]
	pos, last, err := seg.Floor(offset)
	if err != nil {
		return place{}, err
	}
	err = seg.With(func(f vfs.File) error {
		s := r.log.home.scanner(f, pos, r.sizeOf(i))
		defer r.log.home.scanners.Put(s)
		for s.Below(offset) {
			if last >= 0 && s.pos == pos && s.head.LastOffset() != last {
				return fmt.Errorf("the index says offset %d is at %d, there is %d: %w", last, pos, s.head.LastOffset(), kafka.CorruptMessage)
			}
			if s.head.LastOffset() >= offset {
				found = place{seg: seg, base: s.head.BaseOffset, last: s.head.LastOffset(), pos: s.pos, size: int64(s.head.Size())}
				return nil
			}
		}
		return s.err
	})
	return found, err
}

// position is where the batches of segment i below limit end.
func (r *reading) position(i int, limit int64) (int64, error) {
	if limit >= r.end || i+1 < len(r.segs) && r.segs[i+1].Base() <= limit {
		return r.sizeOf(i), nil
	}
	at, ok, err := r.locate(i, limit)
	if damage := damageIn(err); damage != nil {
		return damage.From, nil
	}
	if err != nil || !ok {
		return r.sizeOf(i), err
	}
	return at.pos, nil
}

// boundary is the last position at or before most at which a batch ends; the
// first batch, at, ends before it.
func (r *reading) boundary(at *place, most int64) (int64, error) {
	end := at.pos + at.size
	for n := min(r.written, recentBatches); n > 0; n-- {
		p := &r.recent[(r.written-n)%recentBatches]
		if p.seg == at.seg && p.pos <= most && p.pos+p.size > most && p.pos >= end {
			return p.pos, nil
		}
	}
	floor, err := at.seg.FloorPosition(most)
	if err != nil {
		return 0, err
	}
	end = max(end, floor)
	err = at.seg.With(func(f vfs.File) error {
		s := r.log.home.scanner(f, end, at.seg.Size())
		defer r.log.home.scanners.Put(s)
		for s.Next() && s.next <= most {
			end = s.next
		}
		switch {
		case damageIn(s.err) != nil: // the range ends there
		case s.err != nil && s.pos < most:
			return s.err
		case s.err == nil && s.next > most: // it stands before the batch that did not fit
			r.ahead.note(place{seg: at.seg, base: s.head.BaseOffset, last: s.head.LastOffset(), pos: s.pos, size: int64(s.head.Size())})
		}
		return nil
	})
	return end, err
}

// OffsetForTime finds the first record, from the start offset on, with a
// timestamp of ts (ms) or later. It opens one batch. It steps over damage, so
// that whoever asks from where to read can read on.
func (l *Log) OffsetForTime(ts int64) (found Found, ok bool, err error) {
	err = steady(l, func(r *reading) (err error) {
		found, ok, err = r.offsetForTime(ts)
		return err
	})
	return found, ok, l.lookupError(err)
}

func (r *reading) offsetForTime(ts int64) (Found, bool, error) {
	for i, seg := range r.segs {
		if i+1 < len(r.segs) && r.segs[i+1].Base() <= r.log.Start() {
			continue
		}
		newest, _, err := seg.Newest()
		if err != nil {
			return Found{}, false, err
		}
		if newest < ts {
			continue
		}
		found, ok, err := r.searchTime(i, ts)
		if err != nil || ok {
			return found, ok, err
		}
	}
	return Found{}, false, nil
}

func (l *Log) lookupError(err error) error {
	return storageError("log "+l.tp.String()+": lookup by time", err)
}

// searchTime looks for ts in segment i, from where the time index says.
func (r *reading) searchTime(i int, ts int64) (found Found, ok bool, err error) {
	seg := r.segs[i]
	before, err := seg.Before(ts)
	if err != nil {
		return Found{}, false, err
	}
	pos, _, err := seg.Floor(before + 1)
	if err != nil {
		return Found{}, false, err
	}
	start := r.log.Start()
	err = seg.With(func(f vfs.File) error {
		s := newScanner(f, pos, r.sizeOf(i))
		for !ok && s.Onward() {
			if s.head.MaxTimestamp < ts || s.head.LastOffset() < start || s.head.Attributes.Has(record.Control) && s.head.Count == 0 {
				continue
			}
			body, err := s.Body()
			if err != nil {
				return err
			}
			found, ok, err = firstRecord(body, func(rec *record.Record) bool { return rec.Timestamp >= ts && rec.Offset >= start })
			if err != nil {
				return err
			}
		}
		return s.err
	})
	return found, ok, err
}

// firstRecord finds the first record of a batch that matches.
func firstRecord(batch []byte, match func(*record.Record) bool) (Found, bool, error) {
	var r record.Reader
	defer r.Release()
	for r.Reset(batch, record.DefaultLimit); r.Next(); {
		if rec := r.Record(); match(rec) {
			return Found{Offset: rec.Offset, Timestamp: rec.Timestamp, Epoch: r.Header().LeaderEpoch}, true, nil
		}
	}
	return Found{}, false, r.Err()
}

// MaxTimestamp finds the first record that has the largest timestamp of the log
// (KIP-734). If that lies in damage, the error wraps CORRUPT_MESSAGE: the next
// smaller one would be a wrong answer.
func (l *Log) MaxTimestamp() (found Found, ok bool, err error) {
	err = steady(l, func(r *reading) (err error) {
		found, ok, err = r.maxTimestamp()
		return err
	})
	return found, ok, l.lookupError(err)
}

func (r *reading) maxTimestamp() (Found, bool, error) {
	best, at, stamp := -1, int64(-1), int64(-1)
	for i, seg := range r.segs {
		ts, offset, err := seg.Newest()
		if err != nil {
			return Found{}, false, err
		}
		if ts > stamp {
			best, at, stamp = i, offset, ts
		}
	}
	if best < 0 {
		return Found{}, false, nil
	}
	var found Found
	ok := false
	p, there, err := r.locate(best, at)
	if err == nil && there {
		err = p.seg.With(func(f vfs.File) error {
			body := make([]byte, p.size)
			if _, err := f.ReadAt(body, p.pos); err != nil {
				return err
			}
			var err error
			found, ok, err = firstRecord(body, func(rec *record.Record) bool { return rec.Timestamp == stamp })
			return err
		})
	}
	return found, ok, err
}

// LatestEpoch is the newest leader epoch the log knows, -1 if none.
func (l *Log) LatestEpoch() int32 { return l.epochs.latest() }

// Epochs lists the leader epochs and where they began.
func (l *Log) Epochs() []EpochStart { return l.epochs.all() }

// EndOffsetForEpoch answers OffsetForLeaderEpoch (KIP-101, KIP-279): the largest
// known epoch not above the one asked for, and where it ended; -1 and -1 if the
// epoch is not known.
func (l *Log) EndOffsetForEpoch(epoch int32) (foundEpoch int32, end int64) {
	return l.epochs.endOf(epoch, l.End())
}

// AssignEpoch notes that a leader began its epoch at start, usually End. The
// file follows at the next checkpoint.
func (l *Log) AssignEpoch(epoch int32, start int64) error {
	l.turn.lock()
	defer l.turn.unlock()
	if err := (rester{l}).stir(); err != nil {
		return err
	}
	l.epochs.assign(epoch, start)
	return l.Failed()
}

// Segments describes the segments in their order.
func (l *Log) Segments() []SegmentInfo {
	r := l.picture()
	out := make([]SegmentInfo, len(r.segs))
	for i, seg := range r.segs {
		ts, _, err := seg.Newest()
		if err != nil {
			ts = kafka.NoTimestamp
		}
		out[i] = SegmentInfo{Base: seg.Base(), Bytes: r.sizeOf(i), MaxTimestamp: ts, Active: i == len(r.segs)-1}
	}
	return out
}

// Size is how many bytes of batches the log holds.
func (l *Log) Size() int64 {
	r := l.picture()
	var n int64
	for i := range r.segs {
		n += r.sizeOf(i)
	}
	return n
}
