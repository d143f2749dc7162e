package compact

import (
	"cmp"
	"math"

	"github.com/myelin-stream/myelin/internal/commitlog"
)

// facts are what a plan is made of.
type facts struct {
	start, end int64 // of the log
	cleaned    int64 // up to where it was cleaned, as checkpointed; -1 never
	stable     int64 // last stable offset, not above the high watermark
	active     int64 // base of the active segment
	closed     []commitlog.ClosedSegment
	now        int64 // ms
	rules      commitlog.Compaction

	// youngest and first give the largest timestamp of a closed segment and of
	// its first batch, ms. They may cost a look at the disk.
	youngest, first func(base int64) (int64, error)
}

// plan says what of a log is to be cleaned.
type plan struct {
	dirty int64 // cleaned up to here
	bound int64 // nothing at or above is touched; begins a segment
	reset bool  // the checkpoint was of no use: write dirty down

	cleanBytes, cleanableBytes int64
	delay                      int64 // ms by which max.compaction.lag.ms is passed; 0 if it is not
}

// ratio is the cleanable share of what may be touched.
func (p *plan) ratio() float64 {
	total := p.cleanBytes + p.cleanableBytes
	if total == 0 {
		return 0
	}
	return float64(p.cleanableBytes) / float64(total)
}

// due tells whether the log is to be cleaned now.
func (p *plan) due(rules *commitlog.Compaction) bool {
	return p.delay > 0 && p.cleanableBytes > 0 || p.ratio() > rules.DirtyRatio
}

// before orders plans by urgency: the dirtiest first.
func (p *plan) before(q *plan) int { return cmp.Compare(q.ratio(), p.ratio()) }

// makePlan follows Kafka's rules (LogCleanerManager).
func makePlan(f *facts) (plan, error) {
	p := plan{dirty: f.cleaned}
	switch {
	case f.cleaned < 0:
		p.dirty = f.start
	case f.cleaned < f.start, f.cleaned > f.end:
		p.dirty, p.reset = f.start, true
	}
	limit, err := f.limit(p.dirty)
	if err != nil {
		return p, err
	}
	p.bound = f.active
	for _, s := range f.closed {
		if limit < s.Next {
			p.bound = s.Base
			break
		}
	}
	from := min(p.dirty, p.bound)
	for _, s := range f.closed {
		if s.Base < p.dirty {
			p.cleanBytes += s.Bytes
		}
		if s.Next > from && s.Base < p.bound {
			p.cleanableBytes += s.Bytes
		}
	}
	p.delay, err = f.delay(p.dirty)
	return p, err
}

// limit is the first offset that must not be cleaned.
func (f *facts) limit(dirty int64) (int64, error) {
	limit := min(f.stable, f.active)
	if lag := f.rules.MinLag.Milliseconds(); lag > 0 {
		for _, s := range f.closed {
			if s.Next <= dirty || s.Base >= limit {
				continue
			}
			ts, err := f.youngest(s.Base)
			if err != nil {
				return 0, err
			}
			if ts > f.now-lag {
				limit = s.Base
				break
			}
		}
	}
	return max(limit, dirty), nil
}

// delay is by how many ms the oldest of what is dirty has passed the longest
// time that it may stay so.
func (f *facts) delay(dirty int64) (int64, error) {
	if f.rules.MaxLag <= 0 {
		return 0, nil
	}
	oldest := int64(math.MaxInt64)
	for _, s := range f.closed {
		if s.Next <= dirty {
			continue
		}
		ts, err := f.first(s.Base)
		if err != nil {
			return 0, err
		}
		if ts > 0 {
			oldest = min(oldest, ts)
		}
	}
	return max(0, f.now-f.rules.MaxLag.Milliseconds()-oldest), nil
}

// sized is a closed segment with the sizes of its indexes.
type sized struct {
	commitlog.ClosedSegment
	offsets, times int
}

// group joins neighbouring segments that will fit one: by their bytes, by those
// of each index, and by offsets, which must fit 32 bits beside the base.
func group(segs []sized, segmentBytes int64, indexBytes int) [][]sized {
	var out [][]sized
	for len(segs) > 0 {
		n, bytes, offsets, times := 1, segs[0].Bytes, segs[0].offsets, segs[0].times
		for n < len(segs) {
			s := &segs[n]
			bytes, offsets, times = bytes+s.Bytes, offsets+s.offsets, times+s.times
			if bytes > segmentBytes || offsets > indexBytes || times > indexBytes || s.Next-1-segs[0].Base > math.MaxInt32 {
				break
			}
			n++
		}
		out = append(out, segs[:n:n])
		segs = segs[n:]
	}
	return out
}
