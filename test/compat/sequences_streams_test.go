//go:build compat

package compat

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// streamsMember is one member of a streams group as its client knows it.
type streamsMember struct {
	d           *dialogue
	v           int16
	group, id   string
	process     string
	instance    *string
	epoch       int32
	endpoint    int32 // the epoch of the endpoint information
	has         [2]streamsTasks
	withAddress bool
}

type streamsTasks struct {
	active, standby []msg.StreamsGroupHeartbeatRequestTaskID
}

// streamsTopology reads a topic, repartitions it and counts.
func streamsTopology(group string, epoch int32) *msg.StreamsGroupHeartbeatRequestTopology {
	return &msg.StreamsGroupHeartbeatRequestTopology{Epoch: epoch, Subtopologies: []msg.StreamsGroupHeartbeatRequestTopologySubtopology{
		{SubtopologyID: "0", SourceTopics: []string{group + "-in"}, RepartitionSinkTopics: []string{group + "-repartition"}},
		{
			SubtopologyID:           "1",
			RepartitionSourceTopics: []msg.StreamsGroupHeartbeatRequestTopicInfo{{Name: group + "-repartition"}},
			StateChangelogTopics: []msg.StreamsGroupHeartbeatRequestTopicInfo{{
				Name: group + "-changelog", TopicConfigs: []msg.StreamsGroupHeartbeatRequestKeyValue{{Key: "cleanup.policy", Value: "compact"}},
			}},
		},
	}}
}

func (m *streamsMember) request(i int) *msg.StreamsGroupHeartbeatRequest {
	r := msg.NewStreamsGroupHeartbeatRequest()
	r.GroupID, r.MemberID, r.MemberEpoch, r.InstanceID, r.EndpointInformationEpoch = m.group, m.id, m.epoch, m.instance, m.endpoint
	if m.epoch == 0 {
		r.RebalanceTimeoutMs, r.ProcessID, r.Topology = 60000, ptr(m.process), streamsTopology(m.group, 0)
		r.ActiveTasks, r.StandbyTasks, r.WarmupTasks = []msg.StreamsGroupHeartbeatRequestTaskID{}, []msg.StreamsGroupHeartbeatRequestTaskID{}, []msg.StreamsGroupHeartbeatRequestTaskID{}
		r.ClientTags = []msg.StreamsGroupHeartbeatRequestKeyValue{{Key: "zone", Value: "z1"}}
		if m.withAddress {
			r.UserEndpoint = &msg.StreamsGroupHeartbeatRequestEndpoint{Host: m.id, Port: 80}
		}
	}
	return &r
}

func (m *streamsMember) beat(step string, change func(r *msg.StreamsGroupHeartbeatRequest)) {
	m.d.t.Helper()
	got := ask[msg.StreamsGroupHeartbeatResponse](m.d, step, m.v, func(i int) msg.Request {
		r := m.request(i)
		if change != nil {
			change(r)
		}
		return r
	})
	if got[0].ErrorCode != 0 || got[0].MemberEpoch < 0 {
		return
	}
	m.epoch, m.endpoint = got[0].MemberEpoch, got[0].EndpointInformationEpoch
	for i := range got {
		if got[i].ActiveTasks != nil {
			read := func(list []msg.StreamsGroupHeartbeatResponseTaskID) []msg.StreamsGroupHeartbeatRequestTaskID {
				out := []msg.StreamsGroupHeartbeatRequestTaskID{}
				for _, t := range list {
					out = append(out, msg.StreamsGroupHeartbeatRequestTaskID{SubtopologyID: t.SubtopologyID, Partitions: t.Partitions})
				}
				return out
			}
			m.has[i] = streamsTasks{read(got[i].ActiveTasks), read(got[i].StandbyTasks)}
		}
	}
}

// does is a heartbeat that says that the member has what it was told.
func (m *streamsMember) does(step string) {
	m.d.t.Helper()
	m.beat(step, func(r *msg.StreamsGroupHeartbeatRequest) {
		r.ActiveTasks, r.StandbyTasks, r.WarmupTasks = m.has[0].active, m.has[0].standby, []msg.StreamsGroupHeartbeatRequestTaskID{}
	})
}

func (m *streamsMember) seen(step string) {
	m.d.t.Helper()
	for v := range int16(2) {
		ask[msg.StreamsGroupDescribeResponse](m.d, fmt.Sprint("described ", step, " v", v), v, same(&msg.StreamsGroupDescribeRequest{
			GroupIDs: []string{m.group}, IncludeAuthorizedOperations: true, IncludeTopologyDescription: v == 1,
		}))
	}
	ask[msg.ListGroupsResponse](m.d, "listed "+step, 5, same(&msg.ListGroupsRequest{TypesFilter: []string{"streams"}}))
}

func (m *streamsMember) commit(step string, version int16, epoch int32) {
	m.d.t.Helper()
	ask[msg.OffsetCommitResponse](m.d, step, version, func(int) msg.Request {
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.GenerationIDOrMemberEpoch, r.MemberID, r.GroupInstanceID = m.group, epoch, m.id, m.instance
		for p := range int32(4) {
			part := msg.NewOffsetCommitRequestTopicPartition()
			part.PartitionIndex, part.CommittedOffset, part.CommittedMetadata = p, 1, ptr("")
			r.Topics = append(r.Topics, msg.OffsetCommitRequestTopic{Name: m.group + "-in", Partitions: []msg.OffsetCommitRequestTopicPartition{part}})
		}
		return &r
	})
}

func (m *streamsMember) fetch(step string, epoch int32) {
	m.d.t.Helper()
	ask[msg.OffsetFetchResponse](m.d, step, 9, same(&msg.OffsetFetchRequest{Groups: []msg.OffsetFetchRequestGroup{{
		GroupID: m.group, MemberID: ptr(m.id), MemberEpoch: epoch,
		Topics: []msg.OffsetFetchRequestGroupTopic{{Name: m.group + "-in", PartitionIndexes: []int32{0}}},
	}}}))
}

func streamsTopics(d *dialogue, group string, partitions map[string]int32) {
	req := &msg.CreateTopicsRequest{TimeoutMs: 10000}
	for _, suffix := range []string{"in", "repartition", "changelog"} {
		if n := partitions[suffix]; n > 0 {
			req.Topics = append(req.Topics, msg.CreateTopicsRequestTopic{Name: group + "-" + suffix, NumPartitions: n, ReplicationFactor: -1})
		}
	}
	ask[msg.CreateTopicsResponse](d, "create topics", 7, same(req))
	await(d, 12, same(&msg.MetadataRequest{Topics: func() (all []msg.MetadataRequestTopic) {
		for _, t := range req.Topics {
			all = append(all, msg.MetadataRequestTopic{Name: ptr(t.Name)})
		}
		return all
	}()}), func(r *msg.MetadataResponse) bool {
		for _, t := range r.Topics {
			if t.ErrorCode != 0 {
				return false
			}
		}
		return true
	})
	// Kafka's coordinator learns of topics a little later.
	probe := &streamsMember{v: 1, group: group, id: "probe", process: "p"}
	await(d, 1, func(i int) msg.Request {
		r := probe.request(i)
		r.GroupID = group + "-probe"
		return r
	}, func(r *msg.StreamsGroupHeartbeatResponse) bool {
		return r.ErrorCode == 0 && (len(r.Status) == 0 || r.Status[0].StatusCode == 2)
	})
	probe.epoch = -1
	await(d, 1, func(i int) msg.Request {
		r := probe.request(i)
		r.GroupID = group + "-probe"
		return r
	}, func(r *msg.StreamsGroupHeartbeatResponse) bool { return true })
	ask[msg.DeleteGroupsResponse](d, "delete the probe", 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{group + "-probe"}}))
}

var allStreamsTopics = map[string]int32{"in": 4, "repartition": 4, "changelog": 4}

// streamsGroup is the life of a group of two members in two processes.
func streamsGroup(d *dialogue) {
	for v := range int16(2) {
		group := fmt.Sprint("streams-", v)
		streamsTopics(d, group, allStreamsTopics)
		a := &streamsMember{d: d, v: v, group: group, id: "m1", process: "p1", withAddress: true}
		b := &streamsMember{d: d, v: v, group: group, id: "m2", process: "p2", withAddress: true}
		a.beat("join", nil)
		a.does("has its tasks")
		a.beat("nothing new", nil)
		a.commit("commit", 9, a.epoch)
		b.beat("another joins", nil)
		old := a.epoch
		a.beat("is to give up tasks", nil)
		a.commit("commit in the old epoch", 9, old)
		a.commit("commit in an epoch to come", 9, a.epoch+5)
		a.commit("commit as a classic member", 8, a.epoch)
		b.beat("has nothing yet", nil)
		a.seen("on the way")
		a.does("gave up tasks")
		b.beat("gets tasks", nil)
		b.does("has its tasks too")
		a.does("both are done")
		a.seen("with two members")
		a.fetch("fetch", a.epoch)
		a.fetch("fetch with an old epoch", a.epoch-1)
		stranger := &streamsMember{d: d, v: v, group: group, id: "m3", process: "p3", epoch: 1}
		stranger.beat("a stranger", nil)
		ahead := *a
		ahead.epoch += 9
		ahead.beat("an epoch to come", nil)
		a.beat("a shutdown", func(r *msg.StreamsGroupHeartbeatRequest) { r.ShutdownApplication = true })
		b.beat("hears of it", nil)
		b.beat("leaves", func(r *msg.StreamsGroupHeartbeatRequest) { r.MemberEpoch = -1 })
		b.beat("is gone", nil)
		a.seen("with one member again")
		ask[msg.DeleteGroupsResponse](d, "delete with a member", 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{group}}))
		a.beat("leaves too", func(r *msg.StreamsGroupHeartbeatRequest) { r.MemberEpoch = -1 })
		a.seen("when empty")
		ask[msg.DeleteGroupsResponse](d, "delete", 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{group}}))
		a.seen("when deleted")
	}
}

// streamsGroupOfStatics has a member that leaves for a while.
func streamsGroupOfStatics(d *dialogue) {
	const group = "streams-statics"
	streamsTopics(d, group, allStreamsTopics)
	a := &streamsMember{d: d, v: 1, group: group, id: "m1", process: "p1", instance: ptr("one")}
	a.beat("join", nil)
	a.does("has its tasks")
	other := &streamsMember{d: d, v: 1, group: group, id: "m2", process: "p1", instance: ptr("one")}
	other.beat("the instance is not free", nil)
	a.beat("leaves for a while", func(r *msg.StreamsGroupHeartbeatRequest) { r.MemberEpoch = -2 })
	a.seen("while it is away")
	other.beat("the instance comes back", nil)
	other.does("has its tasks again")
	a.beat("the old member is fenced", nil)
	nobody := &streamsMember{d: d, v: 1, group: group, id: "m2", process: "p1", instance: ptr("two"), epoch: 1}
	nobody.beat("another instance", nil)
	other.seen("with the new member")
}

// streamsTroubles are topologies that are not ready.
func streamsTroubles(d *dialogue) {
	m := &streamsMember{d: d, v: 1, group: "streams-missing", id: "m1", process: "p1"}
	m.beat("no source topic", nil)
	m.seen("without a source topic")
	streamsTopics(d, "streams-uneven", map[string]int32{"in": 4, "repartition": 3, "changelog": 4})
	m = &streamsMember{d: d, v: 1, group: "streams-uneven", id: "m1", process: "p1"}
	m.beat("too few partitions", nil)
	m.beat("another topology", func(r *msg.StreamsGroupHeartbeatRequest) {
		r.MemberEpoch, r.Topology = 0, streamsTopology("streams-uneven", 3)
	})
	m.seen("with too few partitions")
	streamsTopics(d, "streams-copartition", allStreamsTopics)
	m = &streamsMember{d: d, v: 1, group: "streams-copartition", id: "m1", process: "p1"}
	for _, bad := range []struct {
		step   string
		change func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology)
	}{
		{"a repartition topic that nothing writes", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) { s[0].RepartitionSinkTopics = nil }},
		{"a subtopology that reads nothing", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) { s[0].SourceTopics = nil }},
		{"a changelog with partitions", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) {
			s[1].StateChangelogTopics[0].Partitions = 3
		}},
		{"an internal topic", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) {
			s[0].SourceTopics[0] = "__consumer_offsets"
		}},
		{"no name of a topic", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) { s[0].SourceTopics[0] = "a b" }},
		{"a pattern", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) { s[0].SourceTopicRegex = []string{"a.*"} }},
		{"a fixed number of partitions that does not fit", func(s []msg.StreamsGroupHeartbeatRequestTopologySubtopology) {
			s[1].RepartitionSourceTopics[0].Partitions = 2
		}},
	} {
		m.epoch = 0
		m.beat(bad.step, func(r *msg.StreamsGroupHeartbeatRequest) { bad.change(r.Topology.Subtopologies) })
	}
}
