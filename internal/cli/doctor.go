package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// finding is one thing that is not as it should be.
type finding struct {
	Level string   `json:"level"` // error: something is refused or may be lost; warning: it may come to that
	What  string   `json:"what"`
	Where []string `json:"where"` // partitions, if it is about some
	Why   string   `json:"why"`
	Next  string   `json:"next"`
}

func doctorCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look a cluster over: what is wrong, why, and what to do", Args: cobra.NoArgs,
		Long: "Look a cluster over: nodes, quorum, replicas, disks and balance. It changes nothing. The exit code is 1 if something is\n" +
			"refused or may be lost, and 0 if there are only warnings.",
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			defer cl.Close()
			all, err := examine(a, c.Context(), cl)
			if err != nil {
				return err
			}
			if a.output == "table" || a.output == "wide" {
				reasons := make([]groupReason, len(all))
				for i, f := range all {
					reasons[i] = groupReason{f.Level + ": " + f.What, f.Where, f.Why, f.Next}
				}
				writeReasons(a.Out, reasons)
				if len(all) == 0 {
					fmt.Fprintln(a.Out, "all is well")
				}
			} else if err := show(a, all,
				column[finding]{"WHAT", false, func(f finding) string { return f.What }},
				column[finding]{"LEVEL", false, func(f finding) string { return f.Level }},
				column[finding]{"WHY", false, func(f finding) string { return f.Why }},
				column[finding]{"NEXT", false, func(f finding) string { return f.Next }}); err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(f finding) bool { return f.Level == "error" }) {
				return &fault{exitFailed, ""}
			}
			return nil
		},
	}
}

// examine gathers the facts and judges them, the worst first.
func examine(a *app, ctx context.Context, cl *kgo.Client) ([]finding, error) {
	f, err := gather(a, ctx, cl)
	if err != nil {
		return nil, err
	}
	topics := f.topics.Sorted()
	m, err := f.ask(ctx, cl, topics)
	if err != nil {
		return nil, err
	}
	all := []finding{}
	for _, r := range f.judge(topics, m).reasons {
		level := "warning"
		if r.Reason == "offline" || r.Reason == "under-min-isr" {
			level = "error"
		}
		all = append(all, finding{level, r.Reason, r.Partitions, r.Why, r.Next})
	}
	all = append(all, f.examineNodes()...)
	all = append(all, f.examineQuorum()...)
	all = append(all, f.examineBalance(topics)...)
	slices.SortStableFunc(all, func(x, y finding) int { return levelOrder(x) - levelOrder(y) })
	return all, nil
}

func levelOrder(f finding) int { return slices.Index([]string{"error", "warning"}, f.Level) }

// examineNodes looks at who serves and at their disks.
func (f *clusterFacts) examineNodes() (all []finding) {
	if f.controller < 0 {
		all = append(all, finding{"error", "no-controller", nil, "no node leads the quorum: nothing can be changed, and no leader replaced",
			"start nodes until more than half of the voters run; see: myelin cluster quorum describe"})
	}
	for _, n := range f.nodes {
		if n.State == "fenced" && n.Replicas == 0 { // with replicas, these say it
			all = append(all, finding{"warning", "fenced", nil, fmt.Sprintf("node %d does not serve%s", n.Node, f.since(n.Node)),
				fmt.Sprintf("start it, or take it off the list: myelin cluster decommission %d", n.Node)})
		}
		for _, d := range n.failed {
			all = append(all, finding{"error", "directory", nil, fmt.Sprintf("log directory %s of node %d is offline", d, n.Node),
				"look at the device, then start the node again; see: myelin storage dirs"})
		}
		if n.Total > 0 && n.Free < n.Total/10 {
			all = append(all, finding{"warning", "disk", nil, fmt.Sprintf("node %d has %d of %d MiB free", n.Node, n.Free>>20, n.Total>>20),
				"move replicas off it, keep records for a shorter time, or add room: myelin cluster rebalance plan"})
		}
	}
	return all
}

// examineQuorum looks at who votes.
func (f *clusterFacts) examineQuorum() (all []finding) {
	if f.quorum == nil {
		return []finding{{"error", "quorum", nil, "the quorum does not answer: nothing can be changed, and no leader replaced",
			"start nodes until more than half of the voters run"}}
	}
	voters, current := 0, 0
	for _, m := range f.quorum.members {
		if m.Role == "learner" {
			continue
		}
		voters++
		behind := m.CaughtUp > 0 && f.now.UnixMilli()-m.CaughtUp > 10_000 && m.Role != "leader"
		if behind {
			all = append(all, finding{"warning", "quorum", nil, fmt.Sprintf("voter %d has not caught up%s", m.Node, f.since(m.Node)),
				fmt.Sprintf("start it, or look at its log; if its disk is lost: myelin cluster quorum remove-voter %d", m.Node)})
		} else {
			current++
		}
	}
	if len(all) > 0 && current == voters/2+1 {
		all = append(all, finding{"error", "quorum", nil, fmt.Sprintf("%d of %d voters follow: without one more of them nothing can be changed", current, voters), "bring the others back"})
	}
	if voters%2 == 0 {
		all = append(all, finding{"warning", "quorum", nil, fmt.Sprintf("%d voters survive no more failures than %d", voters, voters-1), "add one or take one away: myelin cluster quorum"})
	}
	return all
}

// examineBalance looks at what a failure or a hot spot would cost.
func (f *clusterFacts) examineBalance(topics []kadm.TopicDetail) (all []finding) {
	serving, moved := 0, 0
	for _, n := range f.nodes {
		if n.State == "in service" {
			serving++
		}
	}
	var single []string
	for _, t := range topics {
		for _, p := range t.Partitions.Sorted() {
			if len(p.Replicas) > 0 && p.Leader >= 0 && p.Leader != p.Replicas[0] {
				moved++
			}
			if len(p.Replicas) == 1 && serving > 1 {
				single = append(single, place{t.Topic, p.Partition}.String())
			}
		}
	}
	if len(single) > 0 {
		all = append(all, finding{"warning", "one-replica", single, "partitions with one replica are away as long as its node is, and lost with its disk",
			"give them more: myelin cluster rebalance apply --replicas " + strconv.Itoa(min(3, serving))})
	}
	if moved > 0 {
		all = append(all, finding{"warning", "leaders", nil, fmt.Sprintf("%s led by another than the preferred replica", count(int64(moved), "partition")),
			"wait: leaders go back by themselves within leader.imbalance.check.interval.seconds; at once: kafka-leader-election --election-type preferred"})
	}
	return all
}
