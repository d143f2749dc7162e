package segment

import (
	"io"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// Range is a run of whole batches in a segment's file. It holds the file open
// until Release. The zero value is empty and needs no release.
type Range struct {
	seg  *Segment
	file vfs.File
	off  int64
	len  int
	base int64
}

// firstTouch is how much one Range verifies, or a little more.
const firstTouch = 4 << 20

// Range takes up to n bytes at position pos, where the batch of offset base
// begins, whole batches if n is. What nobody has read or written in this process
// is verified first: then the range may end early, behind a few MiB or where
// damage begins. Damage at pos is a [*DamageError].
func (s *Segment) Range(pos int64, n int, base int64) (Range, error) {
	end, err := s.verified(pos, int64(n))
	if err != nil {
		return Range{}, err
	}
	n = int(end - pos)
	f, err := s.data.Acquire()
	if err != nil {
		return Range{}, err
	}
	return Range{seg: s, file: f, off: pos, len: n, base: base}, nil
}

// Len is how many bytes the range has.
func (r Range) Len() int { return r.len }

// Off is where it begins in its file.
func (r Range) Off() int64 { return r.off }

// BaseOffset is the offset of its first batch.
func (r Range) BaseOffset() int64 { return r.base }

// File is the file, for sendfile; nil for an empty range.
func (r Range) File() vfs.File { return r.file }

// Cut gives the first n bytes of the range. Only one of the two is released.
func (r Range) Cut(n int) Range {
	r.len = min(r.len, n)
	return r
}

// ReadAt reads from the range; off counts from its beginning.
func (r Range) ReadAt(p []byte, off int64) (int, error) {
	left := int64(r.len) - off
	if off < 0 || left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) <= left {
		return r.file.ReadAt(p, r.off+off)
	}
	n, err := r.file.ReadAt(p[:left], r.off+off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

// Release lets go of the file. Call it exactly once.
func (r Range) Release() {
	if r.seg != nil {
		r.seg.data.Release()
	}
}
