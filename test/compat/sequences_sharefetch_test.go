//go:build compat

package compat

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// shareReader is one member of a share group as its client knows it.
type shareReader struct {
	d           *dialogue
	v           int16
	group, name string
	epoch       int32
	ids         [2]kafka.UUID
}

type shareAcks = []msg.ShareFetchRequestTopicPartitionAcknowledgementBatch

// say is what a member says of records.
func say(first, last int64, types ...int8) shareAcks {
	return shareAcks{{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}}
}

// fetching builds a fetch of partitions 0 to n-1, with acknowledgements for
// partition 0.
func (s *shareReader) fetching(epoch int32, n int32, acks shareAcks, change func(*msg.ShareFetchRequest)) func(int) msg.Request {
	return func(i int) msg.Request {
		r := msg.NewShareFetchRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch = &s.group, &s.name, epoch
		r.MaxWaitMs, r.MinBytes, r.MaxBytes, r.MaxRecords, r.BatchSize = 300, 1, 1<<20, 500, 500
		t := msg.ShareFetchRequestTopic{TopicID: s.ids[i]}
		for p := range n {
			t.Partitions = append(t.Partitions, msg.ShareFetchRequestTopicPartition{PartitionIndex: p})
		}
		if n > 0 {
			t.Partitions[0].AcknowledgementBatches = acks
			r.Topics = append(r.Topics, t)
		}
		if change != nil {
			change(&r)
		}
		for j := range r.ForgottenTopicsData {
			r.ForgottenTopicsData[j].TopicID = s.ids[i]
		}
		return &r
	}
}

func (s *shareReader) fetch(step string, n int32, acks shareAcks, change func(*msg.ShareFetchRequest)) {
	s.d.t.Helper()
	ask[msg.ShareFetchResponse](s.d, s.name+" "+step, s.v, s.fetching(s.epoch, n, acks, change))
	s.epoch++
}

func (s *shareReader) ack(step string, acks shareAcks, renew bool) {
	s.d.t.Helper()
	ask[msg.ShareAcknowledgeResponse](s.d, s.name+" "+step, s.v, func(i int) msg.Request {
		r := msg.NewShareAcknowledgeRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch, r.IsRenewAck = &s.group, &s.name, s.epoch, renew
		p := msg.ShareAcknowledgeRequestTopicPartition{}
		for _, a := range acks {
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, msg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(a))
		}
		r.Topics = []msg.ShareAcknowledgeRequestTopic{{TopicID: s.ids[i], Partitions: []msg.ShareAcknowledgeRequestTopicPartition{p}}}
		return &r
	})
	s.epoch++
}

// sharing makes a topic with batches of 3, 4 and 2 records, and two members of
// a group that reads it. The records were handed out once and given back.
func sharing(d *dialogue, version int16, group string) (a, b *shareReader) {
	topic := "of-" + group
	ids := d.newTopic(topic, 1)
	for _, n := range []int{3, 4, 2} {
		ask[msg.ProduceResponse](d, "produce", 9, same(produce(topic, wirecmp.Batch(n))))
	}
	alter := msg.NewIncrementalAlterConfigsRequest()
	alter.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 32, ResourceName: group,
		Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: ptr("earliest")}}}}
	ask[msg.IncrementalAlterConfigsResponse](d, "settings", 1, same(&alter))
	find := msg.NewFindCoordinatorRequest()
	find.CoordinatorKeys = []string{group}
	await(d, 4, same(&find), func(r *msg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	epochs := [2]int32{}
	await(d, 1, func(i int) msg.Request {
		r := msg.NewShareGroupHeartbeatRequest()
		r.GroupID, r.MemberID, r.MemberEpoch, r.SubscribedTopicNames = group, "waits", epochs[i], []string{topic}
		return &r
	}, func(r *msg.ShareGroupHeartbeatResponse) bool { return r.ErrorCode == 0 })
	w := &shareReader{d: d, v: version, group: group, name: "waits", ids: ids}
	apart := func(r *msg.ShareFetchRequest) { r.BatchSize = 1 } // so that what is one in the log stays one
	await(d, version, w.fetching(0, 1, nil, apart), func(r *msg.ShareFetchResponse) bool {
		return len(r.Responses) > 0 && len(r.Responses[0].Partitions[0].AcquiredRecords) > 0
	})
	w.epoch = -1
	w.fetch("ends", 0, nil, nil)
	return &shareReader{d: d, v: version, group: group, name: "a", ids: ids}, &shareReader{d: d, v: version, group: group, name: "b", ids: ids}
}

func shareRecords(d *dialogue, version int16) {
	a, b := sharing(d, version, fmt.Sprintf("sharers-%d", version))
	few := func(n int32) func(*msg.ShareFetchRequest) {
		return func(r *msg.ShareFetchRequest) { r.MaxRecords = n }
	}
	a.fetch("opens", 1, nil, few(2))
	b.fetch("opens", 1, nil, func(r *msg.ShareFetchRequest) { r.BatchSize = 2 })
	a.fetch("finds nothing", 0, nil, nil)
	a.ack("accepts", say(0, 0, 1), false)
	a.ack("accepts again", say(0, 0, 1), false)
	a.ack("rejects another's", say(3, 3, 3), false)
	a.ack("beyond", say(0, 99, 1), false)
	a.ack("behind the end", say(99, 99, 1), false)
	a.ack("backwards", say(2, 1, 1), false)
	a.ack("too few types", say(1, 2, 1), false)
	a.ack("no types", say(1, 2), false)
	a.ack("unknown type", say(1, 1, 9), false)
	a.ack("negative type", say(1, 1, -1), false)
	a.ack("renews unsaid", say(1, 1, 4), false)
	if version >= 2 {
		a.ack("renews", say(1, 1, 4), true)
		idle := func(r *msg.ShareFetchRequest) {
			r.IsRenewAck, r.MaxBytes, r.MinBytes, r.MaxRecords, r.MaxWaitMs, r.BatchSize = true, 0, 0, 0, 0, 0
		}
		a.fetch("renews", 1, say(1, 1, 4), idle)
		a.fetch("renews and asks", 1, say(1, 1, 4), func(r *msg.ShareFetchRequest) { r.IsRenewAck = true })
		a.epoch--
	}
	b.ack("each its own", say(3, 6, 1, 2, 3, 0), false)
	a.fetch("takes over", 0, nil, nil)
	a.fetch("with acks", 1, say(1, 1, 1), few(1))
	a.fetch("with wrong acks", 1, say(0, 20, 1), few(1))
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, wirecmp.Batch(10))))
	if version >= 2 {
		a.fetch("record limit", 0, nil, func(r *msg.ShareFetchRequest) { r.ShareAcquireMode, r.MaxRecords = 1, 3 })
		b.fetch("the rest", 0, nil, nil)
		a.fetch("unknown mode", 0, nil, func(r *msg.ShareFetchRequest) { r.ShareAcquireMode = 7 })
	}
	b.epoch = -1
	b.ack("ends", say(8, 8, 2), false)
	a.fetch("inherits", 0, nil, nil)
	a.epoch = -1
	a.fetch("ends", 1, say(8, 8, 1), nil)
	a.fetch("has ended", 0, nil, nil)
}

func shareSessions(d *dialogue) {
	a, b := sharing(d, 2, "sharers-sessions")
	a.epoch = 4
	a.fetch("out of nowhere", 1, nil, nil)
	a.epoch = -1
	a.fetch("ends nothing", 0, nil, nil)
	a.epoch = 2
	a.ack("says without a session", say(0, 0, 1), false)
	a.epoch = 0
	a.ack("begins by saying", say(0, 0, 1), false)
	a.epoch = 0
	a.fetch("begins and says", 1, say(0, 0, 1), nil)
	a.epoch = 0
	a.fetch("twice", 1, nil, func(r *msg.ShareFetchRequest) {
		t := &r.Topics[0]
		t.Partitions = append(t.Partitions, t.Partitions[0])
	})
	a.epoch = 0
	a.fetch("no member", 1, nil, func(r *msg.ShareFetchRequest) { r.MemberID = nil })
	a.epoch = 0
	a.fetch("no group", 1, nil, func(r *msg.ShareFetchRequest) { r.GroupID = nil })
	a.epoch = 0
	a.fetch("unknown topic", 1, nil, func(r *msg.ShareFetchRequest) { r.Topics[0].TopicID = kafka.UUID{9} })
	a.epoch = 0
	a.fetch("unknown partition", 1, nil, func(r *msg.ShareFetchRequest) { r.Topics[0].Partitions[0].PartitionIndex = 9 })
	a.epoch = 1
	a.fetch("is told again", 0, nil, nil)
	a.fetch("forgets it", 0, nil, func(r *msg.ShareFetchRequest) {
		r.ForgottenTopicsData = []msg.ShareFetchRequestForgottenTopicsData{{Partitions: []int32{9}}}
	})
	a.epoch = 9
	a.fetch("skips", 0, nil, nil)
	b.fetch("opens", 1, nil, nil)
	b.epoch = 0
	b.fetch("opens anew", 1, nil, nil)
	b.fetch("says and forgets", 1, say(0, 2, 1), func(r *msg.ShareFetchRequest) {
		r.ForgottenTopicsData = []msg.ShareFetchRequestForgottenTopicsData{{Partitions: []int32{0}}}
	})
}

func shareLimits(d *dialogue) {
	a, _ := sharing(d, 2, "sharers-limits")
	for name, change := range map[string]func(*msg.ShareFetchRequest){
		"no records":       func(r *msg.ShareFetchRequest) { r.MaxRecords = 0 },
		"negative records": func(r *msg.ShareFetchRequest) { r.MaxRecords = -1 },
		"no bytes":         func(r *msg.ShareFetchRequest) { r.MaxBytes = 0 },
		"no time":          func(r *msg.ShareFetchRequest) { r.MaxWaitMs, r.MinBytes = 0, 1<<30 },
		"negative time":    func(r *msg.ShareFetchRequest) { r.MaxWaitMs = -1 },
		"no batch size":    func(r *msg.ShareFetchRequest) { r.BatchSize = 0 },
	} {
		a.epoch = 0
		a.fetch(name, 1, nil, change)
		a.epoch = -1
		a.fetch("ends after "+name, 0, nil, nil)
	}
}
