package sim

import (
	"flag"
	"fmt"
	"log/slog"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
)

var (
	seed  = flag.Uint64("seed", 1, "the first seed to play")
	seeds = flag.Int("seeds", 3, "how many seeds to play")
	steps = flag.Int("steps", 0, "requests and faults of a seed; 0 means the usual number")
	trace = flag.Bool("trace", false, "print the trace and the node's log")
)

// TestSeeds plays seeds and prints a line each: the seed, the hash of its trace
// and what it did. `make sim` runs it in a process of its own for each seed,
// twice, and compares the hashes.
func TestSeeds(t *testing.T) {
	for s := *seed; s < *seed+uint64(*seeds); s++ {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			r := playSeed(t, Options{Seed: s, Steps: *steps})
			t.Logf("seed %d hash %s steps %d promises %d cuts %d stops %d virtual %v", s, r.Hash, r.Steps, r.Promises, r.Cuts, r.Stops, r.Virtual)
			fmt.Printf("sim: seed=%d hash=%s promises=%d cuts=%d virtual=%v\n", s, r.Hash, r.Promises, r.Cuts, r.Virtual)
			if r.Violation != nil {
				t.Fatalf("seed %d: %v\nreplay: make sim SEED=%d", s, r.Violation, s)
			}
		})
	}
}

// playSeed runs one seed in a bubble of its own, with the dice of every library
// thrown by the seed.
func playSeed(t *testing.T, opt Options) (r Result) {
	cryptotest.SetGlobalRandom(t, opt.Seed)
	if *trace {
		opt.Trace = func(line string) { t.Log(line) }
		opt.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	synctest.Test(t, func(*testing.T) { r = Run(opt) })
	return r
}
