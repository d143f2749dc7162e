//go:build system

package system

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKill kills -9 a node under load again and again, at any moment, also while
// it recovers from the kill before.
func TestKill(t *testing.T) {
	kills := number(t, "SYSTEM_KILLS", 10)
	dice := dice(t)
	b := newBroker(t, folders(t, number(t, "SYSTEM_DIRS", 3)))
	b.start(t)
	l := startLoad(t, b.addr, loadConfig{producers: 4, partitions: 4, largest: 3000,
		topic: map[string]string{"segment.bytes": "1048576", "segment.index.bytes": "4096"}})
	early, slowest, since := 0, time.Duration(0), time.Now()
	for i := range kills {
		if dice.IntN(5) == 0 {
			early++
			pause(time.Duration(dice.IntN(40)) * time.Millisecond)
		} else {
			if err := b.await(20 * time.Second); err != nil {
				t.Fatalf("after %d kills: %v\n%s", i, err, b.tail())
			}
			wanted := 1 + dice.Int64N(800)
			if dice.IntN(10) == 0 {
				wanted *= 20 // long enough for rolls and checkpoints
			}
			if err := l.awaitAcked(wanted, 60*time.Second); err != nil {
				t.Fatalf("after %d kills: %v\n%s", i, err, b.tail())
			}
			pause(time.Duration(dice.IntN(5000)) * time.Microsecond)
		}
		b.kill()
		if i%20 == 10 {
			b.sound(t, true)
		}
		b.launch(t)
		slowest = max(slowest, time.Since(since))
		since = time.Now()
	}
	if err := b.await(20 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, b.tail())
	}
	l.finish(t)
	if t.Failed() {
		t.Logf("%s", b.tail())
	}
	t.Logf("%d kills, %d of them during a start; the slowest life was %v", kills, early, slowest.Round(time.Millisecond))
	b.stop(t)
	b.sound(t, false)
}

// dice are the dice of a run, whose seed is logged.
func dice(t testing.TB) *rand.Rand {
	seed := number(t, "SYSTEM_SEED", int(time.Now().UnixNano()%1e9))
	t.Logf("SYSTEM_SEED=%d", seed)
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

// folders makes n empty log directories.
func folders(t testing.TB, n int) []string {
	t.Helper()
	root := t.TempDir()
	var out []string
	for i := range n {
		dir := filepath.Join(root, fmt.Sprintf("d%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		out = append(out, dir)
	}
	return out
}

// pause lets a moment pass so that a kill falls anywhere.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}
