package segment

import (
	"math"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// reserve takes room on the device ahead of the one who writes: finding blocks
// for many at once costs a fraction of finding them for each write. The file's
// size stays what it is, so nobody who reads it, recovery least of all, sees a
// difference.
//
// A segment gets none of it before it is large, and at most a quarter of what it
// has, so that many small logs take no room that nothing is in. What is left
// goes back when the segment is sealed; what a killed process left goes back
// when its successor seals.
type reserve struct {
	end int64 // of what is reserved; the writer's
}

const (
	reserveFrom = 8 << 20  // the size from which a segment gets a reserve
	reserveMost = 32 << 20 // ahead of a write
)

// ahead is called before n bytes are written at size. A disk that has no room,
// or cannot do it, is no error: the write will tell. What it could give of that
// room goes back at once, for others may need it.
func (r *reserve) ahead(f vfs.File, size, n int64) {
	if size < reserveFrom || size+n <= r.end {
		return
	}
	end := size + n + min(size/4, reserveMost)
	err := f.Reserve(size, end)
	if vfs.IsNoSpace(err) {
		_ = r.giveBack(f, size) // the write tells of a file that is broken
	}
	if err != nil {
		end = math.MaxInt64 // do not ask again
	}
	r.end = end
}

// giveBack returns what is reserved behind size, the file's end.
func (r *reserve) giveBack(f vfs.File, size int64) error {
	if size < reserveFrom || r.end == math.MaxInt64 {
		return nil
	}
	r.end = 0
	if there, err := f.Size(); err != nil || there != size {
		return err
	}
	return f.Truncate(size)
}
