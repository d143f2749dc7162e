//go:build compat

package compat

import (
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// deleteTopic deletes a topic on both brokers, and returns when it is gone.
func (d *dialogue) deleteTopic(name string) {
	d.t.Helper()
	req := msg.NewDeleteTopicsRequest()
	req.TimeoutMs, req.Topics = 10000, []msg.DeleteTopicsRequestTopic{{Name: &name}}
	ask[msg.DeleteTopicsResponse](d, "delete "+name, 6, same(&req))
	d.awaitTopic(name, func(t *msg.MetadataResponseTopic) bool { return t.ErrorCode != 0 })
}

// grow gives a topic more partitions.
func (d *dialogue) grow(name string, partitions int32) {
	d.t.Helper()
	req := msg.NewCreatePartitionsRequest()
	req.TimeoutMs, req.Topics = 10000, []msg.CreatePartitionsRequestTopic{{Name: name, Count: partitions}}
	ask[msg.CreatePartitionsResponse](d, "grow "+name, 3, same(&req))
	d.awaitTopic(name, func(t *msg.MetadataResponseTopic) bool { return len(t.Partitions) == int(partitions) })
}

func (d *dialogue) awaitTopic(name string, as func(*msg.MetadataResponseTopic) bool) {
	d.t.Helper()
	req := msg.NewMetadataRequest()
	req.Topics = []msg.MetadataRequestTopic{{Name: &name}}
	req.AllowAutoTopicCreation = false
	await(d, 9, same(&req), func(r *msg.MetadataResponse) bool { return len(r.Topics) == 1 && as(&r.Topics[0]) })
}

// until sends a member's heartbeat, with nothing new, to each broker until it is
// at a new epoch, or has something to do, and then compares one more answer: Kafka learns of
// topics a moment after it has answered for them.
func (m *consumerMember) until(step string, epoch int32) {
	m.d.t.Helper()
	await(m.d, 1, func(int) msg.Request {
		req := msg.NewConsumerGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch = m.group, m.id, m.epoch
		return &req
	}, func(r *msg.ConsumerGroupHeartbeatResponse) bool {
		return r.MemberEpoch >= epoch || r.ErrorCode != 0 || r.Assignment != nil
	})
	m.beatWhole(step)
}

// beatWhole is a heartbeat that asks for the whole assignment.
func (m *consumerMember) beatWhole(step string) {
	m.d.t.Helper()
	r := ask[msg.ConsumerGroupHeartbeatResponse](m.d, step, m.version, func(i int) msg.Request {
		req := msg.NewConsumerGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMs = m.group, m.id, m.epoch, 60000
		req.SubscribedTopicNames = []string{"come", "and-go"}
		req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		if m.owned != nil {
			req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{{TopicID: m.topic[i], Partitions: m.owned}}
		}
		return &req
	})
	if r[0].ErrorCode == 0 && r[0].MemberEpoch >= 0 {
		m.epoch = r[0].MemberEpoch
	}
}

// consumerTopics is topics that come, grow, go and come again under a group that
// reads them.
func consumerTopics(d *dialogue) {
	const group = "topics come and go"
	ids := d.newTopic("come", 2)
	instantly(d, group)
	a := &consumerMember{d: d, group: group, id: "t1", topic: ids, version: 1, names: []string{"come", "and-go"}}
	a.beat("joins for a topic and one to come")
	describeConsumers(d, "one is not there", group)
	d.newTopic("and-go", 2)
	a.until("the other is there", 3)
	describeConsumers(d, "both", group)
	d.grow("come", 4)
	a.until("it has grown", 4)
	describeConsumers(d, "grown", group)
	d.deleteTopic("and-go")
	a.until("the other is gone", 5)
	describeConsumers(d, "gone", group)
	a.owned = []int32{0, 1, 2, 3}
	a.beatWhole("owns what is left")
	describeConsumers(d, "what is left", group)
	d.newTopic("and-go", 1)
	a.until("the other is there again", 6)
	describeConsumers(d, "both again", group)
	committing{group, "come", ids, "t1", a.epoch}.commits(d, "at the end")
	del := &member{d: d, v: groupVersions{9, 5, 4, 5, 9, 9}, group: group}
	del.deleteOffset("delete an offset of a subscribed topic", "come")
	d.deleteTopic("come")
	a.until("one is gone", 7)
	a.owned = []int32{}
	a.beatWhole("gave up what is gone")
	d.deleteTopic("and-go")
	a.until("all are gone", 8)
	describeConsumers(d, "nothing left", group)
	a.as("leaves", -1, nil)
}

// consumerVotes is members who ask for different assignors, and change what else
// there is to change.
func consumerVotes(d *dialogue) {
	const group, topic = "voters", "voted"
	ids := d.newTopic(topic, 4)
	instantly(d, group)
	all := make([]*consumerMember, 4)
	for i, assignor := range []string{"range", "range", "uniform", "uniform"} {
		m := &consumerMember{d: d, group: group, id: fmt.Sprint("v", i), topic: ids, version: 1, names: []string{topic}, assignor: &assignor}
		m.beat("joins with " + assignor)
		describeConsumers(d, fmt.Sprint(i+1, " members"), group)
		all[i] = m
	}
	all[1].as("leaves", -1, nil)
	describeConsumers(d, "the other has the majority", group)
	for _, change := range []struct {
		what string
		do   func(*msg.ConsumerGroupHeartbeatRequest)
	}{
		{"another rack", func(r *msg.ConsumerGroupHeartbeatRequest) { r.RackID = ptr("elsewhere") }},
		{"an empty rack", func(r *msg.ConsumerGroupHeartbeatRequest) { r.RackID = ptr("") }},
		{"another time to rebalance", func(r *msg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMs = 1000 }},
		{"an odd time to rebalance", func(r *msg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMs = -5 }},
		{"no time to rebalance", func(r *msg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMs = 0 }},
		{"time again", func(r *msg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMs = 60000 }},
		{"an instance", func(r *msg.ConsumerGroupHeartbeatRequest) { r.InstanceID = ptr("late") }},
		{"a topic twice", func(r *msg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{topic, topic} }},
		{"a topic more", func(r *msg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{topic, "none"} }},
		{"no name of a topic", func(r *msg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = []string{"", "a b", ".."} }},
		{"an empty pattern", func(r *msg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = ptr("") }},
		{"an empty assignor", func(r *msg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("") }},
		{"an assignor in capitals", func(r *msg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = ptr("UNIFORM") }},
		{"what it does not have", func(r *msg.ConsumerGroupHeartbeatRequest) {
			r.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{{Partitions: []int32{5}}}
		}},
	} {
		m := all[0]
		r := ask[msg.ConsumerGroupHeartbeatResponse](d, change.what, 1, func(int) msg.Request {
			req := msg.NewConsumerGroupHeartbeatRequest()
			req.GroupID, req.MemberID, req.MemberEpoch = group, m.id, m.epoch
			change.do(&req)
			return &req
		})
		if r[0].ErrorCode == 0 {
			m.epoch = r[0].MemberEpoch
		}
		describeConsumers(d, change.what, group)
	}
}

// consumerLate is a member that does not give up what it is told to, and one whose
// session ends.
func consumerLate(d *dialogue) {
	const group, topic = "latecomers", "late"
	ids := d.newTopic(topic, 2)
	instantly(d, group)
	a := &consumerMember{d: d, group: group, id: "l1", topic: ids, version: 1, names: []string{topic}}
	b := &consumerMember{d: d, group: group, id: "l2", topic: ids, version: 1, names: []string{topic}}
	a.beat("joins")
	ask[msg.ConsumerGroupHeartbeatResponse](d, "a short time to rebalance", 1, func(int) msg.Request {
		req := msg.NewConsumerGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMs = group, "l1", a.epoch, 300
		return &req
	})
	b.beat("another joins")
	a.beat("has to give up")
	describe := msg.NewConsumerGroupDescribeRequest()
	describe.GroupIDs = []string{group}
	began := time.Now()
	await(d, 1, same(&describe), func(r *msg.ConsumerGroupDescribeResponse) bool { return len(r.Groups[0].Members) == 1 })
	if took := time.Since(began); took > 10*time.Second {
		d.t.Errorf("the late member was out after %v", took)
	}
	describeConsumers(d, "it was too late", group)
	a.as("too late", a.epoch, nil)
	b.beat("gets all")
	b.as("leaves", -1, nil)
}
