package commitlog

import (
	"path"
	"syscall"
	"testing"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestResetOverAStray: a roll that found the disk full could not even take its new
// file away. A log that then begins anew under that name keeps what it is given.
func TestResetOverAStray(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 1000})
	r.fill(2, 1, 400)
	stray := path.Join("/data/t-3", segment.Name(2, segment.LogSuffix))
	full := func(o vfs.Op) vfs.Verdict {
		made := o.Kind == vfs.OpCreate && o.Name != stray || o.Kind == vfs.OpWrite || o.Kind == vfs.OpRemove && o.Name == stray
		if made {
			return vfs.Verdict{Err: syscall.ENOSPC}
		}
		return vfs.Verdict{}
	}
	r.disk.SetHook(full)
	if err := r.produce(batchSpec{n: 1, size: 400}); !vfs.IsNoSpace(err) {
		t.Fatalf("a full disk: %v", err)
	}
	if there, _ := vfs.Exists(r.disk, stray); !there {
		t.Fatal("no stray was left: this test shows nothing")
	}
	r.disk.SetHook(nil)
	r.must(r.log.ResetTo(2))
	r.fill(3, 1, 100)
	r.must(r.log.Flush())
	if there, _ := vfs.Exists(r.disk, stray); !there {
		t.Error("the segment's file was taken away")
	}
	r.crash(vfs.DropAll, 1)
	r.start()
	r.whole(2, 5)
}
