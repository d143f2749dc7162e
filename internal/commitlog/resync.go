package commitlog

import (
	"math"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// resync finds out how far damage at position from reaches where no sums say it:
// the position of the next batch that may be believed, at or before limit, and
// its offset. next is the offset that is expected at from.
//
// A batch may be believed if its checksum holds and every header behind it, to
// limit, follows. That keeps a record from passing for a batch because its value
// looks like one: behind it comes the rest of the batch it lies in.
func resync(f vfs.File, from, limit, next int64) (to, offset int64) {
	s := newScanner(f, from, limit)
	if s.Next() { // the length may be right though something else is not
		if s.next == limit {
			return limit, max(next+1, min(s.head.NextOffset(), next+1+int64(s.head.Count)))
		}
		if base, ok := follows(f, s.next, limit, next+1); ok {
			return s.next, base
		}
	}
	buf := make([]byte, bodyWindow)
	for at := from + 1; at+record.HeaderSize <= limit; {
		n, _ := f.ReadAt(buf[:min(int64(len(buf)), limit-at)], at) // what does not read is damaged
		if n < record.HeaderSize {
			break
		}
		for i := 0; i+record.HeaderSize <= n; i++ {
			h, err := record.ParseHeader(buf[i:n])
			if err != nil || h.BaseOffset <= next || h.BaseOffset > next+math.MaxInt32 {
				continue
			}
			if base, ok := follows(f, at+int64(i), limit, next+1); ok {
				return at + int64(i), base
			}
		}
		at += int64(n - record.HeaderSize + 1)
	}
	return limit, next + 1
}

// follows tells whether a good batch of offset next or later begins at a
// position, and from it a whole row of them reaches to limit.
func follows(f vfs.File, at, limit, next int64) (base int64, ok bool) {
	s := newScanner(f, at, limit)
	for first := true; s.Next(); first = false {
		h := &s.head
		if h.BaseOffset < next || h.LastOffsetDelta < 0 {
			return 0, false
		}
		if first {
			body, err := s.Body()
			if err == nil {
				_, err = record.Check(body)
			}
			if err != nil {
				return 0, false
			}
			base = h.BaseOffset
			s.window = headerWindow
		}
		next = h.NextOffset()
	}
	return base, s.err == nil && base > 0
}
