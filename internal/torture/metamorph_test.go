package torture

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMetamorph plays random histories under every variant of the settings, and
// compares all that the log says with the model. TORTURE_SEED plays one.
func TestMetamorph(t *testing.T) {
	all := variants()
	first, histories := setting(t, "TORTURE_SEED", 0), setting(t, "TORTURE_HISTORIES", len(all))
	if first > 0 {
		histories = setting(t, "TORTURE_HISTORIES", 1)
	}
	begin := time.Now()
	var next, steps, failed atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for n := next.Add(1) - 1; int(n) < histories && failed.Load() < 3; n = next.Add(1) - 1 {
				seed := uint64(first) + uint64(n)
				opt, length := all[seed%uint64(len(all))], stepsOf(seed)
				if testing.Short() {
					length /= 4
				}
				done, err := wander(opt, seed, length, false)
				steps.Add(int64(done))
				if err == nil {
					continue
				}
				failed.Add(1)
				t.Errorf("TORTURE_SEED=%d, %s, step %d of %d: %v", seed, opt.name, done, length, err)
				if short, err := wander(opt, seed, done, true); err != nil {
					t.Errorf("TORTURE_SEED=%d: the shortest prefix that fails has %d steps: %v", seed, short, err)
				}
			}
		})
	}
	workers.Wait()
	t.Logf("%d histories of %d variants, %d steps, in %v", min(int(next.Load()), histories), len(all), steps.Load(), time.Since(begin))
}
