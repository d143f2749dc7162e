package consumer

import (
	"maps"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The types of members in ConsumerGroupDescribe (KIP-1099).
const (
	classicMember  int8 = 0
	consumerMember int8 = 1
)

// Describe is the group in ConsumerGroupDescribe (key 69), members in the order
// of their ids. Topics that are gone are left out.
func (g *Group) Describe() msg.ConsumerGroupDescribeResponseGroup {
	r := msg.NewConsumerGroupDescribeResponseGroup()
	r.GroupID, r.GroupState = g.id, g.State()
	r.GroupEpoch, r.AssignmentEpoch, r.AssignorName = g.epoch, g.assigned, g.preferred(nil, nil)
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id]
		d := msg.NewConsumerGroupDescribeResponseGroupMember()
		d.MemberID, d.InstanceID, d.RackID, d.MemberEpoch = m.id, m.instance, m.rack, m.epoch
		d.ClientID, d.ClientHost = m.clientID, m.clientHost
		d.SubscribedTopicNames, d.SubscribedTopicRegex = m.topics, m.regex
		d.Assignment.TopicPartitions = g.named(union(m.assigned, m.revoking).set())
		d.TargetAssignment.TopicPartitions = g.named(g.target[id])
		d.MemberType = consumerMember
		if m.classic != nil {
			d.MemberType = classicMember
		}
		r.Members = append(r.Members, d)
	}
	return r
}

// named gives partitions with the names of their topics.
func (g *Group) named(s assign.Set) []msg.ConsumerGroupDescribeResponseTopicPartition {
	topics := g.cfg.Topics()
	var out []msg.ConsumerGroupDescribeResponseTopicPartition
	for _, t := range s {
		if topic, ok := topics.ByID(t.Topic); ok {
			out = append(out, msg.ConsumerGroupDescribeResponseTopicPartition{
				TopicID: t.Topic, TopicName: topic.Name, Partitions: t.Partitions,
			})
		}
	}
	return out
}
