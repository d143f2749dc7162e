package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/invariant"
)

// A cluster's seeds are played in processes of their own as well:
//
//	SIM_SEED     the first seed, 1 by default
//	SIM_CLUSTER  how many, 2 by default
//	SIM_NODES    how many nodes the cluster has
//	SIM_COPIES   how many copies of each partition there are
//	SIM_STORM    seconds with faults; 30, or 15 with -short
//	SIM_CALM     any text: no faults
//	SIM_WITHOUT  names of faults that do not happen, with commas between
//	SIM_TWICE    any text: play each seed twice and want equal hashes
//	SIM_TRACE    any text: play SIM_SEED here and print all of it in the end;
//	             "now" prints each line at once, which may disturb the seed
//
// A build with Go's runtime made steady (see test/steady; make does it) plays a
// seed the same each time, and there some seeds of three nodes are played twice
// by default:
//
//	SIM_FLEETS   how many, 3 by default
const (
	clusterNodes  = 1
	fleetChildEnv = "SIM_FLEET_CHILD"
	plantEnv      = "SIM_PLANT" // the name of a bug, see planted_test.go
)

// tally is what a child tells of its seed.
type tally struct {
	ClusterResult
	Marks map[string]int
	CPU   float64
}

func TestClusterSeeds(t *testing.T) {
	first, n := env("SIM_SEED", 1), env("SIM_CLUSTER", 2)
	if os.Getenv(fleetChildEnv) != "" {
		fleetChild(t, first)
		return
	}
	if os.Getenv("SIM_TRACE") != "" {
		t.Skip("one test at a time is traced: SIM_FLEET_CHILD=1 with SIM_TRACE=1 plays SIM_SEED here")
	}
	if raced {
		n = min(n, 1)
	}
	fleetSeeds(t, first, n)
}

// fleetSeeds plays n seeds from first on, two at a time, and prints their totals.
func fleetSeeds(t *testing.T, first, n uint64, extra ...string) {
	lanes := make(chan struct{}, 2)
	var all sync.WaitGroup
	var sum sums
	for seed := first; seed < first+n; seed++ {
		lanes <- struct{}{}
		all.Go(func() {
			defer func() { <-lanes }()
			sum.add(fleetSeed(t, seed, extra...))
		})
	}
	all.Wait()
	t.Log(sum.String())
}

// TestFleets plays seeds of three nodes twice and wants equal hashes and no
// violation.
func TestFleets(t *testing.T) {
	if !steady {
		t.Skip("this runtime is not steady: see make sim")
	}
	first, n := env("SIM_SEED", 1), env("SIM_FLEETS", 3)
	fleetSeeds(t, first, n, "SIM_NODES=3")
}

func fleetSeed(t *testing.T, seed uint64, more ...string) tally {
	a := spawnFleet(t, seed, more...)
	if os.Getenv("SIM_TWICE") != "" || len(more) > 0 {
		if b := spawnFleet(t, seed, more...); a.Hash != b.Hash {
			t.Errorf("seed %d: two runs differ: %s and %s", seed, a.Hash, b.Hash)
		}
	}
	return a
}

// spawnFleet plays a seed in a process of its own and wants no violation.
func spawnFleet(t *testing.T, seed uint64, more ...string) tally {
	got, out := runFleet(seed, more...)
	if out != nil {
		t.Errorf("seed %d: %s\nreplay: make sim-cluster SEED=%d CLUSTER=1\nstory: %s", seed, tail(out), seed, strings.Join(got.Story, "\n       "))
	}
	return got
}

// runFleet plays a seed in a process of its own. If that fails it gives what it
// printed as well.
func runFleet(seed uint64, more ...string) (got tally, failed []byte) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestClusterSeeds$", "-test.v", "-test.timeout=20m", fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), fleetChildEnv+"=1", fmt.Sprintf("SIM_SEED=%d", seed), calmRuntime, "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=1500MiB")
	cmd.Env = append(cmd.Env, more...)
	out, err := cmd.CombinedOutput()
	if _, after, ok := bytes.Cut(out, []byte("cluster: ")); ok {
		line, _, _ := bytes.Cut(after, []byte("\n"))
		if e := json.Unmarshal(line, &got); e != nil {
			return got, fmt.Appendf(out, "%v", e)
		}
	}
	if cmd.ProcessState != nil {
		got.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	if err != nil {
		return got, fmt.Appendf(out, "%v", err)
	}
	return got, nil
}

// tail is the end of what a child said, which has its violation.
func tail(out []byte) []byte {
	if i := bytes.Index(out, []byte("cluster: ")); i >= 0 {
		_, out, _ = bytes.Cut(out[i:], []byte("\n"))
	}
	if len(out) > 12000 {
		return append(slices.Clone(out[:8000]), out[len(out)-4000:]...)
	}
	return out
}

func fleetChild(t *testing.T, seed uint64) {
	storm := uint64(30)
	if testing.Short() {
		storm = 15
	}
	opt := ClusterOptions{Seed: seed, Nodes: int(env("SIM_NODES", clusterNodes)), Copies: int(env("SIM_COPIES", 0)), Storm: time.Duration(env("SIM_STORM", storm)) * time.Second,
		Calm: os.Getenv("SIM_CALM") != "", Without: strings.Split(os.Getenv("SIM_WITHOUT"), ",")}
	if os.Getenv("SIM_TRACE") != "" {
		out := io.Writer(os.Stdout)
		if os.Getenv("SIM_TRACE") != "now" {
			var kept bytes.Buffer // a goroutine that waits for a pipe loses its turn
			out = &kept
			defer func() { os.Stdout.Write(kept.Bytes()) }()
		}
		opt.Trace = func(line string) { fmt.Fprintln(out, line) }
		opt.Logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	if bug := os.Getenv(plantEnv); bug != "" {
		if opt.Spoil = spoilers()[bug]; opt.Spoil == nil && !invariant.Plant(bug) {
			t.Fatal("bugs can be planted in builds with -tags planted only")
		}
	}
	cryptotest.SetGlobalRandom(t, seed)
	var r ClusterResult
	synctest.Test(t, func(*testing.T) { r = RunCluster(opt) })
	line, err := json.Marshal(tally{ClusterResult: r, Marks: invariant.Marks()})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("cluster: %s\n", line)
	for _, v := range r.Violations {
		t.Errorf("seed %d: %s", seed, v)
	}
}

// sums are totals over seeds.
type sums struct {
	mu                   sync.Mutex
	seeds, ops, batches  int
	virtual              time.Duration
	cpu                  float64
	faults, marks, agent map[string]int
}

func (s *sums) add(t tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults == nil {
		s.faults, s.marks, s.agent = map[string]int{}, map[string]int{}, map[string]int{}
	}
	s.seeds++
	s.ops += t.Ops
	s.batches += t.Batches
	s.virtual += t.Virtual
	s.cpu += t.CPU
	for k, v := range t.Faults {
		s.faults[k] += v
	}
	for k, v := range t.Marks {
		s.marks[k] += v
	}
	for k, v := range t.Rounds {
		s.agent[strings.TrimRight(k, "0123456789")] += v
	}
}

func (s *sums) String() string {
	list := func(m map[string]int) string {
		var out []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			out = append(out, fmt.Sprintf("%s %d", k, m[k]))
		}
		return strings.Join(out, ", ")
	}
	return fmt.Sprintf("%d seeds, %v simulated in %.1f CPU s (%.1f a CPU second), %d operations, %d batches (%.0f a simulated second)\nrounds: %s\nfaults: %s\nmarks: %s",
		s.seeds, s.virtual.Round(time.Second), s.cpu, s.virtual.Seconds()/s.cpu, s.ops, s.batches, float64(s.batches)/s.virtual.Seconds(),
		list(s.agent), list(s.faults), list(s.marks))
}
