//go:build compat

package compat

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// consumerMember is a member of a consumer group as its client knows it.
type consumerMember struct {
	d         *dialogue
	group, id string
	topic     [2]kafka.UUID
	version   int16

	instance *string
	names    []string // to subscribe to with the next heartbeat; nil: as before
	regex    *string
	assignor *string
	owned    []int32 // to tell with the next heartbeat; nil: nothing is told
	epoch    int32
}

// beat sends a heartbeat with what there is to tell, and takes over the epoch
// that comes with the answer.
func (m *consumerMember) beat(step string) [2]*msg.ConsumerGroupHeartbeatResponse {
	m.d.t.Helper()
	r := ask[msg.ConsumerGroupHeartbeatResponse](m.d, step, m.version, func(i int) msg.Request {
		req := msg.NewConsumerGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch, req.InstanceID = m.group, m.id, m.epoch, m.instance
		req.SubscribedTopicNames, req.SubscribedTopicRegex, req.ServerAssignor = m.names, m.regex, m.assignor
		if m.epoch == 0 {
			req.RebalanceTimeoutMs, req.RackID = 60000, ptr("rack")
			req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		}
		if m.owned != nil {
			req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{{TopicID: m.topic[i], Partitions: m.owned}}
		}
		return &req
	})
	m.names, m.regex, m.assignor, m.owned = nil, nil, nil, nil
	if r[0].ErrorCode == 0 && r[0].MemberEpoch >= 0 {
		m.epoch = r[0].MemberEpoch
	}
	return r
}

// as is beat with another epoch, which leaves the member as it is.
func (m *consumerMember) as(step string, epoch int32, change func(*consumerMember)) {
	m.d.t.Helper()
	n := *m
	n.epoch = epoch
	if change != nil {
		change(&n)
	}
	n.beat(step)
}

// instantly lets a group be assigned anew without a pause.
func instantly(d *dialogue, group string) {
	req := msg.NewIncrementalAlterConfigsRequest()
	req.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 32, ResourceName: group,
		Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.assignment.interval.ms", Value: ptr("0")}}}}
	ask[msg.IncrementalAlterConfigsResponse](d, "no pause", 1, same(&req))
	awaitConfig(d, group, "consumer.assignment.interval.ms", "0")
}

// awaitConfig returns when both brokers know of a setting of a group.
func awaitConfig(d *dialogue, group, name, value string) {
	d.t.Helper()
	await[msg.DescribeConfigsResponse](d, 4, func(int) msg.Request {
		r := msg.NewDescribeConfigsRequest()
		r.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: 32, ResourceName: group, ConfigurationKeys: []string{name}}}
		return &r
	}, func(r *msg.DescribeConfigsResponse) bool {
		return len(r.Results) == 1 && len(r.Results[0].Configs) == 1 && *r.Results[0].Configs[0].Value == value
	})
}

func describeConsumers(d *dialogue, step string, groups ...string) {
	d.t.Helper()
	for v := range int16(2) {
		req := msg.NewConsumerGroupDescribeRequest()
		req.GroupIDs = groups
		ask[msg.ConsumerGroupDescribeResponse](d, step, v, same(&req))
	}
}

// consumerGroup is the life of a consumer group: members come, give up and take
// partitions, are fenced and leave, and commit offsets meanwhile.
func consumerGroup(d *dialogue) {
	const group, topic = "consumers", "consumed"
	ids := d.newTopic(topic, 4)
	instantly(d, group)
	a := &consumerMember{d: d, group: group, id: "m1", topic: ids, version: 1}
	b := &consumerMember{d: d, group: group, id: "m2", topic: ids, version: 1}
	a.as("no group", 3, nil)
	describeConsumers(d, "no group", group)
	a.names = []string{topic}
	a.beat("first join")
	a.beat("nothing new")
	a.owned = []int32{0, 1, 2, 3}
	a.beat("owns all")
	describeConsumers(d, "one member", group, "nobody", "")
	b.names = []string{topic}
	b.beat("second join")
	b.beat("waits")
	describeConsumers(d, "reconciling", group)
	a.beat("has to give up")
	describeConsumers(d, "to be revoked", group)
	a.owned = []int32{0, 1, 2}
	a.beat("has not given up all")
	committing{group, topic, ids, "m1", 2}.commits(d, "while revoking")
	a.owned = []int32{0, 1}
	a.beat("gave up")
	b.beat("takes over")
	b.owned = []int32{2, 3}
	b.beat("owns two")
	describeConsumers(d, "stable", group)
	listGroups(d)

	a.as("lost answer", 2, func(m *consumerMember) { m.owned = []int32{0, 1} })
	a.as("lost answer, owns too much", 2, func(m *consumerMember) { m.owned = []int32{0, 1, 2} })
	a.as("lost answer, says nothing", 2, nil)
	a.as("too old", 1, nil)
	a.as("too new", 9, nil)
	a.as("who", 3, func(m *consumerMember) { m.id = "nobody" })
	a.as("rejoin", 0, func(m *consumerMember) { m.names = []string{topic} })
	a.as("no subscription", 0, nil)
	a.as("owns while joining", 0, func(m *consumerMember) { m.names, m.owned = []string{topic}, []int32{0} })
	a.as("no such epoch", -3, nil)
	a.as("static leave without instance", -2, nil)
	a.as("assignor", 3, func(m *consumerMember) { m.assignor = ptr("best") })
	a.as("empty id", 3, func(m *consumerMember) { m.id = "" })
	a.as("empty id, old version", 3, func(m *consumerMember) { m.id, m.version = "", 0 })
	a.as("empty instance", 3, func(m *consumerMember) { m.instance = ptr("") })
	a.as("blank instance", 3, func(m *consumerMember) { m.instance = ptr(" \t") })
	a.as("unknown instance", 3, func(m *consumerMember) { m.instance = ptr("i") })

	committing{group, topic, ids, "m1", 3}.commits(d, "stable")
	committing{group, topic, ids, "m1", 2}.commits(d, "older")
	committing{group, topic, ids, "m1", 4}.commits(d, "newer")
	committing{group, topic, ids, "m7", 3}.commits(d, "stranger")
	committing{group, topic, ids, "", -1}.commits(d, "outside")
	fetches(d, group, topic)

	del := msg.NewDeleteGroupsRequest()
	del.GroupsNames = []string{group}
	ask[msg.DeleteGroupsResponse](d, "delete, in use", 2, same(&del))
	b.as("leaves", -1, nil)
	b.as("leaves again", -1, nil)
	a.beat("gets all")
	a.as("leaves too", -1, nil)
	describeConsumers(d, "empty", group)
	listGroups(d)
	ask[msg.DeleteGroupsResponse](d, "delete", 2, same(&del))
	describeConsumers(d, "deleted", group)
}

// committing is a member that commits offsets of a topic.
type committing struct {
	group, topic string
	ids          [2]kafka.UUID // of the topic
	member       string
	epoch        int32
}

// commits commits partition 0 and 3 in old and new versions.
func (c committing) commits(d *dialogue, step string) {
	d.t.Helper()
	for _, p := range []int32{0, 3} {
		for _, v := range []int16{8, 9, 10} {
			ask[msg.OffsetCommitResponse](d, "commit "+step, v, func(i int) msg.Request {
				r := msg.NewOffsetCommitRequest()
				r.GroupID, r.MemberID, r.GenerationIDOrMemberEpoch = c.group, c.member, c.epoch
				part := msg.NewOffsetCommitRequestTopicPartition()
				part.PartitionIndex, part.CommittedOffset = p, 1
				r.Topics = []msg.OffsetCommitRequestTopic{{Name: c.topic, TopicID: c.ids[i], Partitions: []msg.OffsetCommitRequestTopicPartition{part}}}
				return &r
			})
		}
	}
}

func fetches(d *dialogue, group, topic string) {
	d.t.Helper()
	for _, who := range []struct {
		id    *string
		epoch int32
	}{{ptr("m1"), 3}, {ptr("m1"), 2}, {ptr("m7"), 3}, {nil, -1}, {ptr(""), -1}, {nil, 3}} {
		req := msg.NewOffsetFetchRequest()
		g := msg.NewOffsetFetchRequestGroup()
		g.GroupID, g.MemberID, g.MemberEpoch = group, who.id, who.epoch
		g.Topics = []msg.OffsetFetchRequestGroupTopic{{Name: topic, PartitionIndexes: []int32{0, 3}}}
		req.Groups = []msg.OffsetFetchRequestGroup{g}
		step := "fetch"
		if who.id == nil && who.epoch >= 0 {
			step = "fetch without an id"
		}
		ask[msg.OffsetFetchResponse](d, step, 9, same(&req))
	}
}

func listGroups(d *dialogue) {
	d.t.Helper()
	for _, types := range [][]string{{"consumer"}, {"Consumer", "classic"}} {
		req := msg.NewListGroupsRequest()
		req.TypesFilter, req.StatesFilter = types, []string{"stable", "empty", "assigning"}
		r := ask[msg.ListGroupsResponse](d, "list", 5, same(&req))
		if slices.ContainsFunc(r[0].Groups, func(g msg.ListGroupsResponseGroup) bool { return g.GroupType == "" }) {
			d.t.Errorf("a group without a type: %+v", r[0].Groups)
		}
	}
}

// consumerStatics is a consumer group of static members, who go for a while and
// return, or are replaced.
func consumerStatics(d *dialogue) {
	const group, topic = "static consumers", "consumed-static"
	ids := d.newTopic(topic, 4)
	instantly(d, group)
	a := &consumerMember{d: d, group: group, id: "s1", topic: ids, version: 1, instance: ptr("i")}
	b := &consumerMember{d: d, group: group, id: "s2", topic: ids, version: 1, instance: ptr("j")}
	a.names = []string{topic}
	a.beat("join")
	b.names = []string{topic}
	b.beat("join of another")
	a.beat("has to give up")
	a.owned = []int32{0, 1}
	a.beat("gave up")
	b.beat("takes over")
	x := &consumerMember{d: d, group: group, id: "x", topic: ids, version: 1, instance: ptr("i")}
	x.as("in use", 0, func(m *consumerMember) { m.names = []string{topic} })
	x.as("not its id", 3, nil)
	x.as("leave in another's name", -1, nil)
	x.as("static leave in another's name", -2, nil)
	a.as("goes for a while", -2, nil)
	a.as("goes again", -2, nil)
	describeConsumers(d, "away", group)
	x.names = []string{topic}
	x.beat("returns under another id")
	describeConsumers(d, "returned", group)
	x.beat("goes on")
	a.as("the old one", 3, nil)
	b.as("leaves", -1, nil)
	x.beat("gets all")
	x.as("goes for a while", -2, nil)
	x.id, x.epoch, x.names = "x2", 0, []string{topic, "other"}
	x.beat("returns with another subscription")
	describeConsumers(d, "changed", group)
	x.as("leaves", -1, nil)
	describeConsumers(d, "empty", group)
}

// consumerPatterns subscribes by pattern and by assignor.
func consumerPatterns(d *dialogue) {
	const group = "pattern consumers"
	ids := d.newTopic("pattern-1", 2)
	instantly(d, group)
	a := &consumerMember{d: d, group: group, id: "p1", topic: ids, version: 1}
	for _, bad := range []string{"^a{2000}", "(", "*", "(?=a)", "[z-a]", "a**"} {
		a.as("bad pattern "+bad, 0, func(m *consumerMember) { m.regex = ptr(bad) })
	}
	for _, pattern := range []string{"pattern-.*|__.*", "pattern-1"} {
		a.epoch, a.regex, a.names = 0, ptr(pattern), nil
		a.beat("joins with " + pattern)
		await[msg.ConsumerGroupDescribeResponse](d, 1, func(int) msg.Request {
			r := msg.NewConsumerGroupDescribeRequest()
			r.GroupIDs = []string{group}
			return &r
		}, func(r *msg.ConsumerGroupDescribeResponse) bool { return r.Groups[0].GroupState == "Assigning" })
		a.beat("is told of " + pattern)
		describeConsumers(d, "subscribes to "+pattern, group)
		a.as("leaves", -1, nil)
	}
	b := &consumerMember{d: d, group: group, id: "p2", topic: ids, version: 0}
	a.epoch, a.names, a.regex, a.assignor = 0, []string{"pattern-1"}, nil, ptr("range")
	a.beat("by range")
	b.names = []string{"pattern-1", "none"}
	b.beat("no assignor")
	a.beat("by range")
	a.assignor = ptr("uniform")
	a.beat("by uniform")
	describeConsumers(d, "by uniform", group)
	a.names = []string{}
	a.beat("reads nothing")
	a.owned = []int32{}
	a.beat("gave all up")
	b.beat("gets all")
	describeConsumers(d, "one reads nothing", group)
}

// consumerNames are groups whose name is that of a group of another kind.
func consumerNames(d *dialogue) {
	ids := d.newTopic("named", 1)
	a := &consumerMember{d: d, group: "classic one", id: "n1", topic: ids, version: 1}
	committing{"simple one", "named", ids, "", -1}.commits(d, "simple")
	describeConsumers(d, "simple", "simple one", wirecmp.CommittedGroup)
	s := *a
	s.group, s.names = "simple one", []string{"named"}
	s.beat("join of a simple group")
	describeConsumers(d, "was simple", "simple one")
	fetches(d, "simple one", "named")
	s.as("leaves", -1, nil)
	a.as("no name", 0, func(m *consumerMember) { m.group, m.names = "", []string{"named"} })
}
