//go:build compat

package compat

import (
	"testing"

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
func (s *migration) commit(step string, version int16, id [2]string, epoch, partition int32, offset int64) {
	s.d.t.Helper()
	ask[msg.OffsetCommitResponse](s.d, "commit "+step, version, func(i int) msg.Request {
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.MemberID, r.GenerationIDOrMemberEpoch = s.group, id[i], epoch
		p := msg.NewOffsetCommitRequestTopicPartition()
		p.PartitionIndex, p.CommittedOffset = partition, offset
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: s.topic, TopicID: s.ids[i], Partitions: []msg.OffsetCommitRequestTopicPartition{p}}}
		return &r
	})
}

// committed reads the group's offsets of the topic as whoever comes with the id and
// the epoch.
func (s *migration) committed(step string, id [2]string, epoch int32) {
	s.d.t.Helper()
	for v := int16(8); v <= 10; v++ {
		ask[msg.OffsetFetchResponse](s.d, "committed "+step, v, func(i int) msg.Request {
			r := msg.NewOffsetFetchRequest()
			g := msg.NewOffsetFetchRequestGroup()
			g.GroupID, g.MemberEpoch = s.group, epoch
			if id[i] != "" {
				g.MemberID = ptr(id[i])
			}
			g.Topics = []msg.OffsetFetchRequestGroupTopic{{Name: s.topic, TopicID: s.ids[i], PartitionIndexes: []int32{0, 1, 2, 3, 4, 5}}}
			r.Groups = []msg.OffsetFetchRequestGroup{g}
			return &r
		})
	}
}

var nobody [2]string

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
	s.commit("before", 9, s.a.id, s.a.generation, 0, 10)
	s.commit("before", 8, s.b.id, s.b.generation, 3, 13)
	s.commit("from outside before", 9, nobody, -1, 1, 11)
	s.c.as("no member of a classic group", 3, nil)
	s.c.as("leave of a classic group", -1, nil)
	s.c.names = []string{s.topic}
	s.c.beat("joins a classic group")
	s.seen("upgraded")
	s.committed("from outside", nobody, -1)
	s.committed("by a", s.a.id, s.a.generation)
	s.committed("by c", [2]string{"c", "c"}, s.c.epoch)
	s.commit("by a", 9, s.a.id, s.a.generation, 0, 20)
	s.commit("by b", 2, s.b.id, s.b.generation, 5, 25)
	s.commit("by a in a generation to come", 9, s.a.id, s.a.generation+1, 0, 21)
	s.commit("by a in an old generation", 9, s.a.id, s.a.generation-1, 0, 21)
	s.commit("from outside", 9, nobody, -1, 2, 12)

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
	s.committed("at the end", nobody, -1)
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
	s.commit("before", 9, s.a.id, s.a.generation, 0, 10)
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
	s.commit("by who was replaced", 9, s.a.id, s.a.generation, 0, 99)
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
	s.committed("all upgraded", nobody, -1)

	down := &member{d: d, v: s.a.v, group: s.group, instance: ptr("one"), generation: -1, topic: s.topic}
	down.join("a classic member takes the place of one that is not", "range")
	s.seen("one is classic again")
	x.as("who was replaced", x.epoch, nil)
	down.heartbeat("its heartbeat before sync")
	down.sync("its sync")
	down.heartbeat("its heartbeat")
	s.commit("by the classic one", 9, down.id, down.generation, 0, 30)
	y.beat("goes on beside it")
	y.as("goes for a while", -2, nil)
	s.seen("the other is away")
	last := &member{d: d.another(), v: s.a.v, group: s.group, instance: ptr("two"), generation: -1, topic: s.topic}
	last.join("takes the place of the last that is not classic", "range")
	s.seen("all classic again")
	s.committed("all classic again", nobody, -1)
	last.sync("its sync in the classic group")
	last.heartbeat("its heartbeat in the classic group")
	down.heartbeat("heartbeat of the other in the classic group")
	down.sync("sync of the other in the classic group")
	y.as("who was replaced", y.epoch, nil)
}

// migrationRefused is groups that cannot become consumer groups: of an assignor
// of its own, of other than consumers, and of members that say nothing readable.
func migrationRefused(d *dialogue) {
	s := migrating(d, "own assignor")
	s.a.userData = []byte("of its own")
	s.alone(s.a, "range")
	s.c.as("joins a group with an assignor of its own", 0, func(c *consumerMember) { c.names = []string{s.topic} })
	s.seen("not upgraded")
	s.a.heartbeat("heartbeat goes on")
	s.a.userData = []byte{}
	s.a.join("joins again", "range")
	s.c.as("joins before the sync", 0, func(c *consumerMember) { c.names = []string{s.topic} })
	s.seen("upgraded before the sync")
	s.a.sync("sync comes too late", s.a)
	s.a.heartbeat("heartbeat after it")

	for name, change := range map[string]func(*msg.JoinGroupRequest){
		"connectors":   func(r *msg.JoinGroupRequest) { r.ProtocolType = "connect" },
		"mumblers":     func(r *msg.JoinGroupRequest) { r.Protocols[0].Metadata = []byte{0} },
		"say nothing":  func(r *msg.JoinGroupRequest) { r.Protocols[0].Metadata = nil },
		"say too much": func(r *msg.JoinGroupRequest) { r.Protocols[0].Metadata = append(r.Protocols[0].Metadata, 1, 2, 3) },
		"of tomorrow":  func(r *msg.JoinGroupRequest) { r.Protocols[0].Metadata[1] = 99 },
	} {
		m := &member{d: d, v: s.a.v, group: name, generation: -1, topic: s.topic}
		for range 2 {
			m.joined(ask[msg.JoinGroupResponse](d, name+" joins", 9, func(i int) msg.Request {
				r := m.joining("range")(i).(*msg.JoinGroupRequest)
				change(r)
				return r
			}))
		}
		ask[msg.SyncGroupResponse](d, name+" syncs", 5, func(i int) msg.Request {
			r := m.syncing(m)(i).(*msg.SyncGroupRequest)
			if name == "connectors" {
				r.ProtocolType = ptr("connect")
			}
			return r
		})
		c := &consumerMember{d: d, group: name, id: "c", topic: s.ids, version: 1}
		c.as("joins "+name, 0, func(c *consumerMember) { c.names = []string{s.topic} })
		m.heartbeat(name + ": heartbeat")
		describeConsumers(d, name, name)
		m.seen(name)
	}
	m := &member{d: d, v: s.a.v, group: "mumbles to all", generation: -1, topic: s.topic, owned: []int32{0}}
	m.join("asks for an id", "range")
	m.join("joins", "range")
	ask[msg.SyncGroupResponse](d, "syncs with an assignment that cannot be read", 5, func(i int) msg.Request {
		r := m.syncing(m)(i).(*msg.SyncGroupRequest)
		r.Assignments[0].Assignment = []byte{0, 0, 0}
		return r
	})
	c := &consumerMember{d: d, group: m.group, id: "c", topic: s.ids, version: 1}
	c.as("joins a group whose assignment cannot be read", 0, func(c *consumerMember) { c.names = []string{s.topic} })
	m.heartbeat("heartbeat")
}

// migrationMidway is a group that is upgraded while it rebalances, and what those
// are told who wait.
func migrationMidway(d *dialogue) {
	s := migrating(d, "midway")
	s.alone(s.a, "range")
	s.b.join("b asks for an id", "range")
	s.seen("with an id that is not used")
	pending := begin[msg.JoinGroupResponse](s.b.d, "b joins", s.b.v.join, s.b.joining("range"))
	s.a.awaitRebalance()
	s.c.names = []string{s.topic}
	s.c.beat("joins while the group gathers")
	s.b.joined(pending())
	s.a.seen("upgraded while it gathered") // which classic member is to get what hangs on their ids
	s.a.heartbeat("a's heartbeat")
	s.b.heartbeat("b's heartbeat")
	s.b.join("b joins again", "range")
	s.b.sync("b syncs")
	s.follows("a follows", s.a, []int32{0, 1})

	w := migrating(d, "midway to sync")
	w.both("range")
	leading := begin[msg.JoinGroupResponse](w.b.d, "b has something new", w.b.v.join, w.b.joining("range", "sticky"))
	w.a.awaitRebalance()
	w.a.join("a follows", "range")
	w.b.joined(leading())
	waits := begin[msg.SyncGroupResponse](w.b.d, "b waits for the leader", w.b.v.sync, w.b.syncing())
	w.a.awaitJoined(w.group)
	w.c.names = []string{w.topic}
	w.c.beat("joins while members wait to sync")
	waits()
	w.seen("upgraded while members waited to sync")
	w.a.heartbeat("a's heartbeat")
	w.b.heartbeat("b's heartbeat")
	w.a.sync("a syncs", w.a, w.b)
	w.b.sync("b syncs")
	w.b.join("b joins again", "range", "sticky")
	w.b.sync("b syncs again")
	w.seen("b is back")
}

// migrationWithPause is classic members of a consumer group while its target is not
// that of the newest epoch, since it was computed a moment ago (KIP-1263).
func migrationWithPause(d *dialogue) {
	s := migrating(d, "pausing")
	s.c.names = []string{s.topic}
	s.c.beat("makes the group")
	set := msg.NewIncrementalAlterConfigsRequest()
	set.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 32, ResourceName: s.group,
		Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.assignment.interval.ms", Value: ptr("15000")}}}}
	ask[msg.IncrementalAlterConfigsResponse](d, "a long pause", 1, same(&set))
	awaitConfig(d, s.group, "consumer.assignment.interval.ms", "15000")
	s.a.join("a asks for an id", "range")
	s.a.join("a joins", "range")
	s.seen("before a is assigned to")
	s.a.heartbeat("a's heartbeat before sync")
	s.a.sync("a syncs")
	s.a.heartbeat("a's heartbeat")
	s.a.join("a joins again", "range")
	s.a.sync("a syncs again")
	s.c.beat("goes on")
	s.commit("by a", 9, s.a.id, s.a.generation, 0, 1)
	s.commit("by c", 9, [2]string{"c", "c"}, s.c.epoch, 0, 1)
	s.b.join("b asks for an id", "range")
	s.b.join("b joins", "range")
	s.b.sync("b syncs")
	s.a.heartbeat("a's heartbeat after b came")
	s.a.sync("a syncs after b came")
	s.seen("two wait")
	s.c.as("leaves", -1, nil)
	s.a.seen("downgraded")
	s.a.heartbeat("a's heartbeat in the classic group")
}

// migrationOfNewcomers has classic members of all versions come to a consumer
// group and leave it, until the last one that is not classic is gone.
func migrationOfNewcomers(d *dialogue) {
	s := migrating(d, "newcomers")
	s.c.names = []string{s.topic}
	s.c.beat("makes the group")
	for v := int16(0); v <= 9; v++ {
		m := &member{d: d, v: groupVersions{v, min(v, 5), min(v, 4), min(v, 5), 9, 9}, group: s.group, generation: -1, topic: s.topic}
		if r := m.join("joins", "range", "roundrobin"); kafka.Code(r[0].ErrorCode) == kafka.MemberIDRequired {
			m.heartbeat("heartbeat with an id that is not used")
			m.join("joins with the id", "range", "roundrobin")
		}
		m.heartbeat("heartbeat before sync")
		m.sync("syncs")
		m.heartbeat("heartbeat")
		describeConsumers(d, "with one more", s.group)
		s.c.beat("has to give up")
		s.c.owned = []int32{0, 1, 2}
		s.c.beat("gave up")
		m.heartbeat("heartbeat to get some")
		m.join("joins to get some", "range", "roundrobin")
		m.sync("gets some")
		m.heartbeat("heartbeat with some")
		if v == 9 {
			break
		}
		m.leave("leaves")
		m.leave("leaves again")
		m.heartbeat("heartbeat after that")
		s.c.beat("gets all")
		s.c.owned = []int32{0, 1, 2, 3, 4, 5}
		s.c.beat("has all")
	}
	describeConsumers(d, "two members", s.group)
	s.c.as("leaves", -1, nil)
	s.seen("one classic member")
	s.c.names, s.c.epoch = []string{s.topic}, 0
	s.c.beat("joins again at once")
	s.seen("upgraded in a rebalance")
}

// migrationOfTheEmpty is empty groups of one kind that somebody joins in the other
// protocol, and what becomes of their offsets.
func migrationOfTheEmpty(d *dialogue) {
	s := migrating(d, "empty")
	s.alone(s.a, "range")
	s.commit("in the classic group", 9, s.a.id, s.a.generation, 0, 1)
	s.a.leave("leaves")
	s.c.as("no member of an empty classic group", 3, nil)
	s.c.names = []string{s.topic}
	s.c.beat("joins an empty classic group")
	s.committed("in the consumer group", nobody, -1)
	s.seen("with one member")
	s.commit("in the consumer group", 9, [2]string{"c", "c"}, s.c.epoch, 1, 2)
	s.c.as("leaves", -1, nil)
	s.seen("empty")
	back := &member{d: d, v: s.a.v, group: s.group, generation: -1, topic: s.topic}
	stale := *s.a
	stale.heartbeat("heartbeat in an empty consumer group")
	stale.sync("sync in an empty consumer group")
	stale.leave("leave of an empty consumer group")
	stale.join("join of an empty consumer group with an id", "range")
	back.join("asks for an id in an empty consumer group", "range")
	s.seen("an id was asked for")
	back.join("joins an empty consumer group", "range")
	back.owned = []int32{0}
	back.sync("syncs", back)
	s.seen("classic")
	s.committed("in the classic group again", nobody, -1)
	back.leave("leaves")
	s.seen("empty and classic")
	back.deleteGroup("delete")
}

// Groups move between the classic and the consumer protocol as in Kafka, under each
// group.consumer.migration.policy, and as far as the bounds of groups let them.
func TestWireMigration(t *testing.T) {
	for name, properties := range map[string][]string{
		"upgrade only":   {"group.consumer.migration.policy=upgrade"},
		"downgrade only": {"group.consumer.migration.policy=downgrade"},
		"disabled":       {"group.consumer.migration.policy=Disabled"},
		"small groups":   {"group.consumer.max.size=2", "group.max.size=2"},
		"quick sessions": {"group.min.session.timeout.ms=100", "group.consumer.min.session.timeout.ms=100", "group.consumer.min.heartbeat.interval.ms=10"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &comparison{peers: startBoth(t, properties...), listed: listed(t)}
			d := &dialogue{t: t, name: name, c: c, answers: new(int)}
			d.connect()
			switch name {
			case "small groups":
				migrationOfMany(d)
			case "quick sessions":
				migrationByExpiry(d)
			default:
				migrationByPolicy(d)
			}
			t.Logf("%d answers compared", *d.answers)
		})
	}
}

// migrationByPolicy tries to go up and down, with members of all kinds and
// without.
func migrationByPolicy(d *dialogue) {
	s := migrating(d, "up")
	s.alone(s.a, "range")
	s.c.names = []string{s.topic}
	s.c.beat("joins a classic group")
	s.seen("asked to go up")
	s.a.heartbeat("heartbeat of the classic member")
	s.b.join("asks for an id", "range")
	s.c.as("leaves", -1, nil)
	s.seen("asked to go down")
	s.a.heartbeat("heartbeat at the end")

	down := migrating(d, "down")
	down.c.names = []string{down.topic}
	down.c.beat("makes a group")
	down.a.join("asks for an id in a consumer group", "range")
	down.a.join("joins a consumer group", "range")
	down.a.sync("syncs in a consumer group")
	down.a.heartbeat("heartbeat in a consumer group")
	down.seen("asked to take a classic member")
	down.c.as("leaves", -1, nil)
	down.seen("asked to go down")
	down.a.heartbeat("heartbeat after that")
	down.a.join("joins again", "range")
	down.a.sync("syncs again")
	down.c.names, down.c.epoch = []string{down.topic}, 0
	down.c.beat("comes back")

	st := migrating(d, "static")
	st.c.instance, st.c.names = ptr("one"), []string{st.topic}
	st.c.beat("makes a group of statics")
	st.c.as("goes for a while", -2, nil)
	st.a.instance = ptr("one")
	st.a.join("takes the place of the last", "range")
	st.seen("after the last was replaced")
	st.a.sync("syncs")
	st.a.heartbeat("heartbeat")
	st.c.epoch, st.c.names = 0, []string{st.topic}
	st.c.beat("takes its place again")
	st.seen("after it was replaced again")

	e := migrating(d, "empty")
	e.alone(e.a, "range")
	e.a.leave("leaves")
	e.c.names = []string{e.topic}
	e.c.beat("joins an empty classic group")
	e.c.as("leaves", -1, nil)
	e.a.id, e.a.generation = [2]string{}, -1
	e.alone(e.a, "range")
	e.seen("at the end")
}

// migrationOfMany is groups that are full: in one protocol, in the other, or on
// the way.
func migrationOfMany(d *dialogue) {
	s := migrating(d, "full")
	s.both("range")
	third := &member{d: d, v: s.a.v, group: s.group, generation: -1, topic: s.topic}
	third.join("a third", "range")
	s.c.names = []string{s.topic}
	s.c.beat("joins a full classic group")
	s.seen("perhaps upgraded")
	s.a.heartbeat("a's heartbeat")
	third.join("a third in the consumer group", "range")
	s.b.leave("b leaves")
	s.c.names, s.c.epoch = []string{s.topic}, 0
	s.c.beat("comes again")
	s.a.heartbeat("a's heartbeat")
	third.join("a third again", "range")
	other := &consumerMember{d: d, group: s.group, id: "c2", topic: s.ids, version: 1}
	other.as("a third of the consumer protocol", 0, func(c *consumerMember) { c.names = []string{s.topic} })
	third.instance = ptr("i")
	third.join("a static third", "range")
	s.seen("full")
}

// migrationByExpiry is members who fall silent: classic ones in a consumer group,
// and the last one that is not.
func migrationByExpiry(d *dialogue) {
	s := migrating(d, "silent")
	set := msg.NewIncrementalAlterConfigsRequest()
	set.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 32, ResourceName: s.group,
		Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{
			{Name: "consumer.session.timeout.ms", Value: ptr("600")}, {Name: "consumer.heartbeat.interval.ms", Value: ptr("100")},
		}}}
	ask[msg.IncrementalAlterConfigsResponse](d, "short sessions", 1, same(&set))
	gone := func(n int) {
		d.t.Helper()
		req := msg.NewConsumerGroupDescribeRequest()
		req.GroupIDs = []string{s.group}
		await(d, 1, same(&req), func(r *msg.ConsumerGroupDescribeResponse) bool { return len(r.Groups[0].Members) == n })
	}
	s.a.session, s.b.session = 600, 600
	s.both("range")
	s.c.names = []string{s.topic}
	s.c.beat("joins")
	s.a.heartbeat("a's heartbeat")
	s.b.heartbeat("b's heartbeat")
	gone(0)
	s.seen("all fell silent")
	s.a.heartbeat("a's heartbeat comes too late")

	s.a.id, s.a.generation, s.a.session, s.a.owned = [2]string{}, -1, 30000, nil
	s.alone(s.a, "range")
	s.c.names, s.c.epoch = []string{s.topic}, 0
	s.c.beat("joins again")
	s.a.heartbeat("a hears of it")
	gone(0)
	s.seen("the last that is not classic fell silent")
	s.a.join("a joins", "range")
	s.a.sync("a syncs", s.a)

	// Under another id: Kafka goes on with the clock of one that it told to join
	// before the group was classic for a while.
	s.a.leave("a leaves")
	s.a.id, s.a.generation, s.a.rebalance, s.a.owned = [2]string{}, -1, 600, nil
	s.alone(s.a, "range")
	set.Resources[0].Configs[0].Value = ptr("30000")
	ask[msg.IncrementalAlterConfigsResponse](d, "long sessions", 1, same(&set))
	s.c.names, s.c.epoch = []string{s.topic}, 0
	s.c.beat("joins once more")
	s.a.heartbeat("a is told to join")
	gone(1)
	describeConsumers(d, "a did not join", s.group)
	s.c.beat("gets all")
	s.a.heartbeat("a is late")

	s.b.id, s.b.generation, s.b.session, s.b.rebalance, s.b.owned = [2]string{}, -1, 30000, 600, nil
	s.b.join("b asks for an id", "range")
	s.b.join("b joins", "range")
	gone(1)
	s.b.sync("b is late to sync")
	s.seen("b did not sync")
}
