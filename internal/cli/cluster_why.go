package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// replication is what is wrong with the replicas of some topics, and why.
type replication struct {
	reasons []groupReason
	at      map[[2]string]int // by word and sentence

	offline, short, behind int // partitions without a leader, below min.insync.replicas, with replicas out of sync
}

// judge looks at every partition of some topics. A partition that is well has no
// reason.
func (f *clusterFacts) judge(topics []kadm.TopicDetail, m *medicine) *replication {
	r := &replication{reasons: []groupReason{}, at: map[[2]string]int{}}
	for _, t := range topics {
		for _, p := range t.Partitions.Sorted() {
			causes := f.causes(p, m)
			if p.Leader < 0 {
				r.offline++
			}
			if least := m.least[t.Topic]; p.Leader >= 0 && len(p.ISR) < least {
				r.short++
				causes = append(causes, cause{"under-min-isr", fmt.Sprintf("fewer replicas are in sync than min.insync.replicas=%d: producers with acks=all are refused", least),
					"heal the replicas; or lower it, which risks records: myelin topic config set TOPIC min.insync.replicas=..."})
			}
			if len(p.ISR) < len(p.Replicas) {
				r.behind++
			}
			for _, c := range causes {
				r.add(c, place{p.Topic, p.Partition})
			}
		}
	}
	return r
}

func (r *replication) add(c cause, p place) {
	key := [2]string{c.code, c.why}
	n, ok := r.at[key]
	if !ok {
		n = len(r.reasons)
		r.at[key] = n
		r.reasons = append(r.reasons, groupReason{c.code, []string{}, c.why, c.next})
	}
	r.reasons[n].Partitions = append(r.reasons[n].Partitions, p.String())
}

// medicine is what has to be asked for to explain what is wrong; it is empty
// where nothing is.
type medicine struct {
	least  map[string]int    // min.insync.replicas by topic
	adding map[place][]int32 // replicas that a reassignment is filling
	able   map[place][]int32 // of partitions without a leader: who may lead
}

// ask fetches what explains the partitions of topics that are not well.
func (f *clusterFacts) ask(ctx context.Context, cl *kgo.Client, topics []kadm.TopicDetail) (*medicine, error) {
	m := &medicine{map[string]int{}, map[place][]int32{}, map[place][]int32{}}
	var ill, headless []string
	for _, t := range topics {
		parts := t.Partitions.Sorted()
		if slices.ContainsFunc(parts, func(p kadm.PartitionDetail) bool { return len(p.ISR) < len(p.Replicas) || p.Leader < 0 }) {
			ill = append(ill, t.Topic)
		}
		if slices.ContainsFunc(parts, func(p kadm.PartitionDetail) bool { return p.Leader < 0 }) {
			headless = append(headless, t.Topic)
		}
	}
	if len(ill) == 0 {
		return m, nil
	}
	adm := kadm.NewClient(cl)
	configs, err := adm.DescribeTopicConfigs(ctx, ill...)
	if err != nil {
		return nil, err
	}
	for _, r := range configs {
		for _, c := range r.Configs {
			if c.Key == "min.insync.replicas" {
				m.least[r.Name], _ = strconv.Atoi(c.MaybeValue()) // 0 bounds nothing
			}
		}
	}
	moves, _ := askMoves(ctx, cl) // without a controller nobody says
	for _, r := range moves {
		m.adding[place{r.Topic, r.Partition}] = r.Adding
	}
	return m, m.askHeirs(ctx, cl, headless)
}

// askHeirs asks who may lead the partitions that nobody leads.
func (m *medicine) askHeirs(ctx context.Context, cl *kgo.Client, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 2000
	for _, name := range topics {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if t.Topic != nil {
				m.able[place{*t.Topic, p.Partition}] = append(slices.Clone(p.ISR), p.EligibleLeaderReplicas...)
			}
		}
	}
	return nil
}

// causes says of a partition why it has no leader, and of each replica that is
// not in sync why.
func (f *clusterFacts) causes(p kadm.PartitionDetail, m *medicine) []cause {
	var all []cause
	at := place{p.Topic, p.Partition}
	if p.Leader < 0 {
		if heirs := m.able[at]; len(heirs) > 0 {
			all = append(all, cause{"offline", fmt.Sprintf("nobody leads: those that surely have every acknowledged record, %s, do not serve", nodeNames(heirs)),
				"start any of them"})
		} else {
			all = append(all, cause{"offline", "nobody leads, and no replica is known to have every acknowledged record",
				"start all of its nodes; if none comes back, give up what may be missing: kafka-leader-election --election-type unclean"})
		}
	}
	for _, id := range p.Replicas {
		if !slices.Contains(p.ISR, id) && id != p.Leader {
			all = append(all, f.replicaCause(p, id, slices.Contains(m.adding[at], id)))
		}
	}
	return all
}

// replicaCause says why one replica is not in sync.
func (f *clusterFacts) replicaCause(p kadm.PartitionDetail, id int32, added bool) cause {
	at := place{p.Topic, p.Partition}
	n := f.node(id)
	own, held := f.sizes[nodePlace{id, at}]
	whole := f.sizes[nodePlace{p.Leader, at}]
	switch {
	case n == nil || n.State == "gone":
		return cause{"gone", fmt.Sprintf("node %d is not one of the cluster", id), fmt.Sprintf("give its replicas to another: myelin cluster replace %d --with OTHER", id)}
	case n.State != "in service":
		return cause{"fenced", fmt.Sprintf("node %d does not serve%s", id, f.since(id)),
			fmt.Sprintf("start it, or look at its log if it runs; if it will not come back: myelin cluster replace %d --with OTHER", id)}
	case !held && len(n.failed) > 0:
		return cause{"directory", fmt.Sprintf("node %d has lost %s", id, strings.Join(n.failed, ", ")), "look at the device, then start the node again; see: myelin storage dirs"}
	case added:
		return cause{"copying", fmt.Sprintf("node %d is being filled for a reassignment", id), "wait for it; see: myelin cluster rebalance status"}
	case held && own < whole:
		return cause{"behind", fmt.Sprintf("node %d serves, and fetches more slowly than is written", id),
			fmt.Sprintf("look at its disk and at the network from node %d; a bound may be left: myelin cluster rebalance unthrottle", p.Leader)}
	}
	return cause{"catching-up", fmt.Sprintf("node %d serves and has been out of sync until now", id),
		fmt.Sprintf("look again in some seconds; if it stays, can node %d reach node %d?", id, p.Leader)}
}

// since says when a node was last heard, as far as the quorum knows.
func (f *clusterFacts) since(id int32) string {
	if f.quorum == nil {
		return ""
	}
	for _, m := range f.quorum.members {
		if heard := max(m.Fetched, m.CaughtUp); m.Node == id && heard > 0 {
			at := time.UnixMilli(heard)
			return fmt.Sprintf(" since %s (%s ago)", at.UTC().Format(time.TimeOnly), f.now.Sub(at).Round(time.Second))
		}
	}
	return ""
}

func nodeNames(list []int32) string {
	if len(list) == 1 {
		return fmt.Sprintf("node %d", list[0])
	}
	return "nodes " + strings.ReplaceAll(ids(list), ",", ", ")
}

// writeReasons prints reasons and the next step of each, with an empty line
// between them.
func writeReasons(out io.Writer, reasons []groupReason) {
	for i, r := range reasons {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprint(out, r.Reason)
		if len(r.Partitions) > 0 {
			fmt.Fprintf(out, " (%s)", some(r.Partitions, 6))
		}
		fmt.Fprintf(out, ": %s\n", r.Why)
		if r.Next != "" {
			fmt.Fprintf(out, "  next: %s\n", r.Next)
		}
	}
}
