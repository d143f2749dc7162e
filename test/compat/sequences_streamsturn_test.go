//go:build compat

package compat

import "github.com/myelin-stream/myelin/internal/wire/msg"

// streamsInTurn is an application that tries another topology, which Kafka 4.4
// refuses, and whose members change where they are and what they tell of their
// tasks. Between the attempts nobody looks at the group: Kafka forgets for a while
// how many partitions it decided on.
func streamsInTurn(d *dialogue) {
	const group = "streams-turn"
	streamsTopics(d, group, allStreamsTopics)
	a := &streamsMember{d: d, v: 1, group: group, id: "m1", process: "p1", withAddress: true}
	b := &streamsMember{d: d, v: 1, group: group, id: "m2", process: "p2", withAddress: true}
	a.beat("join", nil)
	a.does("has its tasks")
	join := func(epoch int32, change func(*msg.StreamsGroupHeartbeatRequestTopology)) func(r *msg.StreamsGroupHeartbeatRequest) {
		return func(r *msg.StreamsGroupHeartbeatRequest) {
			r.Topology = streamsTopology(group, epoch)
			if change != nil {
				change(r.Topology)
			}
		}
	}
	fewer := func(t *msg.StreamsGroupHeartbeatRequestTopology) { t.Subtopologies[1].StateChangelogTopics = nil }
	b.beat("the same epoch with another topology", join(0, fewer))
	b.epoch = 0
	b.beat("a newer topology", join(1, fewer))
	a.beat("is of the older topology", nil)
	a.does("goes on with the older topology")
	again := *a
	again.epoch = 0
	again.beat("rejoins with the older topology", nil)
	a.epoch = 0
	a.beat("rejoins with the newer topology", join(1, fewer))
	a.does("has what it had")
	b.beat("gets its tasks", nil)
	b.does("has its tasks")
	a.does("both done")
	a.seen("with one topology")

	for _, change := range []struct {
		step string
		do   func(r *msg.StreamsGroupHeartbeatRequest)
	}{
		{"another rack", func(r *msg.StreamsGroupHeartbeatRequest) { r.RackID = ptr("r2") }},
		{"an empty rack", func(r *msg.StreamsGroupHeartbeatRequest) { r.RackID = ptr("") }},
		{"another endpoint", func(r *msg.StreamsGroupHeartbeatRequest) {
			r.UserEndpoint = &msg.StreamsGroupHeartbeatRequestEndpoint{Host: "elsewhere", Port: 81}
		}},
		{"an older epoch of endpoints", func(r *msg.StreamsGroupHeartbeatRequest) { r.EndpointInformationEpoch = 0 }},
		{"an epoch of endpoints to come", func(r *msg.StreamsGroupHeartbeatRequest) { r.EndpointInformationEpoch = 99 }},
		{"another process", func(r *msg.StreamsGroupHeartbeatRequest) { r.ProcessID = ptr("p9") }},
		{"other tags", func(r *msg.StreamsGroupHeartbeatRequest) {
			r.ClientTags = []msg.StreamsGroupHeartbeatRequestKeyValue{{Key: "zone", Value: "z2"}}
		}},
		{"a tag twice", func(r *msg.StreamsGroupHeartbeatRequest) {
			r.ClientTags = []msg.StreamsGroupHeartbeatRequestKeyValue{{Key: "zone", Value: "z2"}, {Key: "zone", Value: "z3"}}
		}},
		{"task offsets", func(r *msg.StreamsGroupHeartbeatRequest) {
			r.TaskOffsets = []msg.StreamsGroupHeartbeatRequestTaskOffset{{SubtopologyID: "1", Partition: 0, Offset: 5}}
			r.TaskEndOffsets = []msg.StreamsGroupHeartbeatRequestTaskOffset{{SubtopologyID: "1", Partition: 0, Offset: 9}}
		}},
		{"only active tasks", func(r *msg.StreamsGroupHeartbeatRequest) {
			r.ActiveTasks = []msg.StreamsGroupHeartbeatRequestTaskID{}
		}},
		{"a topology without joining", func(r *msg.StreamsGroupHeartbeatRequest) { r.Topology = streamsTopology(group, 2) }},
		{"a time to rebalance", func(r *msg.StreamsGroupHeartbeatRequest) { r.RebalanceTimeoutMs = 5000 }},
		{"no instance of the name", func(r *msg.StreamsGroupHeartbeatRequest) { r.InstanceID = ptr("i") }},
	} {
		m := *a
		m.beat(change.step, change.do)
		a.epoch, a.endpoint = m.epoch, m.endpoint
		a.seen(change.step)
	}
}

// streamsGrow is an application whose source topic gets more partitions, and one
// that lacks its internal topics.
func streamsGrow(d *dialogue) {
	const group = "streams-grow"
	streamsTopics(d, group, map[string]int32{"in": 2, "repartition": 2, "changelog": 2})
	alterGroups(d, "a standby", group, false, setting{"streams.num.standby.replicas", "1", opSet})
	awaitConfig(d, group, "streams.num.standby.replicas", "1")
	a := &streamsMember{d: d, v: 1, group: group, id: "m1", process: "p1"}
	b := &streamsMember{d: d, v: 1, group: group, id: "m2", process: "p2"}
	a.beat("join", nil)
	a.does("has its tasks")
	b.beat("join of another", nil)
	a.beat("gives up", nil)
	a.does("gave up")
	b.beat("takes over", nil)
	b.does("has its tasks")
	a.does("has its standbys")
	b.does("has its standbys")
	a.seen("with standbys")
	d.grow(group+"-in", 4)
	await(d, 1, func(i int) msg.Request { return a.request(i) }, func(r *msg.StreamsGroupHeartbeatResponse) bool {
		return len(r.Status) > 0 || r.ErrorCode != 0
	})
	a.beat("the source topic has grown", nil)
	a.seen("after the source topic grew")
}
