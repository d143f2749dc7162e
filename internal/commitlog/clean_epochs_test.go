package commitlog

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestCleanWithoutManifest: after an orderly end the epochs of a small log are in
// the manifest; without that they come from the batches, not from an old file.
func TestCleanWithoutManifest(t *testing.T) {
	r := newRig(t, Tunables{})
	r.must(r.produce(batchSpec{epoch: 1}))
	r.stop()
	r.start()
	r.must(r.produce(batchSpec{epoch: 2}))
	r.must(vfs.WriteAtomic(r.disk, r.log.snaps.name(2), r.log.producers.encode(2))) // as rest does for many producers
	r.home.journal.polished.Store(polishMost)
	r.stop()
	r.must(r.disk.Remove("/data/" + manifestFile))
	r.start()
	if got := r.log.LatestEpoch(); got != 2 {
		t.Errorf("clean %t: epoch %d, the last batch has 2", r.rec.Clean, got)
	}
}
