package commitlog

import "github.com/myelin-stream/myelin/internal/segment"

// Range is a run of whole batches in one segment's file, see [Log.Read]. It
// holds the file open until Release. The zero value is empty.
type Range struct {
	segment.Range
	seg    *segment.Segment
	ahead  *ahead // nil if the range was written just now
	warm   int    // bytes of it that were brought into memory
	active bool   // the segment is the one that is written
}

// give makes a range of segment i, from a batch that was found to end.
func (r *reading) give(i int, at *place, end int64) (Range, error) {
	out := Range{seg: at.seg, active: i == len(r.segs)-1}
	if n := end - at.pos; !at.recent && n >= aheadLeast {
		out.ahead = r.log.home.ahead
		out.warm = int(min(n, aheadWait))
		out.ahead.ready(at.seg, at.pos, at.pos+int64(out.warm), out.active)
	}
	var err error
	out.Range, err = at.seg.Range(at.pos, int(end-at.pos), at.base)
	return out, err
}

// Cut gives the first n bytes of the range. Only one of the two is released.
func (r Range) Cut(n int) Range {
	r.Range = r.Range.Cut(n)
	return r
}

// Ready waits until bytes of the range from at on are in memory, so that who
// sends them does not wait for the device, and tells how many: more than none
// if any are left.
func (r *Range) Ready(at int) int {
	left := r.Len() - at
	if r.ahead == nil || left <= 0 {
		return left
	}
	if at >= r.warm {
		n := min(left, aheadWait)
		r.ahead.ready(r.seg, r.Off()+int64(at), r.Off()+int64(at+n), r.active)
		r.warm = at + n
	}
	return min(r.warm-at, left)
}
