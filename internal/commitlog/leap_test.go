package commitlog

import (
	"encoding/binary"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestCutBeforeLeap: where recovery cuts before a batch whose offset leaps ahead,
// the index does not keep that batch, and the log ends where its batches do.
func TestCutBeforeLeap(t *testing.T) {
	r := newRig(t, Tunables{IndexInterval: 1})
	r.fill(6, 1, 100)
	r.must(r.log.Flush())
	r.crash(vfs.KeepAll, 1)
	d := &damager{r}
	size := d.batch(0)
	d.edit(d.data(0), func(f vfs.File, _ int64) {
		_, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, 1000), 3*size)
		r.must(err)
	})
	r.start()
	if r.log.End() != 3 {
		t.Fatal(r.log.End())
	}
	r.fill(40, 1, 100)
	r.whole(0, 43)
}
