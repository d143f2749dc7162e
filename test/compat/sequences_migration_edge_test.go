//go:build compat

package compat

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

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
		// It holds what it may keep: whom Kafka gives the rest to goes by the hash of
		// the ids, which are drawn.
		m := &member{d: d, v: s.a.v, group: name, generation: -1, topic: s.topic, owned: []int32{0, 1, 2}}
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
	s.commit("by a", 9, by{s.a.id, s.a.generation}, 0, 1)
	s.commit("by c", 9, by{[2]string{"c", "c"}, s.c.epoch}, 0, 1)
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
	s.commit("in the classic group", 9, by{s.a.id, s.a.generation}, 0, 1)
	s.a.leave("leaves")
	s.c.as("no member of an empty classic group", 3, nil)
	s.c.names = []string{s.topic}
	s.c.beat("joins an empty classic group")
	s.committed("in the consumer group", nobody)
	s.seen("with one member")
	s.commit("in the consumer group", 9, by{[2]string{"c", "c"}, s.c.epoch}, 1, 2)
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
	s.committed("in the classic group again", nobody)
	back.leave("leaves")
	s.seen("empty and classic")
	back.deleteGroup("delete")
}
