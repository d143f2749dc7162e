package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/myelin-stream/myelin/internal/controller/plan"
)

// planMove is one partition of a plan, as -o json shows it.
type planMove struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      []int32 `json:"from"`
	To        []int32 `json:"to"`
	Bytes     int64   `json:"bytes_to_copy"`
}

// planned makes a plan for the cluster as it is. without are nodes that shall
// end up with nothing.
func (f *clusterFacts) planned(without []int32) (*plan.Plan, error) {
	c := &plan.Cluster{}
	for _, n := range f.nodes {
		drained := slices.Contains(without, n.Node)
		switch {
		case n.State == "in service" || drained:
			c.Nodes = append(c.Nodes, plan.Node{ID: n.Node, Rack: n.Rack, Drained: drained})
		case n.Replicas > 0:
			return nil, &fault{exitFailed, fmt.Sprintf("node %d has %s and is %s; start it, or empty it with --without %d", n.Node, count(int64(n.Replicas), "replica"), n.State, n.Node)}
		}
	}
	for _, id := range without {
		if f.node(id) == nil {
			return nil, missing("there is no node %d; see: myelin cluster info", id)
		}
	}
	for _, t := range f.topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			c.Partitions = append(c.Partitions, plan.Partition{Topic: t.Topic, ID: p.Partition, Replicas: p.Replicas, Bytes: f.size(p)})
		}
	}
	made, err := plan.Make(c)
	if err != nil {
		return nil, &fault{exitFailed, oneLine(err)}
	}
	return made, nil
}

// grown is the plan that gives every partition of some topics, or of all, as many
// replicas as are wanted. Those that it has stay where they are; each new one goes
// to a rack that has none yet, and there to the node with the fewest bytes.
func (f *clusterFacts) grown(replicas int, topics []string) (*plan.Plan, error) {
	load := map[int32]int64{}
	var open []*clusterNode
	for _, n := range f.nodes {
		if n.State == "in service" {
			open = append(open, n)
			load[n.Node] = n.Bytes
		}
	}
	if len(open) < replicas {
		return nil, &fault{exitFailed, fmt.Sprintf("%d replicas need as many nodes, and %d are in service", replicas, len(open))}
	}
	out := &plan.Plan{}
	for _, name := range topics {
		if !f.topics.Has(name) {
			return nil, missing("there is no topic %s", name)
		}
	}
	for _, t := range f.topics.Sorted() {
		if len(topics) > 0 && !slices.Contains(topics, t.Topic) {
			continue
		}
		for _, p := range t.Partitions.Sorted() {
			m := plan.Move{Topic: t.Topic, ID: p.Partition, From: p.Replicas, To: slices.Clone(p.Replicas)}
			for len(m.To) < replicas {
				next := f.emptiest(open, load, m.To)
				m.To, m.Bytes = append(m.To, next), m.Bytes+f.size(p)
				load[next] += f.size(p) + 1 // empty partitions are spread too
			}
			if len(m.To) > len(m.From) {
				out.Moves, out.Bytes = append(out.Moves, m), out.Bytes+m.Bytes
			}
		}
	}
	return out, nil
}

// emptiest is the node for another replica.
func (f *clusterFacts) emptiest(open []*clusterNode, load map[int32]int64, has []int32) int32 {
	var best *clusterNode
	again := func(n *clusterNode) bool { // is its rack taken?
		return n.Rack != "" && slices.ContainsFunc(has, func(id int32) bool { o := f.node(id); return o != nil && o.Rack == n.Rack })
	}
	for _, n := range open {
		switch {
		case slices.Contains(has, n.Node):
		case best == nil, again(best) && !again(n), again(best) == again(n) && load[n.Node] < load[best.Node]:
			best = n
		}
	}
	return best.Node
}

// size is what one replica of a partition has: the largest, which is the leader's
// while others catch up.
func (f *clusterFacts) size(p kadm.PartitionDetail) (most int64) {
	for _, id := range p.Replicas {
		most = max(most, f.sizes[nodePlace{id, place{p.Topic, p.Partition}}])
	}
	return most
}

// replaced is the plan in which one node takes over all that another has, with
// the same order of replicas.
func (f *clusterFacts) replaced(old, by int32) (*plan.Plan, error) {
	switch n := f.node(by); {
	case f.node(old) == nil:
		return nil, missing("there is no node %d; see: myelin cluster info", old)
	case n == nil || n.State != "in service":
		return nil, missing("node %d is not in service; see: myelin cluster info", by)
	}
	out := &plan.Plan{}
	for _, t := range f.topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			at := slices.Index(p.Replicas, old)
			if at < 0 {
				continue
			}
			if slices.Contains(p.Replicas, by) {
				return nil, &fault{exitFailed, fmt.Sprintf("%s/%d has a replica on node %d already; use: myelin cluster drain %d", t.Topic, p.Partition, by, old)}
			}
			to := slices.Clone(p.Replicas)
			to[at] = by
			m := plan.Move{Topic: t.Topic, ID: p.Partition, From: p.Replicas, To: to, Bytes: f.size(p)}
			out.Moves, out.Bytes = append(out.Moves, m), out.Bytes+m.Bytes
		}
	}
	return out, nil
}

// showPlan prints a plan: the moves, then what each node carries before and
// after.
func showPlan(a *app, p *plan.Plan) error {
	rows := make([]planMove, len(p.Moves))
	for i, m := range p.Moves {
		rows[i] = planMove{m.Topic, m.ID, m.From, m.To, m.Bytes}
	}
	if table := a.output == "table" || a.output == "wide"; table && len(rows) == 0 {
		fmt.Fprintln(a.Out, "nothing to move")
	} else if err := show(a, rows,
		column[planMove]{"TOPIC", false, func(m planMove) string { return m.Topic }},
		column[planMove]{"PARTITION", false, func(m planMove) string { return strconv.Itoa(int(m.Partition)) }},
		column[planMove]{"FROM", false, func(m planMove) string { return ids(m.From) }},
		column[planMove]{"TO", false, func(m planMove) string { return ids(m.To) }},
		column[planMove]{"BYTES", false, func(m planMove) string { return strconv.FormatInt(m.Bytes, 10) }}); err != nil || !table {
		return err
	}
	if len(p.Before) == 0 {
		return nil
	}
	fmt.Fprintln(a.Out)
	pair := func(of func(plan.Load) int64) func(int) string {
		return func(i int) string {
			before, after := of(p.Before[i]), of(p.After[i])
			if before == after {
				return strconv.FormatInt(before, 10)
			}
			return fmt.Sprintf("%d -> %d", before, after)
		}
	}
	numbers := make([]int, len(p.Before))
	for i := range numbers {
		numbers[i] = i
	}
	return show(a, numbers,
		column[int]{"NODE", false, func(i int) string { return strconv.Itoa(int(p.Before[i].Node)) }},
		column[int]{"BYTES", false, pair(func(l plan.Load) int64 { return l.Bytes })},
		column[int]{"REPLICAS", false, pair(func(l plan.Load) int64 { return int64(l.Replicas) })},
		column[int]{"LEADERS", false, pair(func(l plan.Load) int64 { return int64(l.Leaders) })})
}

// assignmentFile is the form in which Kafka's kafka-reassign-partitions keeps
// plans.
type assignmentFile struct {
	Version    int              `json:"version"`
	Partitions []assignmentLine `json:"partitions"`
}

type assignmentLine struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
}

func writePlan(file string, p *plan.Plan) error {
	out := assignmentFile{1, []assignmentLine{}}
	for _, m := range p.Moves {
		out.Partitions = append(out.Partitions, assignmentLine{m.Topic, m.ID, m.To})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o666)
	}
	return err
}

// readPlan reads what writePlan wrote, or Kafka's tool. Partitions that are as
// the file wants them are left out.
func (f *clusterFacts) readPlan(file string) (*plan.Plan, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var in assignmentFile
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, usage("%s: %s", file, oneLine(err))
	}
	out := &plan.Plan{}
	for _, l := range in.Partitions {
		p, ok := f.topics[l.Topic].Partitions[l.Partition]
		if !ok {
			return nil, missing("%s: there is no partition %s/%d", file, l.Topic, l.Partition)
		}
		if slices.Equal(p.Replicas, l.Replicas) {
			continue
		}
		m := plan.Move{Topic: l.Topic, ID: l.Partition, From: p.Replicas, To: l.Replicas}
		for _, id := range l.Replicas {
			if !slices.Contains(p.Replicas, id) {
				m.Bytes += f.size(p)
			}
		}
		out.Moves, out.Bytes = append(out.Moves, m), out.Bytes+m.Bytes
	}
	return out, nil
}

// parseRate reads bytes a second: a number, with K, M, G or KiB, MiB, GiB
// behind it.
func parseRate(text string) (int64, error) {
	number := strings.TrimRight(text, "KMGiB/s")
	n, err := strconv.ParseInt(number, 10, 64)
	shift := map[string]int{"": 0, "B": 0, "K": 10, "KiB": 10, "M": 20, "MiB": 20, "G": 30, "GiB": 30}
	by, ok := shift[strings.TrimSuffix(text[len(number):], "/s")]
	if err != nil || n <= 0 || !ok || n > 1<<62>>by {
		return 0, usage("%s: want bytes a second, such as 50MiB", text)
	}
	return n << by, nil
}

// parseNode reads the number of a node.
func parseNode(text string) (int32, error) {
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return 0, usage("%s: want the number of a node", text)
	}
	return int32(id), nil
}
