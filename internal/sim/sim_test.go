package sim

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
)

// A third of the seeds has one log directory, the others two and three.
//
// The simulator plays one seed a process, on one processor and without
// preemption, since only then does a seed decide the order of everything.
//
//	SIM_SEED   the first seed, 1 by default
//	SIM_SEEDS  how many, 2 by default
//	SIM_STEPS  requests and faults of a seed
//	SIM_TRACE  any text: play SIM_SEED here and print all of it
const childEnv = "SIM_CHILD"

func env(name string, otherwise uint64) uint64 {
	n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// calmRuntime keeps Go's runtime from interrupting goroutines anywhere, and from
// collecting garbage beside them.
const calmRuntime = "GODEBUG=asyncpreemptoff=1,gcstoptheworld=1"

// tries is how often a seed may be played twice before its two runs must agree.
// The runtime takes a goroutine off the processor after 10 ms of wall-clock
// time, so a machine that is busy with other things may disturb a run; a seed
// that is not deterministic differs every time. A steady runtime does nothing of
// that kind.
func tries() int {
	if steady {
		return 1
	}
	return 3
}

// TestSeeds plays each seed twice and wants equal hashes and no violation.
func TestSeeds(t *testing.T) {
	first, n := env("SIM_SEED", 1), env("SIM_SEEDS", 2)
	if os.Getenv("SIM_TRACE") != "" || os.Getenv(childEnv) != "" {
		child(t, first)
		return
	}
	lanes := make(chan struct{}, max(1, runtime.NumCPU()/2))
	var all sync.WaitGroup
	for seed := first; seed < first+n; seed++ {
		lanes <- struct{}{}
		all.Go(func() {
			defer func() { <-lanes }()
			twice(t, seed)
		})
	}
	all.Wait()
}

// twice plays a seed two times. The race detector makes the runtime take up
// goroutines in a random order, on purpose: with it a seed is played once, for
// what the detector and the audit have to say.
func twice(t *testing.T, seed uint64) {
	if raced {
		t.Log(spawn(t, seed))
		return
	}
	var a, b string
	for range tries() {
		if a, b = spawn(t, seed), spawn(t, seed); a == b {
			t.Logf("%s, twice", a)
			return
		}
		t.Logf("seed %d: two runs differ: %s and %s", seed, a, b)
	}
	t.Errorf("seed %d: no two runs agree, the last were %s and %s", seed, a, b)
}

// spawn plays a seed in a process of its own and returns what it printed of it.
func spawn(t *testing.T, seed uint64) string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSeeds$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=1", fmt.Sprintf("SIM_SEED=%d", seed), calmRuntime, "GOMAXPROCS=1", "GOGC=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("seed %d: %v\n%s\nreplay: make sim SEED=%d SEEDS=1", seed, err, out, seed)
	}
	if i := bytes.Index(out, []byte("sim: ")); i >= 0 {
		line, _, _ := bytes.Cut(out[i:], []byte("\n"))
		return string(line)
	}
	return fmt.Sprintf("seed %d printed no hash", seed)
}

func child(t *testing.T, seed uint64) {
	r := playSeed(t, Options{Seed: seed, Steps: int(env("SIM_STEPS", 0)), Dirs: 1 + int(seed%3)})
	fmt.Printf("sim: seed=%d dirs=%d hash=%s promises=%d cuts=%d stops=%d kills=%d virtual=%v\n", seed, 1+seed%3, r.Hash, r.Promises, r.Cuts, r.Stops, r.Kills, r.Virtual)
	if r.Violation != nil {
		t.Fatalf("seed %d: %v", seed, r.Violation)
	}
}

// playSeed runs one seed in a bubble of its own, with the dice of every library
// thrown by the seed.
func playSeed(t *testing.T, opt Options) (r Result) {
	cryptotest.SetGlobalRandom(t, opt.Seed)
	if os.Getenv("SIM_TRACE") != "" {
		opt.Trace = func(line string) { fmt.Println(line) }
		opt.Logger = slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	synctest.Test(t, func(*testing.T) { r = Run(opt) })
	return r
}
