package commitlog

import (
	"errors"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestManifestCannotGo: while a manifest that could not be made durable cannot be
// taken away durably either, nothing of a log that was stirred counts as durable.
func TestManifestCannotGo(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, logs := many(t, disk, 2)
	checkpoints(t, h, 3)
	bad := errors.New("bad")
	var failing bool
	for i, l := range logs {
		if err := l.Append([]Batch{makeBatch(batchSpec{at: 2})}); err != nil {
			t.Fatal(i, err)
		}
	}
	failing = true
	disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if failing && (op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, manifestFile) || op.Kind == vfs.OpSyncDir && op.Name == "/d") {
			v.Err = bad
		}
		return v
	})
	for i, l := range logs {
		if err := l.Flush(); err == nil {
			t.Errorf("log %d is flushed, the manifest that praises it is still on the disk", i)
		}
	}
}
