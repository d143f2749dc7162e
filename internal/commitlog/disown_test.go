package commitlog

import (
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestDisowned: a log is removed, and a crash comes before the checkpoints know;
// another of its name is made and written, and a second crash comes before they are
// saved again. The new log keeps what was flushed, from offset 0: neither the old
// one's start nor its recovery point is taken for its own.
func TestDisowned(t *testing.T) {
	for _, trimmed := range []bool{false, true} {
		for _, p := range append([]vfs.Policy{-1}, vfs.Policies...) { // -1: a kill
			r := newRig(t, Tunables{})
			quiet, _, err := Open(Config{Home: r.home, Topic: "quiet", TopicID: kafka.UUID{2}}) // so that there is a manifest
			r.must(err)
			r.must(quiet.Append([]Batch{makeBatch(batchSpec{})}))
			r.must(quiet.Flush())
			r.fill(20, 1, 100)
			r.must(r.log.Flush())
			if trimmed {
				r.must(r.log.DeleteTo(15))
			}
			checkpoints(t, r.home, 2)
			r.must(r.log.Close())
			r.must(r.home.RemoveLog(r.log.tp))
			r.kill()
			r.must(r.openHome())
			open := func() {
				t.Helper()
				r.log, r.rec, err = Open(Config{Home: r.home, Topic: "t", Partition: 3, TopicID: kafka.UUID{9}, Tunables: r.tun})
				r.must(err)
			}
			open()
			r.fill(3, 1, 100)
			r.must(r.log.Flush())
			if p < 0 {
				r.kill()
			} else {
				r.disk = r.disk.Crash(p, rand.New(rand.NewPCG(3, 4)))
				r.fs = r.disk
			}
			r.must(r.openHome())
			open()
			if d := r.log.Damage(); len(d) > 0 {
				t.Errorf("trimmed %v, policy %d: %+v", trimmed, p, d)
			}
			r.whole(0, 3)
		}
	}
}
