package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// ClusterOptions say what a cluster plays.
type ClusterOptions struct {
	Seed    uint64
	Nodes   int           // 0 means 3
	Copies  int           // of each partition; 0 means 3, or one for each node
	Storm   time.Duration // for how long there are faults; 0 means a minute
	Calm    bool          // no faults at all
	Without []string      // names of faults that do not happen

	Logger *slog.Logger
	Trace  func(line string)
	// Spoil, if set, stands between every node and its disk: planted bugs.
	Spoil func(vfs.FS) vfs.FS
}

// ClusterResult is what came of it.
type ClusterResult struct {
	Hash    string // over what each agent and the nemesis did
	Ops     int    // operations in the history
	Batches int    // sent by producers
	Virtual time.Duration
	Faults  map[string]int // how often each happened
	Rounds  map[string]int // rounds of each agent that went well
	Story   []string       // the faults, in order
	// Violations are promises that were broken, the first ones first.
	Violations []string
}

// fleet is one run of a cluster.
type fleet struct {
	opt    ClusterOptions
	began  time.Time
	net    *memnet.Network
	nodes  []*machine
	topics []topicSpec
	book   *book
	crew   []*agent
	ending atomic.Bool    // agents finish what they do
	late   sync.WaitGroup // what agents said and is still to arrive

	mu struct {
		sync.Mutex // memory only
		violations []string
		story      []string
		faults     map[string]int
	}
}

// topicSpec is a topic of the play.
type topicSpec struct {
	name  string
	parts int32
	rf    int16
}

func (t topicSpec) each() (out []tp) {
	for i := range t.parts {
		out = append(out, tp{t.name, i})
	}
	return out
}

// The topics: producers write to plain and wide, copiers read plain and write
// to copied, share groups read shared. To loose some write with acks=1, of which
// a power cut may take what was read already, so that nobody reads it before the
// end; what others write there with acks=all has to be there.
const (
	plain  = "plain"
	wide   = "wide"
	copied = "copied"
	shared = "shared"
	loose  = "loose"
)

// load is how many batches a second producers write together, about.
const load = 230

// sharing is the share group.
const sharing = "sharing"

// RunCluster plays one seed. It must be called inside a synctest bubble.
func RunCluster(opt ClusterOptions) ClusterResult {
	if opt.Nodes == 0 {
		opt.Nodes = 3
	}
	if opt.Storm == 0 {
		opt.Storm = time.Minute
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	f := &fleet{opt: opt, began: time.Now(), net: memnet.New(), book: newBook()}
	f.mu.faults = map[string]int{}
	rf := f.copies()
	f.topics = []topicSpec{{plain, 4, rf}, {wide, 6, rf}, {copied, 3, rf}, {shared, 2, rf}, {loose, 2, rf}}
	f.net.Jitter(f.jitter)
	for i := range opt.Nodes {
		f.nodes = append(f.nodes, newMachine(i, f))
	}
	n := newNemesis(f)
	f.play(n)
	return f.result(n)
}

// copies is how many of each partition there are.
func (f *fleet) copies() int16 {
	if f.opt.Copies > 0 {
		return int16(f.opt.Copies)
	}
	return int16(min(3, f.opt.Nodes))
}

// jitter lets a chunk take between 50 and 350 microseconds, by which chunk it is.
func (f *fleet) jitter(c memnet.Chunk) time.Duration {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %s %d", f.opt.Seed, c.From, c.Conn, c.Number)
	return 50*time.Microsecond + time.Duration(h.Sum64()%300_000)
}

// play is the whole run: start, storm, healing, and what is left in the end.
func (f *fleet) play(n *nemesis) {
	defer f.turnOff()
	for _, m := range f.nodes {
		if err := m.start(); err != nil {
			f.violate("the first start: %v", err)
			return
		}
	}
	judge := newAgent(f, "judge", 0)
	defer judge.hangUp()
	if err := judge.openTopics(); err != nil {
		f.violate("making the topics: %v", err)
		return
	}
	var crew sync.WaitGroup
	f.hire(&crew)
	n.storm()
	n.heal()
	if !f.broken() {
		judge.recovery(n)
	}
	f.ending.Store(true)
	crew.Wait()
	f.late.Wait()
	if !f.broken() {
		judge.reckoning(n)
	}
}

func (f *fleet) turnOff() {
	var all sync.WaitGroup
	for _, m := range f.nodes {
		all.Go(func() {
			if err := m.stop(); err != nil && !f.broken() {
				f.violate("the last drain of node %d: %v", m.id, err)
			}
		})
	}
	all.Wait()
	if !f.broken() {
		f.compareDisks()
	}
}

func (f *fleet) result(n *nemesis) ClusterResult {
	all := sha256.New()
	r := ClusterResult{Virtual: f.since(), Faults: f.mu.faults, Story: f.mu.story, Violations: f.mu.violations, Rounds: map[string]int{}}
	all.Write(n.hash.Sum(nil))
	for _, a := range f.crew {
		all.Write(a.hash.Sum(nil))
		r.Rounds[a.name], _ = a.progress()
	}
	r.Ops, r.Batches = f.book.size()
	r.Hash = hex.EncodeToString(all.Sum(nil)[:8])
	return r
}

func (f *fleet) since() time.Duration { return time.Since(f.began) }

// over tells agents to come to an end.
func (f *fleet) over() bool { return f.ending.Load() || f.broken() }

func (f *fleet) broken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.violations) > 0
}

// violate notes that a promise was broken.
func (f *fleet) violate(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.violations = append(f.mu.violations, fmt.Sprintf("%v ", f.since())+fmt.Sprintf(format, args...))
}

// tell adds to the story, and counts a fault.
func (f *fleet) tell(fault, format string, args ...any) {
	line := fmt.Sprintf("%v ", f.since()) + fmt.Sprintf(format, args...)
	f.mu.Lock()
	f.mu.story = append(f.mu.story, line)
	if fault != "" {
		f.mu.faults[fault]++
	}
	f.mu.Unlock()
	if f.opt.Trace != nil {
		f.opt.Trace(line)
	}
}

// hire starts all agents. Which there are is the seed's.
func (f *fleet) hire(crew *sync.WaitGroup) {
	rng := rand.New(rand.NewPCG(f.opt.Seed, 0xc4e3))
	add := func(name string, role func(a *agent) (round func() error, end func())) {
		a := newAgent(f, name, uint64(len(f.crew)+1))
		f.crew = append(f.crew, a)
		round, end := role(a)
		crew.Go(func() { a.run(round, end) })
	}
	producers := 4 + rng.IntN(3)
	for i := range producers {
		add(fmt.Sprintf("producer%d", i), newProducer(producers))
	}
	add("lazy0", newLazy)
	for i := range 2 {
		add(fmt.Sprintf("reader%d", i), newReader)
	}
	for i := range 4 { // two groups of each of the first two kinds
		add(fmt.Sprintf("classic%d", i), func(a *agent) (func() error, func()) { return newClassic(a, fmt.Sprintf("classic-%d", i%2)) })
		add(fmt.Sprintf("consumer%d", i), func(a *agent) (func() error, func()) { return newConsumer(a, fmt.Sprintf("consumer-%d", i%2)) })
	}
	for i := range 2 {
		add(fmt.Sprintf("sharer%d", i), func(a *agent) (func() error, func()) { return newSharer(a, sharing) })
	}
	for i := range 4 {
		add(fmt.Sprintf("copier%d", i), func(a *agent) (func() error, func()) { return newCopier(a, i) })
	}
}

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

func (f *fleet) parts(names ...string) (out []tp) {
	for _, t := range f.topics {
		if slices.Contains(names, t.name) {
			out = append(out, t.each()...)
		}
	}
	return out
}
