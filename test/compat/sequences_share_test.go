//go:build compat

package compat

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// sharer is one member of a share group as its client knows it.
type sharer struct {
	d     *dialogue
	group string
	id    string
	epoch int32
}

func (m *sharer) request(epoch int32, topics ...string) *msg.ShareGroupHeartbeatRequest {
	r := msg.NewShareGroupHeartbeatRequest()
	r.GroupID, r.MemberID, r.MemberEpoch = m.group, m.id, epoch
	if len(topics) > 0 {
		r.SubscribedTopicNames = topics
	}
	return &r
}

func (m *sharer) beat(step string, topics ...string) {
	m.d.t.Helper()
	r := ask[msg.ShareGroupHeartbeatResponse](m.d, step, 1, same(m.request(m.epoch, topics...)))
	m.epoch = r[0].MemberEpoch
}

// awaitEpoch heartbeats until the member has come to an epoch: what it is
// assigned takes the share coordinator's answer and the assignment interval.
func (m *sharer) awaitEpoch(epoch int32) {
	m.d.t.Helper()
	var known [2]int32
	known[0], known[1] = m.epoch, m.epoch
	i := 0
	await(m.d, 1, func(n int) msg.Request {
		i = n
		return m.request(known[n])
	}, func(r *msg.ShareGroupHeartbeatResponse) bool {
		known[i] = r.MemberEpoch
		return r.MemberEpoch >= epoch
	})
	m.epoch = known[0]
}

func (m *sharer) refused(step string, epoch int32, topics ...string) {
	m.d.t.Helper()
	ask[msg.ShareGroupHeartbeatResponse](m.d, step, 1, same(m.request(epoch, topics...)))
}

// shareSeen asks how others see a share group.
func shareSeen(d *dialogue, step, group string, topics ...string) {
	d.t.Helper()
	ask[msg.ShareGroupDescribeResponse](d, "described "+step, 1, same(&msg.ShareGroupDescribeRequest{GroupIDs: []string{group}}))
	ask[msg.DescribeGroupsResponse](d, "described as classic "+step, 6, same(&msg.DescribeGroupsRequest{Groups: []string{group}}))
	for _, v := range []int16{0, 1} {
		r := msg.NewDescribeShareGroupOffsetsRequest()
		g := msg.DescribeShareGroupOffsetsRequestGroup{GroupID: group}
		for _, t := range topics {
			g.Topics = append(g.Topics, msg.DescribeShareGroupOffsetsRequestGroupTopic{TopicName: t, Partitions: []int32{0}})
		}
		r.Groups = append(r.Groups, g)
		ask[msg.DescribeShareGroupOffsetsResponse](d, fmt.Sprintf("offsets of %v %s", topics, step), v, same(&r))
	}
}

func alterShare(d *dialogue, step, group string, tp kafka.TopicPartition, offset int64) {
	d.t.Helper()
	r := msg.NewAlterShareGroupOffsetsRequest()
	r.GroupID = group
	r.Topics = []msg.AlterShareGroupOffsetsRequestTopic{{TopicName: tp.Topic,
		Partitions: []msg.AlterShareGroupOffsetsRequestTopicPartition{{PartitionIndex: tp.Partition, StartOffset: offset}}}}
	ask[msg.AlterShareGroupOffsetsResponse](d, step, 0, same(&r))
}

func dropShare(d *dialogue, step, group, topic string) {
	d.t.Helper()
	r := msg.NewDeleteShareGroupOffsetsRequest()
	r.GroupID, r.Topics = group, []msg.DeleteShareGroupOffsetsRequestTopic{{TopicName: topic}}
	ask[msg.DeleteShareGroupOffsetsResponse](d, step, 0, same(&r))
}

// awaitTopics returns once the coordinator of a group knows topics: when it
// assigns them.
func awaitTopics(d *dialogue, group string, topics ...string) {
	d.t.Helper()
	find := msg.NewFindCoordinatorRequest()
	find.CoordinatorKeys = []string{group}
	await(d, 4, same(&find), func(r *msg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	m := &sharer{d: d, group: group, id: "looks"}
	var epochs [2]int32
	i := 0
	await(d, 1, func(at int) msg.Request {
		i = at
		if epochs[at] == 0 {
			return m.request(0, topics...)
		}
		return m.request(epochs[at])
	}, func(r *msg.ShareGroupHeartbeatResponse) bool {
		if r.ErrorCode == 0 {
			epochs[i] = r.MemberEpoch
		}
		return r.Assignment != nil && len(r.Assignment.TopicPartitions) == len(topics)
	})
	m.refused("leave when they are known", -1)
}

// shareGroup is the life of a share group: offsets before anybody joins, members
// that come, go and are wrong, deletion.
func shareGroup(d *dialogue) {
	d.newTopic("shared", 1)
	d.newTopic("shared-too", 1)
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("shared", wirecmp.Batch(4))))
	// Each partition of __consumer_offsets has its own picture of the topics in
	// Kafka. Both names have the same hash, and with that the same partition.
	awaitTopics(d, "share-life-Aa", "shared", "shared-too")
	m := &sharer{d: d, group: "share-life-BB", id: "member-a"}
	shareSeen(d, "before it is", m.group)
	shareSeen(d, "before it is", m.group, "shared", "nope")
	m.refused("heartbeat of a group that is not", 3)
	m.refused("leave a group that is not", -1)
	m.refused("join without topics", 0)
	m.refused("a wrong epoch", -2, "shared")
	dropShare(d, "drop of a group that is not", m.group, "shared")
	alterShare(d, "alter before it is", m.group, kafka.TopicPartition{Topic: "shared"}, 1)
	alterShare(d, "alter a topic that is not", m.group, kafka.TopicPartition{Topic: "nope"}, 1)
	alterShare(d, "alter a partition that is not", m.group, kafka.TopicPartition{Topic: "shared", Partition: 7}, 1)
	alterShare(d, "alter of no group", "", kafka.TopicPartition{Topic: "shared"}, 1)
	shareSeen(d, "with offsets", m.group)
	shareSeen(d, "with offsets", m.group, "shared", "nope")

	m.beat("join", "shared")
	m.beat("stay")
	shareSeen(d, "with a member", m.group)
	m.refused("an epoch to come", 9)
	n := &sharer{d: d, group: m.group, id: "member-b"}
	n.refused("a member that is not", 1)
	alterShare(d, "alter with a member", m.group, kafka.TopicPartition{Topic: "shared"}, 2)
	dropShare(d, "drop with a member", m.group, "shared")
	ask[msg.DeleteGroupsResponse](d, "delete with a member", 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{m.group}}))
	n.beat("a second one joins", "shared")
	n.awaitEpoch(3)
	m.awaitEpoch(3)
	shareSeen(d, "with two members", m.group)
	classic := &member{d: d, v: groupVersions{join: 9}, group: m.group, generation: -1}
	classic.join("a classic member", "range")

	m.beat("read another topic", "shared", "shared-too")
	m.awaitEpoch(4)
	shareSeen(d, "with another topic", m.group, "shared", "shared-too")
	m.beat("all anew", "shared", "shared-too")
	m.refused("leave", -1)
	n.refused("the other leaves", -1)
	shareSeen(d, "when empty", m.group)
	alterShare(d, "alter when empty", m.group, kafka.TopicPartition{Topic: "shared"}, 2)
	shareSeen(d, "when altered", m.group, "shared")
	dropShare(d, "drop", m.group, "shared-too")
	dropShare(d, "drop again", m.group, "shared-too")
	dropShare(d, "drop a topic that is not", m.group, "nope")
	shareSeen(d, "when dropped", m.group)
	ask[msg.DeleteGroupsResponse](d, "delete", 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{m.group}}))
	ask[msg.DeleteGroupsResponse](d, "delete again", 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{m.group}}))
	shareSeen(d, "when deleted", m.group)
	shareSeen(d, "when deleted", m.group, "shared")
}

// shareStates asks the share coordinator about one share partition.
type shareStates struct {
	d     *dialogue
	group string
	ids   [2]kafka.UUID
}

func (s *shareStates) initialize(step string, epoch int32, start int64) {
	s.d.t.Helper()
	ask[msg.InitializeShareGroupStateResponse](s.d, step, 0, func(i int) msg.Request {
		r := msg.NewInitializeShareGroupStateRequest()
		r.GroupID = s.group
		r.Topics = []msg.InitializeShareGroupStateRequestTopic{{TopicID: s.ids[i],
			Partitions: []msg.InitializeShareGroupStateRequestTopicPartition{{StateEpoch: epoch, StartOffset: start}}}}
		return &r
	})
}

func (s *shareStates) read(step string, leader int32) {
	s.d.t.Helper()
	ask[msg.ReadShareGroupStateResponse](s.d, step, 0, func(i int) msg.Request {
		r := msg.NewReadShareGroupStateRequest()
		r.GroupID = s.group
		r.Topics = []msg.ReadShareGroupStateRequestTopic{{TopicID: s.ids[i], Partitions: []msg.ReadShareGroupStateRequestTopicPartition{{LeaderEpoch: leader}}}}
		return &r
	})
	for _, v := range []int16{0, 1} {
		ask[msg.ReadShareGroupStateSummaryResponse](s.d, "summary: "+step, v, func(i int) msg.Request {
			r := msg.NewReadShareGroupStateSummaryRequest()
			r.GroupID = s.group
			r.Topics = []msg.ReadShareGroupStateSummaryRequestTopic{{TopicID: s.ids[i], Partitions: []msg.ReadShareGroupStateSummaryRequestTopicPartition{{}}}}
			return &r
		})
	}
}

// write writes batches of first, last, state and count.
func (s *shareStates) write(step string, state, leader int32, start int64, batches ...[4]int64) {
	s.d.t.Helper()
	ask[msg.WriteShareGroupStateResponse](s.d, step, 1, func(i int) msg.Request {
		r := msg.NewWriteShareGroupStateRequest()
		r.GroupID = s.group
		p := msg.NewWriteShareGroupStateRequestTopicPartition()
		p.StateEpoch, p.LeaderEpoch, p.StartOffset, p.DeliveryCompleteCount = state, leader, start, int32(len(batches))
		for _, b := range batches {
			p.StateBatches = append(p.StateBatches, msg.WriteShareGroupStateRequestTopicPartitionStateBatch{
				FirstOffset: b[0], LastOffset: b[1], DeliveryState: int8(b[2]), DeliveryCount: int16(b[3])})
		}
		r.Topics = []msg.WriteShareGroupStateRequestTopic{{TopicID: s.ids[i], Partitions: []msg.WriteShareGroupStateRequestTopicPartition{p}}}
		return &r
	})
}

func (s *shareStates) remove(step string) {
	s.d.t.Helper()
	ask[msg.DeleteShareGroupStateResponse](s.d, step, 0, func(i int) msg.Request {
		r := msg.NewDeleteShareGroupStateRequest()
		r.GroupID = s.group
		r.Topics = []msg.DeleteShareGroupStateRequestTopic{{TopicID: s.ids[i], Partitions: []msg.DeleteShareGroupStateRequestTopicPartition{{}}}}
		return &r
	})
}

// shareState is the life of one share partition: batches that overlap, fences,
// more updates than go between two snapshots.
func shareState(d *dialogue) {
	s := &shareStates{d: d, group: "state-life", ids: d.newTopic("shared-state", 1)}
	s.read("before it is", 0)
	s.write("before it is", 0, 0, 0)
	s.remove("before it is")
	s.initialize("initialize", 2, 10)
	s.initialize("in an older epoch", 1, 0)
	s.read("the first leader", 0)
	s.read("a later leader", 4)
	s.read("the first leader again", 0)
	s.write("of the first leader", 2, 0, 10, [4]int64{10, 12, 2, 1})
	s.write("of an older state", 1, 4, 10, [4]int64{10, 12, 2, 1})
	s.write("of a state to come", 7, 4, 10, [4]int64{30, 31, 0, 1})
	for i, b := range [][][4]int64{
		{{10, 12, 2, 1}, {15, 20, 0, 1}},
		{{13, 14, 2, 1}},
		{{11, 16, 4, 1}, {18, 18, 0, 3}},
		{{10, 30, 0, 1}},
		{{10, 10, 0, 2}, {40, 50, 2, 1}, {45, 46, 4, 2}},
		{{51, 60, 2, 1}},
	} {
		s.write(fmt.Sprint("batches ", i), 2, 4, -1, b...)
		s.read(fmt.Sprint("batches ", i), 4)
	}
	s.write("start moves", 2, 4, 17)
	s.read("start moved", 4)
	s.write("start moves back", 2, 4, 12, [4]int64{12, 19, 4, 5})
	s.read("start did not move back", 4)
	for i := range int64(510) {
		s.write("many", 2, 4, 20+i/10, [4]int64{100 + i, 100 + i, 2, 1})
	}
	s.read("after many", 4)
	s.initialize("begin anew", 3, -1)
	s.read("begun anew by an older leader", 3)
	s.read("begun anew", 4)
	s.remove("remove")
	s.remove("remove again")
	s.read("when removed", 9)
}
