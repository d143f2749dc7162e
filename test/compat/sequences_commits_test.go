//go:build compat

package compat

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// commits is who may commit and read offsets of a group: its members at each
// epoch they had, strangers, and an admin who is no member, in every version.
type commits struct {
	d     *dialogue
	topic string
	ids   [2]kafka.UUID
}

// put commits an offset of a partition in each version.
func (c commits) put(step, group string, who by, partition int32) {
	c.d.t.Helper()
	for v := int16(2); v <= 10; v++ {
		ask[msg.OffsetCommitResponse](c.d, "put "+step, v, func(i int) msg.Request {
			r := msg.NewOffsetCommitRequest()
			r.GroupID, r.MemberID, r.GenerationIDOrMemberEpoch = group, who.id[i], who.epoch
			p := msg.NewOffsetCommitRequestTopicPartition()
			p.PartitionIndex, p.CommittedOffset, p.CommittedLeaderEpoch = partition, int64(v), 0
			r.Topics = []msg.OffsetCommitRequestTopic{{Name: c.topic, TopicID: c.ids[i], Partitions: []msg.OffsetCommitRequestTopicPartition{p}}}
			return &r
		})
	}
}

// get reads offsets in each version, of some partitions or of all.
func (c commits) get(step, group string, who by) {
	c.d.t.Helper()
	for v := int16(1); v <= 10; v++ {
		for _, all := range []bool{false, true} {
			if all && v < 2 {
				continue
			}
			ask[msg.OffsetFetchResponse](c.d, fmt.Sprintf("get %s, all %t", step, all), v, func(i int) msg.Request {
				r := msg.NewOffsetFetchRequest()
				g := msg.NewOffsetFetchRequestGroup()
				g.GroupID, g.MemberEpoch = group, who.epoch
				if who.id[i] != "" {
					g.MemberID = ptr(who.id[i])
				}
				r.GroupID, r.Topics = group, nil
				if !all {
					r.Topics = []msg.OffsetFetchRequestTopic{{Name: c.topic, PartitionIndexes: []int32{0, 3}}}
					g.Topics = []msg.OffsetFetchRequestGroupTopic{{Name: c.topic, TopicID: c.ids[i], PartitionIndexes: []int32{0, 3}}}
				}
				r.Groups = []msg.OffsetFetchRequestGroup{g}
				return &r
			})
		}
	}
}

// everybody has all who there are commit and read.
func (c commits) everybody(step, group string, id string, epochs ...int32) {
	c.d.t.Helper()
	c.put(step+": admin", group, nobody, 0)
	c.put(step+": nameless at an epoch", group, by{epoch: 1}, 0)
	for _, e := range append(epochs, -1, -2, 0, 99) {
		who := by{[2]string{id, id}, e}
		for _, p := range []int32{0, 3, 7} {
			c.put(fmt.Sprintf("%s: %s at %d of %d", step, id, e, p), group, who, p)
		}
		c.get(fmt.Sprintf("%s: %s at %d", step, id, e), group, who)
	}
	c.put(step+": stranger", group, by{[2]string{"x", "x"}, 1}, 0)
	c.get(step+": stranger", group, by{[2]string{"x", "x"}, 1})
	c.get(step+": admin", group, nobody)
}

// commitsOfConsumers is offsets in a consumer group whose members come and go:
// a member may commit at an older epoch what it has held since (KIP-1251).
func commitsOfConsumers(d *dialogue) {
	const group = "consumers who commit"
	c := commits{d, "commits", d.newTopic("commits", 4)}
	instantly(d, group)
	c.everybody("no group", group, "m1", 1)
	a := &consumerMember{d: d, group: group, id: "m1", topic: c.ids, version: 1, names: []string{c.topic}}
	b := &consumerMember{d: d, group: group, id: "m2", topic: c.ids, version: 1, names: []string{c.topic}}
	a.beat("joins")
	a.owned = []int32{0, 1, 2, 3}
	a.beat("owns")
	c.everybody("one member", group, "m1", 1, 2, 3)
	b.beat("another joins")
	a.beat("has to give up")
	c.everybody("giving up", group, "m1", 1, 2, 3)
	c.everybody("waiting", group, "m2", 2, 3)
	a.owned = []int32{0, 1}
	a.beat("gave up")
	c.everybody("gave up", group, "m1", 1, 2, 3)
	b.beat("takes over")
	c.everybody("took over", group, "m2", 1, 2, 3)
	b.as("leaves", -1, nil)
	a.beat("gets all")
	c.everybody("got all", group, "m1", 2, 3, 4)
	a.as("leaves", -1, nil)
	c.everybody("empty", group, "m1", 4, 5)
}

// commitsOfOthers is offsets in groups of the other kinds, with members and
// without.
func commitsOfOthers(d *dialogue) {
	c := commits{d, "commits-others", d.newTopic("commits-others", 4)}
	m := &member{d: d, v: groupVersions{3, 3, 3, 3, 8, 8}, group: "classics who commit", generation: -1, topic: c.topic}
	m.join("joins", "range")
	classics := func(step string) {
		for _, g := range []int32{-1, 0, m.generation, m.generation + 1} {
			for _, id := range [][2]string{m.id, {"x", "x"}, {}} {
				c.put(fmt.Sprintf("%s in %d, named %t", step, g, id[0] != ""), m.group, by{id, g}, 0)
			}
		}
		c.get(step, m.group, by{m.id, m.generation})
		c.get(step+": admin", m.group, nobody)
	}
	classics("before sync")
	m.sync("syncs", m)
	classics("stable")
	m.leave("leaves")
	classics("empty")

	share := func(epoch int32) {
		req := msg.NewShareGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch = "sharers who commit", "8c5b2d4e-0000-4000-8000-000000000001", epoch
		if epoch == 0 {
			req.SubscribedTopicNames = []string{c.topic}
		}
		ask[msg.ShareGroupHeartbeatResponse](d, "heartbeat", 1, same(&req))
	}
	share(0)
	c.everybody("share group", "sharers who commit", "8c5b2d4e-0000-4000-8000-000000000001", 1, 2)
	share(-1)
	c.everybody("empty share group", "sharers who commit", "8c5b2d4e-0000-4000-8000-000000000001", 1, 2)
}
