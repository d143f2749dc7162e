package group

import (
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// testTopics is a cluster with topics t and u of four partitions each.
func testTopics(t testing.TB) func() kind.Topics {
	d := cluster.NewDelta(cluster.Empty("c"))
	add := func(r state.Record) {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"t", "u"} {
		id := kafka.UUID{15: byte(i + 1)}
		add(&state.TopicRecord{Name: name, TopicID: id})
		for p := range int32(4) {
			add(&state.PartitionRecord{PartitionID: p, TopicID: id, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}})
		}
	}
	img := d.Apply(1, 1)
	return TopicsOf(func() *cluster.Image { return img })
}

// metadata is what a member says: @t+u stands for a subscription to t and u, and
// @t/0+1 for an assignment; anything else for itself.
func metadata(text string) []byte {
	what, ok := strings.CutPrefix(text, "@")
	if !ok {
		return []byte(text)
	}
	topic, list, ok := strings.Cut(what, "/")
	if !ok {
		s := state.NewConsumerProtocolSubscription()
		s.Topics = split(topic, "+")
		return state.MarshalVersioned(&s, 1)
	}
	a := state.NewConsumerProtocolAssignment()
	part := state.ConsumerProtocolAssignmentAssignedPartition{Topic: topic}
	for _, p := range split(list, "+") {
		part.Partitions = append(part.Partitions, int32(p[0]-'0'))
	}
	a.AssignedPartitions = append(a.AssignedPartitions, part)
	return state.MarshalVersioned(&a, 1)
}

// consumerBeat reads a ConsumerGroupHeartbeat: member=c epoch=0 topics=t+u.
func (d *dialogue) consumerBeat(c *script.Cmd, group, member string) msg.Request {
	r := msg.NewConsumerGroupHeartbeatRequest()
	r.GroupID, r.MemberID, r.MemberEpoch = group, member, int32(c.IntKey("epoch", 0))
	r.InstanceID = optional(c, "instance")
	if r.MemberEpoch == 0 {
		r.RebalanceTimeoutMs = 10000
		r.SubscribedTopicNames = split(c.Key("topics", "t"), "+")
		r.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	}
	return &r
}
