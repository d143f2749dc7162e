//go:build compat

package compat

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// migration is what a group goes through whose members change from the classic
// protocol to the consumer protocol one by one, and back: two classic members,
// of which the first leads, and one of the consumer protocol.
type migration struct {
	d     *dialogue
	group string
	topic string
	ids   [2]kafka.UUID
	a, b  *member
	c     *consumerMember
}

// migrating makes the topic and the members, of which none has joined.
func migrating(d *dialogue, group string) *migration {
	d.t.Helper()
	topic := "of " + group
	for i, r := range topic {
		if r == ' ' {
			topic = topic[:i] + "-" + topic[i+1:]
		}
	}
	s := &migration{d: d, group: group, topic: topic, ids: d.newTopic(topic, 6)}
	instantly(d, group)
	v := groupVersions{9, 5, 4, 5, 9, 9}
	s.a = &member{d: d, v: v, group: group, generation: -1, topic: topic}
	s.b = &member{d: d.another(), v: v, group: group, generation: -1, topic: topic}
	s.c = &consumerMember{d: d, group: group, id: "c", topic: s.ids, version: 1}
	return s
}

// alone lets a classic member have the whole topic.
func (s *migration) alone(m *member, protocols ...string) {
	s.d.t.Helper()
	if m.instance == nil {
		m.join("asks for an id", protocols...)
	}
	m.join("joins", protocols...)
	m.owned = []int32{0, 1, 2, 3, 4, 5}
	m.sync("syncs", m)
}

// both lets the two classic members share the topic.
func (s *migration) both(protocols ...string) {
	s.d.t.Helper()
	s.alone(s.a, protocols...)
	if s.b.instance == nil {
		s.b.join("b asks for an id", protocols...)
	}
	pending := begin[msg.JoinGroupResponse](s.b.d, "b joins", s.b.v.join, s.b.joining(protocols...))
	s.a.awaitRebalance()
	s.a.join("a joins again", protocols...)
	s.b.joined(pending())
	s.a.owned, s.b.owned = []int32{0, 1, 2}, []int32{3, 4, 5}
	s.a.sync("a syncs for both", s.a, s.b)
	s.b.sync("b syncs")
}

// seen shows the group by all that tells of groups.
func (s *migration) seen(step string) {
	s.d.t.Helper()
	describeConsumers(s.d, step, s.group)
	s.a.seen(step)
	list := msg.NewListGroupsRequest()
	list.TypesFilter = []string{"consumer", "classic"}
	ask[msg.ListGroupsResponse](s.d, "listed "+step, 5, same(&list))
}

// commit commits an offset of a partition as whoever comes with the member id and
// the epoch.
func (s *migration) commit(step string, version int16, who by, partition int32, offset int64) {
	s.d.t.Helper()
	ask[msg.OffsetCommitResponse](s.d, "commit "+step, version, func(i int) msg.Request {
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.MemberID, r.GenerationIDOrMemberEpoch = s.group, who.id[i], who.epoch
		p := msg.NewOffsetCommitRequestTopicPartition()
		p.PartitionIndex, p.CommittedOffset = partition, offset
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: s.topic, TopicID: s.ids[i], Partitions: []msg.OffsetCommitRequestTopicPartition{p}}}
		return &r
	})
}

// committed reads the group's offsets of the topic as whoever comes with the id and
// the epoch.
func (s *migration) committed(step string, who by) {
	s.d.t.Helper()
	for v := int16(8); v <= 10; v++ {
		ask[msg.OffsetFetchResponse](s.d, "committed "+step, v, func(i int) msg.Request {
			r := msg.NewOffsetFetchRequest()
			g := msg.NewOffsetFetchRequestGroup()
			g.GroupID, g.MemberEpoch = s.group, who.epoch
			if who.id[i] != "" {
				g.MemberID = ptr(who.id[i])
			}
			g.Topics = []msg.OffsetFetchRequestGroupTopic{{Name: s.topic, TopicID: s.ids[i], PartitionIndexes: []int32{0, 1, 2, 3, 4, 5}}}
			r.Groups = []msg.OffsetFetchRequestGroup{g}
			return &r
		})
	}
}

// by is who commits or asks, in which generation or at which epoch.
type by struct {
	id    [2]string // with each broker
	epoch int32
}

var nobody = by{epoch: -1}

// follows is a classic member that does what its heartbeat tells it to: it joins
// again with what it owns, syncs, and owns what it was given.
func (s *migration) follows(step string, m *member, gets []int32) {
	s.d.t.Helper()
	m.heartbeat(step + ": heartbeat")
	r := m.join(step+": joins", "range")
	if r[0].ErrorCode != 0 {
		return
	}
	m.heartbeat(step + ": heartbeat before sync")
	m.sync(step + ": syncs")
	m.owned = gets
	m.heartbeat(step + ": heartbeat after sync")
}

// migrationUpAndDown is a rolling upgrade that is given up half-way.
func migrationUpAndDown(d *dialogue) {
	s := migrating(d, "up and down")
	s.both("range", "roundrobin")
	s.commit("before", 9, by{s.a.id, s.a.generation}, 0, 10)
	s.commit("before", 8, by{s.b.id, s.b.generation}, 3, 13)
	s.commit("from outside before", 9, nobody, 1, 11)
	s.c.as("no member of a classic group", 3, nil)
	s.c.as("leave of a classic group", -1, nil)
	s.c.names = []string{s.topic}
	s.c.beat("joins a classic group")
	s.seen("upgraded")
	s.committed("from outside", nobody)
	s.committed("by a", by{s.a.id, s.a.generation})
	s.committed("by c", by{[2]string{"c", "c"}, s.c.epoch})
	s.commit("by a", 9, by{s.a.id, s.a.generation}, 0, 20)
	s.commit("by b", 2, by{s.b.id, s.b.generation}, 5, 25)
	s.commit("by a in a generation to come", 9, by{s.a.id, s.a.generation + 1}, 0, 21)
	s.commit("by a in an old generation", 9, by{s.a.id, s.a.generation - 1}, 0, 21)
	s.commit("from outside", 9, nobody, 2, 12)

	s.follows("a gives up", s.a, []int32{0, 1})
	s.seen("a told to give up")
	s.follows("b gives up", s.b, []int32{3, 4})
	s.follows("a gave up", s.a, []int32{0, 1})
	s.c.beat("takes what a gave up")
	s.follows("b gave up", s.b, []int32{3, 4})
	s.c.beat("takes what b gave up")
	s.seen("all at their targets")
	s.oddities()

	s.c.as("leaves", -1, nil)
	s.seen("downgraded")
	s.c.as("left", s.c.epoch, nil)
	s.a.heartbeat("heartbeat after the downgrade")
	s.a.commit("after the downgrade", 7)
	s.b.leave("b leaves the classic group")
	s.a.join("a joins the classic group", "range", "roundrobin")
	s.seen("before the leader's sync")
	s.committed("at the end", nobody)
}

// awaitJoined returns once a member has joined a group that gathers: what its
// description tells does not show that, but a request that it had to wait for
// would have been sent before this one was answered a few times.
func (m *member) awaitJoined(group string) {
	m.d.t.Helper()
	for range 20 {
		await(m.d, 5, same(&msg.DescribeGroupsRequest{Groups: []string{group}}), func(*msg.DescribeGroupsResponse) bool { return true })
	}
}

// oddities are what classic members of a consumer group do wrong.
func (s *migration) oddities() {
	s.d.t.Helper()
	wrong := *s.a
	wrong.generation++
	wrong.heartbeat("heartbeat in a generation to come")
	wrong.sync("sync in a generation to come")
	wrong.generation -= 2
	wrong.heartbeat("heartbeat in an old generation")
	wrong.sync("sync in an old generation")
	stranger := *s.a
	stranger.id = [2]string{"nobody", "nobody"}
	stranger.heartbeat("heartbeat of nobody")
	stranger.sync("sync of nobody")
	stranger.join("join of nobody", "range")
	stranger.leave("nobody leaves")
	modern := *s.a
	modern.id, modern.generation = [2]string{"c", "c"}, s.c.epoch
	modern.heartbeat("heartbeat of who is not classic")
	modern.sync("sync of who is not classic")
	for v := int16(0); v <= 9; v++ {
		other := &member{d: s.d, v: groupVersions{v, min(v, 5), min(v, 4), min(v, 5), 9, 9}, group: s.group, generation: -1, topic: s.topic}
		other.join("join with a protocol that nobody shares", "sticky")
		other.join("join without protocols")
	}
	for _, m := range []*member{s.a, s.b, s.a} {
		m.heartbeat("heartbeat after nobody came and went")
		m.join("join again with nothing new", "range", "roundrobin")
		m.sync("sync again")
		m.heartbeat("heartbeat again")
	}
	s.c.beat("heartbeat after all that")
	s.seen("after all that")
	short := *s.a
	short.session = 10
	short.join("a session that is too short", "range")
	ask[msg.JoinGroupResponse](s.d, "another type of protocol", 9, func(i int) msg.Request {
		r := s.a.joining("range")(i).(*msg.JoinGroupRequest)
		r.ProtocolType = "connect"
		return r
	})
	ask[msg.JoinGroupResponse](s.d, "a subscription that cannot be read", 9, func(i int) msg.Request {
		r := s.a.joining("range")(i).(*msg.JoinGroupRequest)
		r.Protocols[0].Metadata = []byte{0}
		return r
	})
	for _, names := range [][2]*string{{nil, nil}, {ptr("consumer"), ptr("sticky")}, {ptr("connect"), ptr("range")}, {nil, ptr("range")}} {
		ask[msg.SyncGroupResponse](s.d, "sync by other names", 5, func(i int) msg.Request {
			r := s.a.syncing()(i).(*msg.SyncGroupRequest)
			r.ProtocolType, r.ProtocolName = names[0], names[1]
			return r
		})
	}
	s.a.deleteGroup("delete in use")
	s.a.deleteOffset("delete an offset of a subscribed topic", s.topic)
}

// migrationOfStatics is a group of static members who change their protocol under
// their own instance ids, and change it back.
func migrationOfStatics(d *dialogue) {
	s := migrating(d, "static migrants")
	s.a.instance, s.b.instance = ptr("one"), ptr("two")
	s.both("range")
	s.commit("before", 9, by{s.a.id, s.a.generation}, 0, 10)
	x := &consumerMember{d: d, group: s.group, id: "x", topic: s.ids, version: 1, instance: ptr("one")}
	y := &consumerMember{d: d, group: s.group, id: "y", topic: s.ids, version: 1, instance: ptr("two")}
	x.as("comes with an epoch", 2, nil)
	x.names = []string{s.topic}
	x.beat("takes the place of a classic member")
	s.seen("one is not classic")
	s.a.heartbeat("heartbeat of who was replaced")
	s.a.sync("sync of who was replaced")
	s.a.join("join of who was replaced", "range")
	s.a.leave("leave of who was replaced")
	s.commit("by who was replaced", 9, by{s.a.id, s.a.generation}, 0, 99)
	s.b.heartbeat("heartbeat of the other")
	x.beat("goes on")
	back := &member{d: d, v: s.b.v, group: s.group, instance: ptr("two"), generation: -1, topic: s.topic, owned: []int32{3, 4, 5}}
	back.join("the other returns as itself", "range")
	back.heartbeat("the other's heartbeat before sync")
	back.sync("the other syncs")
	s.seen("the other is back")
	s.b.heartbeat("heartbeat under its old id")
	y.names = []string{s.topic}
	y.beat("takes the place of the last classic member")
	s.seen("none is classic")
	x.beat("goes on with all upgraded")
	y.beat("goes on with all upgraded")
	s.committed("all upgraded", nobody)

	down := &member{d: d, v: s.a.v, group: s.group, instance: ptr("one"), generation: -1, topic: s.topic}
	down.join("a classic member takes the place of one that is not", "range")
	s.seen("one is classic again")
	x.as("who was replaced", x.epoch, nil)
	down.heartbeat("its heartbeat before sync")
	down.sync("its sync")
	down.heartbeat("its heartbeat")
	s.commit("by the classic one", 9, by{down.id, down.generation}, 0, 30)
	y.beat("goes on beside it")
	y.as("goes for a while", -2, nil)
	s.seen("the other is away")
	last := &member{d: d.another(), v: s.a.v, group: s.group, instance: ptr("two"), generation: -1, topic: s.topic}
	last.join("takes the place of the last that is not classic", "range")
	s.seen("all classic again")
	s.committed("all classic again", nobody)
	last.sync("its sync in the classic group")
	last.heartbeat("its heartbeat in the classic group")
	down.heartbeat("heartbeat of the other in the classic group")
	down.sync("sync of the other in the classic group")
	y.as("who was replaced", y.epoch, nil)
}
