package controller

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// listed makes a question of a list of brokers.
func listed(args []string) func(int32) bool {
	var ids []int32
	for _, a := range args {
		ids = append(ids, ints(a)...)
	}
	return func(id int32) bool { return slices.Contains(ids, id) }
}

// known is what the controller hears beside the log.
func (p *player) known(c *script.Cmd) string {
	these := listed(c.Args)
	if c.Name == "heard" {
		p.Heard = these
	} else {
		p.Moved = func(id int32) bool { return !these(id) }
	}
	return ""
}

func (p *player) reassign(c *script.Cmd) string {
	req := msg.NewAlterPartitionReassignmentsRequest()
	rp := msg.AlterPartitionReassignmentsRequestTopicPartition{PartitionIndex: int32(c.Int(1))}
	if len(c.Args) < 3 {
		rp.Replicas = []int32{}
	} else if c.Arg(2) != "null" {
		rp.Replicas = ints(c.Arg(2))
	}
	req.Topics = []msg.AlterPartitionReassignmentsRequestTopic{{Name: c.Arg(0), Partitions: []msg.AlterPartitionReassignmentsRequestTopicPartition{rp}}}
	req.AllowReplicationFactorChange = len(c.Args) < 4
	recs, resp := AlterPartitionReassignments(p.State, &req)
	row := resp.Responses[0].Partitions[0]
	out := p.replay(recs) + outcome(row.ErrorCode, row.ErrorMessage)
	list := ListPartitionReassignments(p.Image, new(msg.NewListPartitionReassignmentsRequest()))
	return out + fmt.Sprintf(", %d records, %d under way", len(recs), len(list.Topics))
}

// rare is what few partitions have.
func rare(q *cluster.Partition) (out string) {
	for _, what := range []struct {
		name string
		ids  []int32
	}{{"last", q.LastKnownELR}, {"adding", q.Adding}, {"removing", q.Removing}} {
		if len(what.ids) > 0 {
			out += fmt.Sprintf(" %s %v", what.name, what.ids)
		}
	}
	if q.Recovering {
		out += " recovering"
	}
	return out
}

func (p *player) elect(c *script.Cmd) string {
	req := msg.NewElectLeadersRequest()
	switch c.Arg(0) {
	case "preferred":
	case "unclean":
		req.ElectionType = electUnclean
	default:
		req.ElectionType = int8(c.Int(0))
	}
	if len(c.Args) > 1 {
		req.TopicPartitions = []msg.ElectLeadersRequestTopicPartition{{Topic: c.Arg(1), Partitions: ints(c.Arg(2))}}
	} else {
		req.TopicPartitions = nil
	}
	recs, resp := ElectLeaders(p.State, &req)
	if resp.ErrorCode != 0 {
		return outcome(resp.ErrorCode, nil)
	}
	var b strings.Builder
	for _, t := range resp.ReplicaElectionResults {
		for _, r := range t.PartitionResult {
			fmt.Fprintf(&b, "%s-%d: %s\n", t.Topic, r.PartitionID, outcome(r.ErrorCode, r.ErrorMessage))
		}
	}
	return p.replay(recs) + b.String() + strconv.Itoa(len(recs)) + " records"
}

func (p *player) timers(name string) string {
	var out string
	for _, timer := range map[string][]func(*State) (Records, bool){"balance": {Balance}, "tend": {ElectUnclean, GrowInternal}}[name] {
		recs, more := timer(p.State)
		out += p.replay(recs) + fmt.Sprintf("%d records, more %v\n", len(recs), more)
	}
	return out
}

func (p *player) reassigning(c *script.Cmd) string {
	req := msg.NewListPartitionReassignmentsRequest()
	req.Topics = nil
	if len(c.Args) > 0 {
		req.Topics = []msg.ListPartitionReassignmentsRequestTopic{{Name: c.Arg(0), PartitionIndexes: ints(c.Arg(1))}}
	}
	var b strings.Builder
	for _, t := range ListPartitionReassignments(p.Image, &req).Topics {
		for _, q := range t.Partitions {
			fmt.Fprintf(&b, "%s-%d %v adding %v removing %v\n", t.Name, q.PartitionIndex, q.Replicas, q.AddingReplicas, q.RemovingReplicas)
		}
	}
	return b.String()
}
