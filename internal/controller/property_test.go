package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// TestNothingCommittedIsLost plays clusters against the controller: brokers that
// copy logs from each other by images that may be old, die, come back with all,
// with yesterday's or with no disk, and ask for changes of the ISR that arrive
// late or never. After each decision it wants, of every partition:
//
//	one leader for each epoch, in the ISR, in service; epochs that only grow
//	an ISR and eligible replicas among the replicas, apart from each other
//	nobody forgotten who holds all that is committed, while the ISR is too small
//	all that is committed with everybody who may be elected cleanly
//
// What is committed is what a leader saw flushed by its whole ISR, as large as it
// must be; it may be a leader that others have replaced.
func TestNothingCommittedIsLost(t *testing.T) {
	seeds, steps := uint64(300), 500
	if testing.Short() {
		seeds = 40
	}
	seen := map[string]int{}
	for seed := range seeds {
		w := newWorld(seed, seen)
		for range steps {
			w.step()
			if w.wrong != "" {
				for _, line := range w.trace[max(0, len(w.trace)-60):] {
					t.Log(line)
				}
				t.Fatalf("seed %d: %s", seed, w.wrong)
			}
		}
	}
	t.Log(seen)
	for _, what := range []string{"committed", "joined", "left", "led from the isr", "led from the elr", "led dirtily", "nobody led", "began to move", "moved", "stripped"} {
		if seen[what] < int(seeds)/10 {
			t.Errorf("%q happened %d times in %d histories: they do not try it", what, seen[what], seeds)
		}
	}
}

type spot struct {
	topic     string
	partition int32
}

// world is a cluster with its disks and what was promised.
type world struct {
	*State
	rng       *rand.Rand
	history   []*cluster.Image
	nodes     []*node
	mail      []letter
	committed map[spot][]int
	dirty     map[spot]int32   // the leader epoch of the last election that could lose
	invited   map[spot][]int32 // who joins the ISR by what is being decided
	seen      map[string]int   // what happened how often
	records   int
	drawn     byte
	trace     []string
	wrong     string
}

// node is a broker: its process and its disk.
type node struct {
	id      int32
	alive   bool
	ended   bool // cleanly
	epoch   int64
	disk    byte // its log directory
	seen    int  // which image of history it knows
	logs    map[spot][]int
	flushed map[spot]int
	leads   map[spot]*leading
}

// leading is what a leader knows of its followers.
type leading struct {
	epoch, partition int32
	start            int // of the epoch
	isr, pending     []int32
	ends             map[int32]int
	epochs           map[int32]int64
}

func newWorld(seed uint64, seen map[string]int) *world {
	w := &world{seen: seen, rng: rand.New(rand.NewPCG(seed, 3)), committed: map[spot][]int{}, dirty: map[spot]int32{}}
	w.State = &State{Image: cluster.Empty("test"), Rand: w.rng, Config: config.NewBroker(config.Settings{})}
	w.decide("bootstrap", Bootstrap(w.State))
	for i := range 3 + w.rng.IntN(4) {
		n := &node{id: int32(i), logs: map[spot][]int{}, flushed: map[spot]int{}, leads: map[spot]*leading{}}
		w.nodes = append(w.nodes, n)
		w.start(n)
		w.heartbeat(n, false, false)
	}
	w.configure(MinISR, fmt.Sprint(1+w.rng.IntN(3)))
	w.create()
	return w
}

// view is the image that a node knows.
func (w *world) view(n *node) *cluster.Image { return w.history[n.seen] }

// decide lets a decision act and looks at what it did.
func (w *world) decide(what string, recs Records) {
	before := w.Image
	d := cluster.NewDelta(before)
	for _, r := range recs {
		if err := d.Replay(r); err != nil {
			w.fail("%s: %v", what, err)
			return
		}
	}
	w.Image = d.Apply(before.Index()+1, 1)
	w.Config = w.Config.WithDefaults(w.Image.Config(cluster.Resource{Kind: cluster.BrokerResource}).Map())
	w.history = append(w.history, w.Image)
	w.say("%s: %d records", what, len(recs))
	for _, t := range w.Image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if was := before.Topic(t.Name).Partition(p.ID); was == nil || was.PartitionEpoch != p.PartitionEpoch {
				w.say("  %s-%d leader %d epoch %d/%d replicas %v isr %v elr %v adding %v removing %v", t.Name, i,
					p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, p.ISR, p.ELR, p.Adding, p.Removing)
			}
			w.check(t, before.Topic(t.Name).Partition(p.ID), p)
		}
	}
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%4d ", len(w.history))+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// among says whether all of ids are in all, each once.
func among(ids, all []int32) bool {
	for i, id := range ids {
		if !slices.Contains(all, id) || slices.Contains(ids[:i], id) {
			return false
		}
	}
	return true
}

// check looks at a partition and at what became of it.
func (w *world) check(t *cluster.Topic, was, p *cluster.Partition) {
	at := spot{t.Name, p.ID}
	want := func(ok bool, rule string) {
		if !ok {
			w.fail("%s-%d: %s: leader %d epoch %d/%d replicas %v isr %v elr %v", t.Name, p.ID, rule,
				p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.Replicas, p.ISR, p.ELR)
		}
	}
	both := slices.Concat(p.ISR, p.ELR)
	want(len(p.Replicas) > 0 && among(both, p.Replicas), "isr and elr are apart, among the replicas")
	want(among(p.Adding, p.Replicas) && among(p.Removing, p.Replicas), "what comes and goes is among the replicas")
	want(len(p.Directories) == len(p.Replicas), "each replica has a directory")
	want(p.Leader == kafka.NoBroker || slices.Contains(p.ISR, p.Leader) && w.Image.Active(p.Leader), "the leader is in the isr and in service")
	want(!slices.ContainsFunc(p.ISR, func(id int32) bool { return !w.Image.Active(id) }), "the isr is in service")
	least := min(w.rulesOf(t).minISR, len(p.Replicas))
	want(len(p.ISR) < least || len(p.ELR) == 0, "an isr that is large enough needs no other")
	dirtily := was != nil && p.Leader >= 0 && !slices.Contains(slices.Concat(was.ISR, was.ELR, w.invited[at]), p.Leader)
	if was != nil && was.PartitionEpoch != p.PartitionEpoch {
		want(p.PartitionEpoch > was.PartitionEpoch && p.LeaderEpoch >= was.LeaderEpoch, "epochs grow")
		want(p.Leader == was.Leader || p.LeaderEpoch > was.LeaderEpoch, "one leader for each epoch")
		moved := was.Reassigning() && !p.Reassigning() && slices.Equal(p.Replicas, was.Target())
		want(!moved || contains(p.ISR, p.Replicas) || slices.Equal(was.Adding, was.Removing), "a reassignment ends when all are in sync")
		want(among(was.Replicas, p.Replicas) || p.LeaderEpoch > was.LeaderEpoch, "a replica that goes begins an epoch")
		want(!dirtily || p.Recovering, "a leader that may have lost is recovering")
		want(!dirtily || w.rulesOf(t).unclean || w.dirty[at] == -1, "an election that may lose is asked for")
		w.eligible(was, p, least, dirtily, want)
		w.count(was, p, dirtily)
	} else if was != nil {
		want(p.Leader == was.Leader && p.LeaderEpoch == was.LeaderEpoch && slices.Equal(p.ISR, was.ISR), "a change has an epoch")
	}
	if dirtily {
		w.dirty[at] = p.LeaderEpoch
		w.committed[at] = common(w.committed[at], w.nodes[p.Leader].logs[at])
	}
	for _, id := range both {
		n := w.nodes[id]
		if b := w.Image.Broker(id); b == nil || !b.HasDirectory(p.DirectoryOf(id)) {
			continue // cannot be elected
		}
		whole := n.logs[at][:n.flushed[at]]
		want(len(common(w.committed[at], whole)) == len(w.committed[at]),
			fmt.Sprintf("broker %d, which may be elected, has %v and flushed %d of it; committed are %v", id, n.logs[at], n.flushed[at], w.committed[at]))
	}
}

// count notes what became of a partition.
func (w *world) count(was, p *cluster.Partition, dirtily bool) {
	led := p.Leader >= 0 && p.Leader != was.Leader
	for what, happened := range map[string]bool{
		"joined":           len(p.ISR) > len(was.ISR) && was.Leader == p.Leader,
		"left":             len(p.ISR) < len(was.ISR),
		"led from the isr": led && slices.Contains(was.ISR, p.Leader),
		"led from the elr": led && slices.Contains(was.ELR, p.Leader),
		"led dirtily":      dirtily,
		"nobody led":       p.Leader < 0 && was.Leader >= 0,
		"began to move":    p.Reassigning() && !was.Reassigning(),
		"moved":            !p.Reassigning() && was.Reassigning() && slices.Equal(p.Replicas, was.Target()),
	} {
		if happened {
			w.seen[what]++
		}
	}
}

// eligible wants those that hold everything to be remembered.
func (w *world) eligible(was, p *cluster.Partition, least int, dirtily bool, want func(bool, string)) {
	if dirtily || w.rulesOf(w.Image.TopicByID(w.topicOf(p))).unclean {
		return
	}
	want(len(p.ISR)+len(p.ELR) > 0, "somebody can be elected one day")
	if len(p.ISR) >= least {
		return
	}
	for _, id := range slices.Concat(was.ISR, was.ELR) {
		stripped := w.nodes[id].epoch == w.Image.Index()
		if stripped {
			w.seen["stripped"]++
		}
		if !stripped && slices.Contains(p.Replicas, id) {
			want(slices.Contains(p.ISR, id) || slices.Contains(p.ELR, id), fmt.Sprintf("broker %d held everything and is forgotten", id))
		}
	}
}

func (w *world) topicOf(p *cluster.Partition) kafka.UUID {
	for t := range w.Image.TopicsFrom("") {
		if t.Partition(p.ID) == p {
			return t.ID
		}
	}
	return kafka.UUID{}
}

// common is the longest beginning that two logs share.
func common(a, b []int) []int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n:n]
}
