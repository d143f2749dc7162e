//go:build compat

package compat

import (
	"cmp"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// groupVersions are the versions one conversation uses.
type groupVersions struct {
	join, sync, heartbeat, leave, commit, fetch int16
}

// member is one member of a classic group as its client knows it.
type member struct {
	d          *dialogue
	v          groupVersions
	group      string
	instance   *string
	id         [2]string
	generation int32
	session    int32 // ms; 0 for long enough
	rebalance  int32
	topic      string  // that it subscribes to; "" is "joined"
	owned      []int32 // partitions of it that it says it has
	userData   []byte  // in assignments that it makes
}

func (m *member) joining(protocols ...string) func(int) msg.Request {
	return func(i int) msg.Request {
		r := msg.NewJoinGroupRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID, r.ProtocolType = m.group, m.id[i], m.instance, "consumer"
		r.SessionTimeoutMs, r.RebalanceTimeoutMs = cmp.Or(m.session, 30000), cmp.Or(m.rebalance, 30000)
		for _, p := range protocols {
			r.Protocols = append(r.Protocols, msg.JoinGroupRequestProtocol{Name: p, Metadata: m.subscription()})
		}
		return &r
	}
}

// subscription is what the member says of itself, for those who assign.
func (m *member) subscription() []byte {
	s := state.NewConsumerProtocolSubscription()
	s.Topics = []string{m.topicName()}
	if m.owned == nil {
		return state.MarshalVersioned(&s, 0)
	}
	s.OwnedPartitions = []state.ConsumerProtocolSubscriptionOwnedPartition{{Topic: m.topicName(), Partitions: m.owned}}
	return state.MarshalVersioned(&s, 1)
}

func (m *member) topicName() string { return cmp.Or(m.topic, "joined") }

func (m *member) join(step string, protocols ...string) [2]*msg.JoinGroupResponse {
	m.d.t.Helper()
	return m.joined(ask[msg.JoinGroupResponse](m.d, step, m.v.join, m.joining(protocols...)))
}

// joined keeps what the answers say about the member.
func (m *member) joined(r [2]*msg.JoinGroupResponse) [2]*msg.JoinGroupResponse {
	for i := range r {
		if r[i].ErrorCode == 0 || r[i].ErrorCode == int16(kafka.MemberIDRequired) {
			m.id[i], m.generation = r[i].MemberID, r[i].GenerationID
		}
	}
	return r
}

func (m *member) syncing(assign ...*member) func(int) msg.Request {
	return func(i int) msg.Request {
		r := msg.NewSyncGroupRequest()
		r.GroupID, r.GenerationID, r.MemberID, r.GroupInstanceID = m.group, m.generation, m.id[i], m.instance
		r.ProtocolType, r.ProtocolName = ptr("consumer"), ptr("range")
		for n, a := range assign {
			parts := a.owned
			if parts == nil {
				parts = []int32{int32(n)}
			}
			as := state.NewConsumerProtocolAssignment()
			as.AssignedPartitions = []state.ConsumerProtocolAssignmentAssignedPartition{{Topic: m.topicName(), Partitions: parts}}
			as.UserData = m.userData
			r.Assignments = append(r.Assignments, msg.SyncGroupRequestAssignment{MemberID: a.id[i], Assignment: state.MarshalVersioned(&as, 0)})
		}
		return &r
	}
}

func (m *member) sync(step string, assign ...*member) {
	m.d.t.Helper()
	ask[msg.SyncGroupResponse](m.d, step, m.v.sync, m.syncing(assign...))
}

func (m *member) beating() func(int) msg.Request {
	return func(i int) msg.Request {
		return &msg.HeartbeatRequest{GroupID: m.group, GenerationID: m.generation, MemberID: m.id[i], GroupInstanceID: m.instance}
	}
}

func (m *member) heartbeat(step string) {
	m.d.t.Helper()
	ask[msg.HeartbeatResponse](m.d, step, m.v.heartbeat, m.beating())
}

// awaitRebalance returns once heartbeats say that the group rebalances.
func (m *member) awaitRebalance() {
	m.d.t.Helper()
	await(m.d, m.v.heartbeat, m.beating(), func(r *msg.HeartbeatResponse) bool {
		return kafka.Code(r.ErrorCode) == kafka.RebalanceInProgress
	})
	m.heartbeat("heartbeat in a rebalance")
}

func (m *member) leave(step string) {
	m.d.t.Helper()
	ask[msg.LeaveGroupResponse](m.d, step, m.v.leave, func(i int) msg.Request {
		return &msg.LeaveGroupRequest{GroupID: m.group, MemberID: m.id[i],
			Members: []msg.LeaveGroupRequestMember{{MemberID: m.id[i], GroupInstanceID: m.instance}}}
	})
}

func (m *member) commit(step string, offset int64) {
	m.d.t.Helper()
	ask[msg.OffsetCommitResponse](m.d, step, m.v.commit, func(i int) msg.Request {
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.GenerationIDOrMemberEpoch, r.MemberID, r.GroupInstanceID = m.group, m.generation, m.id[i], m.instance
		p := msg.NewOffsetCommitRequestTopicPartition()
		p.CommittedOffset, p.CommittedLeaderEpoch, p.CommittedMetadata = offset, 0, ptr("meta")
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: wirecmp.Topic, Partitions: []msg.OffsetCommitRequestTopicPartition{p}}}
		return &r
	})
}

func (m *member) committed(step string) {
	m.d.t.Helper()
	ask[msg.OffsetFetchResponse](m.d, step, m.v.fetch, same(&msg.OffsetFetchRequest{
		GroupID: m.group, Topics: []msg.OffsetFetchRequestTopic{{Name: wirecmp.Topic, PartitionIndexes: []int32{0, 1}}},
		Groups: []msg.OffsetFetchRequestGroup{{GroupID: m.group, MemberEpoch: -1,
			Topics: []msg.OffsetFetchRequestGroupTopic{{Name: wirecmp.Topic, PartitionIndexes: []int32{0, 1}}}}},
	}))
}

// seen asks how others see the group: described and in the list.
func (m *member) seen(step string) {
	m.d.t.Helper()
	for _, v := range []int16{0, 4, 6} {
		ask[msg.DescribeGroupsResponse](m.d, "described "+step, v, same(&msg.DescribeGroupsRequest{Groups: []string{m.group}}))
	}
}

func (m *member) deleteOffset(step, topic string) {
	m.d.t.Helper()
	ask[msg.OffsetDeleteResponse](m.d, step, 0, same(&msg.OffsetDeleteRequest{GroupID: m.group,
		Topics: []msg.OffsetDeleteRequestTopic{{Name: topic, Partitions: []msg.OffsetDeleteRequestTopicPartition{{PartitionIndex: 0}}}}}))
}

func (m *member) deleteGroup(step string) {
	m.d.t.Helper()
	ask[msg.DeleteGroupsResponse](m.d, step, 2, same(&msg.DeleteGroupsRequest{GroupsNames: []string{m.group}}))
}

// everyVersion has a group of one in each version of JoinGroup, with versions of
// the other requests beside it.
func everyVersion(d *dialogue) {
	for v := range int16(10) {
		soloGroup(d, groupVersions{join: v, sync: min(v, 5), heartbeat: min(v, 4), leave: min(v, 5), commit: max(v, 2), fetch: max(v, 1)})
	}
}

// soloGroup is the life of a group with one member.
func soloGroup(d *dialogue, v groupVersions) {
	m := &member{d: d, v: v, group: fmt.Sprint("solo-", v.join), generation: -1}
	m.heartbeat("heartbeat before joining")
	m.seen("before joining")
	if r := m.join("join", "range", "roundrobin"); kafka.Code(r[0].ErrorCode) == kafka.MemberIDRequired {
		// Not described here: a group of which nothing is stored is Empty to Kafka, or
		// Dead until something else is written to its partition.
		m.join("join with the id", "range", "roundrobin")
	}
	m.heartbeat("heartbeat before sync")
	m.commit("commit before sync", 1)
	m.seen("before sync")
	m.sync("sync", m)
	m.sync("sync again", m)
	m.heartbeat("heartbeat")
	m.commit("commit", 3)
	m.committed("committed")
	m.seen("when stable")
	wrong := *m
	wrong.generation++
	wrong.heartbeat("heartbeat in a generation to come")
	wrong.sync("sync in a generation to come")
	wrong.commit("commit in a generation to come", 9)
	wrong.generation = -1
	wrong.heartbeat("heartbeat in no generation")
	wrong.commit("commit in no generation", 9)
	nobody := *m
	nobody.id = [2]string{"nobody", "nobody"}
	nobody.join("join with an unknown id", "range")
	nobody.heartbeat("heartbeat of nobody")
	nobody.sync("sync of nobody")
	nobody.commit("commit of nobody", 9)
	nobody.leave("nobody leaves")
	other := &member{d: d, v: v, group: m.group, generation: -1}
	other.join("join with a protocol that nobody shares", "sticky")
	simple := &member{d: d, v: v, group: m.group, generation: -1}
	simple.commit("a simple commit into a live group", 4)
	m.committed("still as committed")
	m.deleteGroup("delete while stable")
	m.deleteOffset("delete an offset of another topic", wirecmp.Topic)
	m.deleteOffset("delete an offset of a subscribed topic", "joined")
	m.join("join again", "range", "roundrobin")
	m.sync("sync after it", m)
	m.commit("commit after it", 5)
	m.leave("leave")
	m.leave("leave again")
	m.seen("when empty")
	m.heartbeat("heartbeat after leaving")
	m.committed("committed outlives the member")
	simple.commit("a simple commit into an empty group", 6)
	m.committed("the simple commit counts")
	m.deleteGroup("delete")
	m.deleteGroup("delete again")
	m.committed("after deletion")
	m.seen("after deletion")
}

// groupOfTwo is a rebalance between two members.
func groupOfTwo(d *dialogue) {
	v := groupVersions{6, 4, 4, 4, 7, 7}
	a := &member{d: d, v: v, group: "two", generation: -1}
	b := &member{d: d.another(), v: v, group: "two", generation: -1}
	a.join("a asks for an id", "range")
	a.join("a joins", "range")
	a.sync("a syncs", a)
	b.join("b asks for an id", "range", "sticky")
	pending := begin[msg.JoinGroupResponse](b.d, "b joins", v.join, b.joining("range", "sticky"))
	a.awaitRebalance()
	a.commit("commit in a rebalance", 2)
	a.seen("in a rebalance")
	a.sync("sync in a rebalance", a)
	a.join("a joins again", "range")
	b.joined(pending())
	waiting := begin[msg.SyncGroupResponse](b.d, "b syncs", v.sync, b.syncing())
	a.heartbeat("heartbeat before the leader's sync")
	a.commit("commit before the leader's sync", 2)
	a.sync("a syncs for both", a, b)
	waiting()
	a.seen("with two members")
	a.heartbeat("a's heartbeat")
	b.heartbeat("b's heartbeat")
	b.commit("b commits", 8)
	a.committed("b's commit")
	a.leave("the leader leaves")
	b.awaitRebalance()
	b.join("b joins again", "range", "sticky")
	b.sync("b syncs alone", b)
	b.seen("with one member")
	a.heartbeat("a's heartbeat after leaving")
	b.leave("b leaves")
	b.deleteGroup("delete")
}

// groupOfStatics is a group of static members (KIP-345).
func groupOfStatics(d *dialogue) {
	v := groupVersions{9, 5, 4, 5, 8, 8}
	a := &member{d: d, v: v, group: "statics", instance: ptr("one"), generation: -1}
	a.join("join", "range")
	a.sync("sync", a)
	a.heartbeat("heartbeat")
	a.seen("with a static member")
	back := &member{d: d, v: v, group: "statics", instance: ptr("one"), generation: -1}
	back.join("the same instance comes back", "range")
	back.sync("sync after it came back", back)
	back.heartbeat("heartbeat after it came back")
	a.heartbeat("the old member is fenced")
	a.commit("the old member may not commit", 2)
	a.sync("the old member may not sync", a)
	a.join("the old member may not join", "range")
	back.commit("commit", 4)
	anonymous := *back
	anonymous.instance = nil
	anonymous.heartbeat("the id without the instance")
	stranger := *back
	stranger.instance = ptr("two")
	stranger.heartbeat("the id with another instance")
	ask[msg.LeaveGroupResponse](d, "others put it out", 5, same(&msg.LeaveGroupRequest{GroupID: "statics", Members: []msg.LeaveGroupRequestMember{
		{GroupInstanceID: ptr("two")}, {GroupInstanceID: ptr("one"), Reason: ptr("by hand")}}}))
	back.heartbeat("heartbeat after that")
	back.seen("when empty")
	back.deleteGroup("delete")
}

// simpleGroup is a group that only keeps offsets.
func simpleGroup(d *dialogue) {
	for v := int16(2); v <= 9; v++ {
		m := &member{d: d, v: groupVersions{9, 5, 4, 5, v, min(v-1, 9)}, group: fmt.Sprint("simple-", v), generation: -1}
		m.committed("nothing yet")
		m.commit("commit", int64(v))
		m.committed("committed")
		m.commit("commit again", 0)
		m.committed("committed again")
		m.seen("with offsets only")
		m.deleteOffset("delete an offset", wirecmp.Topic)
		m.deleteOffset("delete it again", wirecmp.Topic)
		m.deleteOffset("delete of a topic that is none", "no-such-topic")
		m.committed("after deletion")
		m.deleteGroup("delete")
	}
}

// groupVotes is two members that share one protocol, the first of neither, and
// what makes a group begin again: new metadata, the leader's return, not a follower's.
func groupVotes(d *dialogue) {
	v := groupVersions{6, 4, 4, 4, 7, 7}
	a := &member{d: d, v: v, group: "votes", generation: -1}
	b := &member{d: d.another(), v: v, group: "votes", generation: -1}
	a.join("a asks for an id", "range", "roundrobin", "sticky")
	a.join("a joins", "range", "roundrobin", "sticky")
	a.sync("a syncs", a)
	b.join("b asks for an id", "cooperative", "roundrobin")
	pending := begin[msg.JoinGroupResponse](b.d, "b joins", v.join, b.joining("cooperative", "roundrobin"))
	a.awaitRebalance()
	a.join("a joins again", "range", "roundrobin", "sticky")
	b.joined(pending())
	a.sync("a syncs for both", a, b)
	b.sync("b syncs")
	b.join("b joins again, with nothing new", "cooperative", "roundrobin")
	b.sync("b syncs again")
	a.heartbeat("a did not notice")
	pending = begin[msg.JoinGroupResponse](b.d, "b joins with something new", v.join, b.joining("roundrobin"))
	a.awaitRebalance()
	a.join("a follows", "range", "roundrobin", "sticky")
	b.joined(pending())
	a.sync("a syncs after it", a, b)
	b.sync("b syncs after it")
	pending = begin[msg.JoinGroupResponse](a.d, "the leader joins again", v.join, a.joining("range", "roundrobin", "sticky"))
	b.awaitRebalance()
	b.join("b follows", "roundrobin")
	a.joined(pending())
	a.seen("before the leader's sync")
	b.leave("b leaves before the sync")
	a.sync("a's sync comes too late", a, b)
	a.join("a joins alone", "range")
	a.sync("a syncs alone", a)
	a.seen("with a alone")
	a.leave("a leaves")
}

// groupExpiry is members that fall silent: one that does not come back in a
// rebalance, and one that sends no heartbeats.
func groupExpiry(d *dialogue) {
	v := groupVersions{6, 4, 4, 4, 7, 7}
	a := &member{d: d, v: v, group: "expiry", generation: -1, session: 600, rebalance: 600}
	b := &member{d: d.another(), v: v, group: "expiry", generation: -1, session: 600, rebalance: 600}
	a.join("a asks for an id", "range")
	a.join("a joins", "range")
	a.sync("a syncs", a)
	b.join("b asks for an id", "range")
	b.join("b joins, and a does not come back", "range")
	a.heartbeat("a's heartbeat")
	a.commit("a's commit", 2)
	b.sync("b syncs", b)
	b.commit("b commits", 5)
	await(b.d, 4, same(&msg.DescribeGroupsRequest{Groups: []string{"expiry"}}), func(r *msg.DescribeGroupsResponse) bool {
		return r.Groups[0].GroupState == "Empty"
	})
	b.heartbeat("b's heartbeat comes too late")
	b.commit("b's commit comes too late", 6)
	b.seen("when all are gone")
	b.committed("committed stays")
	short := &member{d: d, v: v, group: "expiry", generation: -1, session: 10, rebalance: 600}
	short.join("a session that is too short", "range")
	long := &member{d: d, v: v, group: "expiry", generation: -1, session: 3600000, rebalance: 600}
	long.join("a session that is too long", "range")
}
