//go:build compat

package compat

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Groups move between the classic and the consumer protocol as in Kafka, under each
// group.consumer.migration.policy, and as far as the bounds of groups let them.
func TestWireMigration(t *testing.T) {
	for name, properties := range map[string][]string{
		"upgrade only":   {"group.consumer.migration.policy=upgrade"},
		"downgrade only": {"group.consumer.migration.policy=downgrade"},
		"disabled":       {"group.consumer.migration.policy=Disabled"},
		"small groups":   {"group.consumer.max.size=2", "group.max.size=2"},
		quickSessions:    {"group.min.session.timeout.ms=100", "group.consumer.min.session.timeout.ms=100", "group.consumer.min.heartbeat.interval.ms=10"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &comparison{peers: startBoth(t, properties...), listed: listed(t)}
			d := &dialogue{t: t, name: name, c: c, answers: new(int)}
			d.connect()
			switch name {
			case "small groups":
				migrationOfMany(d)
			case quickSessions:
				migrationByExpiry(d)
				unseen(t, c.listed, ofQuickSessions)
			default:
				migrationByPolicy(d)
			}
			t.Logf("%d answers compared", *d.answers)
		})
	}
}

// quickSessions is the conversation in which members fall silent.
const quickSessions = "quick sessions"

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
	for _, bad := range [][2]string{{"5000", "5000"}, {"600", "600"}, {"600", "601"}, {"99", "50"}, {"600", "9"}} {
		alterGroups(d, "bounds", s.group, true, setting{"consumer.session.timeout.ms", bad[0], opSet}, setting{"consumer.heartbeat.interval.ms", bad[1], opSet})
		alterGroups(d, "one of a pair", s.group, true, setting{"consumer.session.timeout.ms", bad[0], opSet})
	}
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
