package sim

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// nemesis brings the faults. It decides alone and in order what happens when; what
// it decided goes its way on goroutines of its own until it is over.
type nemesis struct {
	fleet *fleet
	rand  *rand.Rand
	hash  hash.Hash
	menu  []fault
	gap   time.Duration // between two faults, on average

	busy   []bool // machines that a fault has hold of
	tasks  sync.WaitGroup
	ending chan struct{} // closed when the storm is over
	lock   chan struct{} // guards busy; never held while waiting
}

// fault is something that may happen.
type fault struct {
	name   string
	weight int
	nodes  int // how many nodes the cluster must have
	begin  func(*nemesis) bool
}

var faults = []fault{
	{"crash", 10, 1, (*nemesis).crash},
	{"kill", 6, 1, (*nemesis).killOne},
	{"restart", 4, 1, (*nemesis).restart},
	{"power cut of all", 2, 1, (*nemesis).crashAll},
	{"two crash", 3, 3, (*nemesis).crashTwo},
	{"pause", 4, 1, (*nemesis).pause},
	{"stalled disk", 4, 1, (*nemesis).stall},
	{"full disk", 2, 1, (*nemesis).fill},
	{"clock jump", 4, 1, (*nemesis).jump},
	{"partition", 8, 3, (*nemesis).partition},
	{"one-way partition", 5, 3, (*nemesis).oneWay},
	{"slow link", 5, 1, (*nemesis).slow},
	{"reset", 8, 1, (*nemesis).reset},
	{"held connections", 8, 1, (*nemesis).hold},
}

// newNemesis draws the swarm: which kinds of faults this seed has, how often.
func newNemesis(f *fleet) *nemesis {
	n := &nemesis{fleet: f, rand: rand.New(rand.NewPCG(f.opt.Seed, 0x4e3e515)), hash: sha256.New(),
		busy: make([]bool, f.opt.Nodes), ending: make(chan struct{}), lock: make(chan struct{}, 1)}
	n.gap = 500*time.Millisecond + time.Duration(n.rand.Int64N(int64(4*time.Second)))
	for _, x := range faults {
		on := n.rand.IntN(3) != 0
		if on && f.opt.Nodes >= x.nodes && !slices.Contains(f.opt.Without, x.name) {
			n.menu = append(n.menu, x)
		}
	}
	if f.opt.Calm {
		n.menu = nil
	}
	return n
}

// storm lets faults happen, one after another and over one another.
func (n *nemesis) storm() {
	end := n.fleet.since() + n.fleet.opt.Storm
	n.wait(2 * time.Second)
	for n.fleet.since() < end && !n.fleet.broken() {
		if x := n.choose(); x != nil {
			began := x.begin(n)
			fmt.Fprintf(n.hash, "%v %s %t\n", n.fleet.since(), x.name, began)
		}
		n.wait(n.gap/4 + time.Duration(n.rand.Int64N(int64(3*n.gap/2))))
	}
}

// wait lets time pass, and collects garbage where nobody is in the middle of
// something: processes of the simulator run without the collector's own pace,
// which is that of the wall clock.
func (n *nemesis) wait(d time.Duration) {
	for d > 0 && !n.fleet.broken() {
		step := min(d, time.Second)
		time.Sleep(step)
		d -= step
		var m runtime.MemStats
		if runtime.ReadMemStats(&m); m.HeapAlloc > 400<<20 {
			runtime.GC()
		}
	}
}

func (n *nemesis) choose() *fault {
	sum := 0
	for i := range n.menu {
		sum += n.menu[i].weight
	}
	if sum == 0 {
		return nil
	}
	at := n.rand.IntN(sum)
	for i := range n.menu {
		if at -= n.menu[i].weight; at < 0 {
			return &n.menu[i]
		}
	}
	return nil
}

// seize takes machines for a fault, nil if one of them has another.
func (n *nemesis) seize(ids ...int) bool {
	n.lock <- struct{}{}
	defer func() { <-n.lock }()
	for _, i := range ids {
		if n.busy[i] {
			return false
		}
	}
	for _, i := range ids {
		n.busy[i] = true
	}
	return true
}

func (n *nemesis) release(i int) {
	n.lock <- struct{}{}
	n.busy[i] = false
	<-n.lock
}

// later runs what a fault still has to do after some time, or at once when the
// storm ends.
func (n *nemesis) later(d time.Duration, do func()) {
	n.tasks.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select { //house:select either ends the fault
		case <-timer.C:
		case <-n.ending:
		}
		do()
	})
}

func (n *nemesis) span(from, to time.Duration) time.Duration {
	return from + time.Duration(n.rand.Int64N(int64(to-from)))
}

func (n *nemesis) someNode() int { return n.rand.IntN(len(n.fleet.nodes)) }

// outage ends a life by die and begins the next one after some time.
func (n *nemesis) outage(i int, what string, pause time.Duration, die func(*machine) error) {
	m := n.fleet.nodes[i]
	n.fleet.tell(what, "node %d: %s, back in %v", i, what, pause)
	n.tasks.Go(func() {
		defer n.release(i)
		if err := die(m); err != nil {
			n.fleet.violate("%s of node %d: %v", what, i, err)
			return
		}
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select { //house:select either ends the outage
		case <-timer.C:
		case <-n.ending:
		}
		if err := m.start(); err != nil {
			n.fleet.violate("after %s: %v", what, err)
			return
		}
		n.fleet.tell("", "node %d starts", i)
	})
}

func (n *nemesis) crash() bool {
	i, policy, pause := n.someNode(), n.policy(), n.span(0, 8*time.Second)
	if !n.seize(i) {
		return false
	}
	n.outage(i, "crash", pause, func(m *machine) error { return m.cut(policy) })
	return true
}

func (n *nemesis) policy() vfs.Policy { return vfs.Policies[n.rand.IntN(len(vfs.Policies))] }

func (n *nemesis) killOne() bool {
	i, pause := n.someNode(), n.span(0, 8*time.Second)
	if !n.seize(i) {
		return false
	}
	n.outage(i, "kill", pause, (*machine).kill)
	return true
}

func (n *nemesis) restart() bool {
	i, pause := n.someNode(), n.span(0, 3*time.Second)
	if !n.seize(i) {
		return false
	}
	n.outage(i, "restart", pause, (*machine).stop)
	return true
}

func (n *nemesis) crashAll() bool {
	var all []int
	for i := range n.fleet.nodes {
		all = append(all, i)
	}
	pause := n.span(0, 3*time.Second)
	if !n.seize(all...) {
		return false
	}
	n.fleet.tell("power cut of all", "the power of all goes")
	for _, i := range all {
		policy := n.policy()
		n.outage(i, "crash", pause+n.span(0, time.Second), func(m *machine) error { return m.cut(policy) })
	}
	return true
}

func (n *nemesis) crashTwo() bool {
	i := n.someNode()
	j := (i + 1 + n.rand.IntN(len(n.fleet.nodes)-1)) % len(n.fleet.nodes)
	pause := n.span(0, 5*time.Second)
	if !n.seize(i, j) {
		return false
	}
	n.fleet.tell("two crash", "the power of nodes %d and %d goes", i, j)
	for _, k := range []int{i, j} {
		policy := n.policy()
		n.outage(k, "crash", pause+n.span(0, 3*time.Second), func(m *machine) error { return m.cut(policy) })
	}
	return true
}

// pause stops a machine as far as others can tell: its network is silent, its
// disk answers nothing, and then all of it goes on. Its program's own timers run
// meanwhile, which those of a stopped process do not.
func (n *nemesis) pause() bool {
	i, d := n.someNode(), n.span(200*time.Millisecond, 10*time.Second)
	if !n.seize(i) {
		return false
	}
	m := n.fleet.nodes[i]
	n.fleet.tell("pause", "node %d: paused for %v", i, d)
	m.stalls.Store(time.Now().Add(d).UnixNano())
	n.fleet.net.Isolate(nodeHost(i), true)
	n.later(d, func() {
		m.stalls.Store(0)
		n.fleet.net.Isolate(nodeHost(i), false)
		n.release(i)
	})
	return true
}

func (n *nemesis) stall() bool {
	i, d := n.someNode(), n.span(200*time.Millisecond, 8*time.Second)
	if !n.seize(i) {
		return false
	}
	m := n.fleet.nodes[i]
	n.fleet.tell("stalled disk", "node %d: the disk stalls for %v", i, d)
	m.stalls.Store(time.Now().Add(d).UnixNano())
	n.later(d, func() { n.release(i) })
	return true
}

func (n *nemesis) fill() bool {
	i, d, room := n.someNode(), n.span(500*time.Millisecond, 6*time.Second), n.rand.Int64N(64<<10)
	if !n.seize(i) {
		return false
	}
	m := n.fleet.nodes[i]
	n.fleet.tell("full disk", "node %d: %d bytes are left on the disk, for %v", i, room, d)
	m.fs.SetBytes(m.fs.Used() + room + 1)
	n.later(d, func() {
		m.fs.SetBytes(0)
		n.release(i)
	})
	return true
}

func (n *nemesis) jump() bool {
	i := n.someNode()
	d := n.span(-time.Hour, time.Hour)
	if n.rand.IntN(2) == 0 {
		d /= 600
	}
	n.fleet.nodes[i].offset.Store(int64(d))
	n.fleet.tell("clock jump", "node %d: its clock is %v off", i, d)
	return true
}
