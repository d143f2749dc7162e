package streams

import (
	"cmp"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

type (
	describedTopology    = msg.StreamsGroupDescribeResponseGroupTopology
	describedSubtopology = msg.StreamsGroupDescribeResponseGroupTopologySubtopology
	describedMember      = msg.StreamsGroupDescribeResponseGroupMember
	describedAssignment  = msg.StreamsGroupDescribeResponseAssignment
	describedTopic       = msg.StreamsGroupDescribeResponseTopicInfo
)

// Describe tells all that there is to know of the group. withTopology asks for the
// description of its topology.
func (g *Group) Describe(withTopology bool) msg.StreamsGroupDescribeResponseGroup {
	d := msg.NewStreamsGroupDescribeResponseGroup()
	d.GroupID, d.GroupState, d.GroupEpoch, d.AssignmentEpoch = g.id, g.State(), g.epoch, g.assignment
	assignor := g.cfg().Assignor
	d.AssignorName = &assignor
	d.Topology = g.describeTopology()
	d.Members = []describedMember{}
	for _, id := range g.order() {
		d.Members = append(d.Members, g.describeMember(g.members[id]))
	}
	if withTopology {
		d.TopologyDescription, d.TopologyDescriptionStatus = g.description()
	}
	return d
}

func (g *Group) describeTopology() *describedTopology {
	if g.topology == nil {
		return nil
	}
	t := &describedTopology{Epoch: g.topology.epoch, Subtopologies: []describedSubtopology{}}
	for i := range g.topology.subtopologies {
		s := &g.topology.subtopologies[i]
		t.Subtopologies = append(t.Subtopologies, describedSubtopology{
			SubtopologyID: s.SubtopologyID,
			SourceTopics:  slices.Sorted(slices.Values(s.SourceTopics)), RepartitionSinkTopics: slices.Sorted(slices.Values(s.RepartitionSinkTopics)),
			StateChangelogTopics: g.describeTopics(s.StateChangelogTopics), RepartitionSourceTopics: g.describeTopics(s.RepartitionSourceTopics),
		})
	}
	return t
}

// describeTopics tells of internal topics: with the numbers of partitions that were
// decided on, once the topology is ready.
func (g *Group) describeTopics(list []topicInfo) []describedTopic {
	out := []describedTopic{}
	for i := range list {
		t := describedTopic{Name: list[i].Name, Partitions: list[i].Partitions, ReplicationFactor: list[i].ReplicationFactor}
		if g.ready != nil && g.ready.wrong == nil {
			t.Partitions = g.ready.internal[t.Name]
		}
		t.TopicConfigs = []msg.StreamsGroupDescribeResponseKeyValue{}
		for _, c := range list[i].TopicConfigs {
			t.TopicConfigs = append(t.TopicConfigs, msg.StreamsGroupDescribeResponseKeyValue{Key: c.Key, Value: c.Value})
		}
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b describedTopic) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (g *Group) describeMember(m *member) describedMember {
	d := describedMember{
		MemberID: m.id, MemberEpoch: m.epoch, InstanceID: m.instance, RackID: m.rack, ClientID: m.clientID, ClientHost: m.clientHost,
		TopologyEpoch: m.topologyEpoch, ProcessID: m.process, Assignment: describeTasks(&m.assigned),
		TaskOffsets: describeOffsets(g.offsets[m.id].at), TaskEndOffsets: describeOffsets(g.offsets[m.id].end),
		ClientTags: []msg.StreamsGroupDescribeResponseKeyValue{},
	}
	if m.endpoint != nil {
		d.UserEndpoint = &msg.StreamsGroupDescribeResponseEndpoint{Host: m.endpoint.host, Port: m.endpoint.port}
	}
	for _, t := range m.tags {
		d.ClientTags = append(d.ClientTags, msg.StreamsGroupDescribeResponseKeyValue{Key: t.key, Value: t.value})
	}
	target := g.targets[m.id]
	if target == nil {
		target = new(roles)
	}
	d.TargetAssignment = describeTasks(target)
	return d
}

func describeTasks(r *roles) describedAssignment {
	list := func(s set) []msg.StreamsGroupDescribeResponseTaskID {
		out := []msg.StreamsGroupDescribeResponseTaskID{}
		s.groups(func(id string, partitions []int32) {
			out = append(out, msg.StreamsGroupDescribeResponseTaskID{SubtopologyID: id, Partitions: partitions})
		})
		return out
	}
	return describedAssignment{ActiveTasks: list(r.active), StandbyTasks: list(r.standby), WarmupTasks: list(r.warmup)}
}

func describeOffsets(offsets map[tasks.Task]int64) []msg.StreamsGroupDescribeResponseTaskOffset {
	out := []msg.StreamsGroupDescribeResponseTaskOffset{}
	for t, at := range offsets {
		out = append(out, msg.StreamsGroupDescribeResponseTaskOffset{SubtopologyID: t.Subtopology, Partition: t.Partition, Offset: at})
	}
	slices.SortFunc(out, func(a, b msg.StreamsGroupDescribeResponseTaskOffset) int {
		return cmp.Or(strings.Compare(a.SubtopologyID, b.SubtopologyID), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}
