package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Slack is how far a node may be from the mean, as a part of it.
const Slack = 0.1

// Node is a broker that is to have replicas, or to lose them.
type Node struct {
	ID      int32
	Rack    string // "" where racks are not known
	Drained bool
}

// Partition is one partition as it is assigned now.
type Partition struct {
	Topic    string
	ID       int32
	Replicas []int32 // the preferred leader first
	Bytes    int64   // of one replica
}

// Cluster is what a plan is made for. Replicas on nodes that are not listed move
// as if those were drained.
type Cluster struct {
	Nodes      []Node
	Partitions []Partition
}

// Move is a reassignment of one partition.
type Move struct {
	Topic    string
	ID       int32
	From, To []int32
	Bytes    int64 // to be copied; 0 where only the preferred leader changes
}

// Load is what a node carries.
type Load struct {
	Node     int32
	Bytes    int64
	Replicas int
	Leaders  int // partitions whose preferred leader it is
}

// Plan is what to move and what comes of it. Loads are by node.
type Plan struct {
	Moves         []Move
	Bytes         int64 // of all moves
	Before, After []Load
}

// Make plans for a cluster. It is an error when a partition has more replicas
// than there are nodes to have them, or names a node twice.
func Make(c *Cluster) (*Plan, error) {
	b, err := newBoard(c)
	if err != nil {
		return nil, err
	}
	out := &Plan{Before: b.loads()}
	b.empty()
	b.level()
	b.refine()
	b.lead()
	out.After = b.loads()
	for i, p := range c.Partitions {
		to := b.ids(b.now[i])
		if slices.Equal(to, p.Replicas) {
			continue
		}
		m := Move{Topic: p.Topic, ID: p.ID, From: slices.Clone(p.Replicas), To: to}
		for _, id := range to {
			if !slices.Contains(p.Replicas, id) {
				m.Bytes += p.Bytes
			}
		}
		out.Moves, out.Bytes = append(out.Moves, m), out.Bytes+m.Bytes
	}
	return out, nil
}

// board is a cluster with nodes by number, while it is planned on.
type board struct {
	nodes  []Node
	open   []int // the nodes that are not drained
	bytes  []int64
	was    [][]int // of each partition, its replicas
	now    [][]int
	load   []int64
	lo, hi int64
}

func newBoard(c *Cluster) (*board, error) {
	b := &board{nodes: slices.Clone(c.Nodes)}
	slices.SortFunc(b.nodes, func(x, y Node) int { return cmp.Compare(x.ID, y.ID) })
	at := map[int32]int{}
	for i, n := range b.nodes {
		if _, twice := at[n.ID]; twice {
			return nil, fmt.Errorf("node %d is named twice", n.ID)
		}
		at[n.ID] = i
		if !n.Drained {
			b.open = append(b.open, i)
		}
	}
	for _, p := range c.Partitions {
		if len(p.Replicas) > len(b.open) {
			return nil, fmt.Errorf("%s-%d has %d replicas, and %d nodes are left to have them", p.Topic, p.ID, len(p.Replicas), len(b.open))
		}
		var replicas []int
		for _, id := range p.Replicas {
			i, ok := at[id]
			if !ok {
				i = len(b.nodes)
				at[id] = i
				b.nodes = append(b.nodes, Node{ID: id, Drained: true})
			}
			if slices.Contains(replicas, i) {
				return nil, fmt.Errorf("%s-%d is on node %d twice", p.Topic, p.ID, id)
			}
			replicas = append(replicas, i)
		}
		b.bytes = append(b.bytes, p.Bytes)
		b.was, b.now = append(b.was, replicas), append(b.now, slices.Clone(replicas))
	}
	b.load = make([]int64, len(b.nodes))
	var total int64
	for i, replicas := range b.now {
		for _, n := range replicas {
			b.load[n] += b.bytes[i]
			total += b.bytes[i]
		}
	}
	if len(b.open) > 0 {
		mean := float64(total) / float64(len(b.open))
		b.lo, b.hi = int64(mean*(1-Slack))+1, int64(mean*(1+Slack))
	}
	return b, nil
}

func (b *board) ids(replicas []int) []int32 {
	var ids []int32
	for _, n := range replicas {
		ids = append(ids, b.nodes[n].ID)
	}
	return ids
}

func (b *board) loads() []Load {
	out := make([]Load, len(b.nodes))
	for n := range b.nodes {
		out[n].Node = b.nodes[n].ID
	}
	for i, replicas := range b.now {
		for _, n := range replicas {
			out[n].Bytes += b.bytes[i]
			out[n].Replicas++
		}
		if len(replicas) > 0 {
			out[replicas[0]].Leaders++
		}
	}
	return out
}

// off is by how much a load misses what it should be.
func (b *board) off(load int64) int64 { return max(0, load-b.hi, b.lo-load) }

// wrong is by how much all nodes together do.
func (b *board) wrong() (sum int64) {
	for _, n := range b.open {
		sum += b.off(b.load[n])
	}
	return sum
}

// racks counts the racks that a partition is on, without one replica and with
// another; -1 is no replica.
func (b *board) racks(i, without, with int) int {
	var seen []string
	add := func(n int) {
		if rack := b.nodes[n].Rack; rack != "" && !slices.Contains(seen, rack) {
			seen = append(seen, rack)
		}
	}
	for _, n := range b.now[i] {
		if n != without {
			add(n)
		}
	}
	if with >= 0 {
		add(with)
	}
	return len(seen)
}

// fits says whether a replica of partition i may go from one node to another. A
// rack may be lost only with a node that is drained, and not even then where
// another choice keeps it.
func (b *board) fits(i, from, to int) bool {
	if b.nodes[to].Drained || slices.Contains(b.now[i], to) {
		return false
	}
	has := b.racks(i, from, to)
	if has >= b.racks(i, -1, -1) {
		return true
	}
	if !b.nodes[from].Drained {
		return false
	}
	return !slices.ContainsFunc(b.open, func(n int) bool { return !slices.Contains(b.now[i], n) && b.racks(i, from, n) > has })
}

func (b *board) move(i, from, to int) {
	b.now[i][slices.Index(b.now[i], from)] = to
	b.load[from] -= b.bytes[i]
	b.load[to] += b.bytes[i]
}

// replica is one replica: of partition i on a node.
type replica struct{ i, on int }

// empty moves what is on drained nodes, the largest first.
func (b *board) empty() {
	var all []replica
	for i, replicas := range b.now {
		for _, n := range replicas {
			if b.nodes[n].Drained {
				all = append(all, replica{i, n})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y replica) int { return cmp.Compare(b.bytes[y.i], b.bytes[x.i]) })
	for _, r := range all {
		best := -1
		for _, n := range b.open {
			if b.fits(r.i, r.on, n) && (best < 0 || b.load[n] < b.load[best]) {
				best = n
			}
		}
		if best >= 0 {
			b.move(r.i, r.on, best)
		}
	}
}
