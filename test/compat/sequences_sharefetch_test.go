//go:build compat

package compat

import (
	"fmt"
	"maps"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// shareReader is one member of a share group as its client knows it. Where it
// takes more requests with one broker than with the other, the epochs of its two
// sessions go apart.
type shareReader struct {
	d           *dialogue
	v           int16
	group, name string
	epoch       [2]int32
	ids         [2]kafka.UUID
	lock        int32 // share.record.lock.duration.ms as it was set last
}

// at sets the epoch of the next request.
func (s *shareReader) at(epoch int32) { s.epoch = [2]int32{epoch, epoch} }

// next is the epoch of a broker's next request.
func (s *shareReader) next(i int) int32 {
	s.epoch[i]++
	return s.epoch[i] - 1
}

type shareAcks = []msg.ShareFetchRequestTopicPartitionAcknowledgementBatch

// say is what a member says of records.
func say(first, last int64, types ...int8) shareAcks {
	return shareAcks{{FirstOffset: first, LastOffset: last, AcknowledgeTypes: types}}
}

// fetching builds a fetch of partitions 0 to n-1, with acknowledgements for
// partition 0.
func (s *shareReader) fetching(epoch func(i int) int32, n int32, acks shareAcks, change func(*msg.ShareFetchRequest)) func(int) msg.Request {
	return func(i int) msg.Request {
		r := msg.NewShareFetchRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch = &s.group, &s.name, epoch(i)
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
	ask[msg.ShareFetchResponse](s.d, s.name+" "+step, s.v, s.fetching(s.next, n, acks, change))
}

// gather fetches until it has got so many records from each broker, and compares
// which they were and how often they were delivered. It is for records whose
// session ended: Kafka gives those back some time after it has answered.
func (s *shareReader) gather(step string, records int, change func(*msg.ShareFetchRequest)) {
	s.d.t.Helper()
	var got [2]map[int64]int16
	i := 0
	build := s.fetching(s.next, 1, nil, change)
	await(s.d, s.v, func(at int) msg.Request {
		i = at
		return build(at)
	}, func(r *msg.ShareFetchResponse) bool {
		if got[i] == nil {
			got[i] = map[int64]int16{}
		}
		for _, t := range r.Responses {
			for _, a := range t.Partitions[0].AcquiredRecords {
				for o := a.FirstOffset; o <= a.LastOffset; o++ {
					got[i][o] = a.DeliveryCount
				}
			}
		}
		return len(got[i]) >= records
	})
	if !maps.Equal(got[0], got[1]) {
		s.d.t.Errorf("ShareFetch v%d [%s: %s %s] deliveries by offset: %v | %v", s.v, s.d.name, s.name, step, got[0], got[1])
	}
	*s.d.answers++
}

func (s *shareReader) ack(step string, acks shareAcks, renew bool) {
	s.d.t.Helper()
	ask[msg.ShareAcknowledgeResponse](s.d, s.name+" "+step, s.v, func(i int) msg.Request {
		r := msg.NewShareAcknowledgeRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch, r.IsRenewAck = &s.group, &s.name, s.next(i), renew
		p := msg.ShareAcknowledgeRequestTopicPartition{}
		for _, a := range acks {
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, msg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch(a))
		}
		r.Topics = []msg.ShareAcknowledgeRequestTopic{{TopicID: s.ids[i], Partitions: []msg.ShareAcknowledgeRequestTopicPartition{p}}}
		return &r
	})
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
		Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: ptr("earliest")},
			{Name: "share.record.lock.duration.ms", Value: ptr("60000")}}}} // longer than a conversation on a busy machine
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
	await(d, version, w.fetching(func(int) int32 { return 0 }, 1, nil, apart), func(r *msg.ShareFetchResponse) bool {
		return len(r.Responses) > 0 && len(r.Responses[0].Partitions[0].AcquiredRecords) > 0
	})
	w.at(1)
	w.ack("gives back", say(0, 8, 2), false)
	w.at(-1)
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
		a.at(a.epoch[0] - 1)
	}
	b.ack("each its own", say(3, 6, 1, 2, 3, 0), false)
	a.fetch("takes over", 0, nil, nil)
	a.fetch("with acks", 1, say(1, 1, 1), few(1))
	a.fetch("with wrong acks", 1, say(0, 20, 1), few(1))
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, wirecmp.Batch(10))))
	left := 12 // what b has, and what is new
	if version >= 2 {
		left = 9
		a.fetch("record limit", 0, nil, func(r *msg.ShareFetchRequest) { r.ShareAcquireMode, r.MaxRecords = 1, 3 })
		b.fetch("the rest", 0, nil, nil)
		a.fetch("unknown mode", 0, nil, func(r *msg.ShareFetchRequest) { r.ShareAcquireMode = 7 })
	}
	b.at(-1)
	b.ack("ends", say(8, 8, 2), false)
	a.gather("inherits", left, nil)
	a.at(-1)
	a.fetch("ends", 1, say(8, 8, 1), nil)
	a.fetch("has ended", 0, nil, nil)
}

func shareSessions(d *dialogue) {
	a, b := sharing(d, 2, "sharers-sessions")
	a.at(4)
	a.fetch("out of nowhere", 1, nil, nil)
	a.at(-1)
	a.fetch("ends nothing", 0, nil, nil)
	a.at(2)
	a.ack("says without a session", say(0, 0, 1), false)
	a.at(0)
	a.ack("begins by saying", say(0, 0, 1), false)
	a.at(0)
	a.fetch("begins and says", 1, say(0, 0, 1), nil)
	a.at(0)
	a.fetch("twice", 1, nil, func(r *msg.ShareFetchRequest) {
		t := &r.Topics[0]
		t.Partitions = append(t.Partitions, t.Partitions[0])
	})
	a.at(0)
	a.fetch("no member", 1, nil, func(r *msg.ShareFetchRequest) { r.MemberID = nil })
	a.at(0)
	a.fetch("no group", 1, nil, func(r *msg.ShareFetchRequest) { r.GroupID = nil })
	a.at(0)
	a.fetch("unknown topic", 1, nil, func(r *msg.ShareFetchRequest) { r.Topics[0].TopicID = kafka.UUID{9} })
	a.at(0)
	a.fetch("unknown partition", 1, nil, func(r *msg.ShareFetchRequest) { r.Topics[0].Partitions[0].PartitionIndex = 9 })
	a.at(1)
	a.fetch("is told again", 0, nil, nil)
	a.fetch("forgets it", 0, nil, func(r *msg.ShareFetchRequest) {
		r.ForgottenTopicsData = []msg.ShareFetchRequestForgottenTopicsData{{Partitions: []int32{9}}}
	})
	a.at(9)
	a.fetch("skips", 0, nil, nil)
	b.fetch("opens", 1, nil, nil)
	b.at(0)
	b.fetch("opens anew", 1, nil, nil)
	b.fetch("says and forgets", 1, say(0, 2, 1), func(r *msg.ShareFetchRequest) {
		r.ForgottenTopicsData = []msg.ShareFetchRequestForgottenTopicsData{{Partitions: []int32{0}}}
	})
}

func shareLimits(d *dialogue) {
	a, b := sharing(d, 2, "sharers-limits")
	for i, c := range []struct {
		name   string
		change func(*msg.ShareFetchRequest)
	}{
		{"no records", func(r *msg.ShareFetchRequest) { r.MaxRecords = 0 }},
		{"negative records", func(r *msg.ShareFetchRequest) { r.MaxRecords = -1 }},
		{"no bytes", func(r *msg.ShareFetchRequest) { r.MaxBytes = 0 }},
		{"no time", func(r *msg.ShareFetchRequest) { r.MaxWaitMs, r.MinBytes = 0, 1<<30 }},
		{"negative time", func(r *msg.ShareFetchRequest) { r.MaxWaitMs = -1 }},
		{"no batch size", func(r *msg.ShareFetchRequest) { r.BatchSize = 0 }},
	} {
		a.at(0)
		a.fetch(c.name, 1, nil, c.change)
		a.at(-1)
		a.fetch("ends after "+c.name, 0, nil, nil)
		first := int64(9 * i)
		b.gather("what is left after "+c.name, 9, nil)
		b.ack("accepts all after "+c.name, say(first, first+8, 1), false)
		for _, n := range []int{3, 4, 2} {
			ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, wirecmp.Batch(n))))
		}
	}
}

// shareAgain hands the same records out until the limit, in ever smaller parts,
// and takes some of them back when their lock runs out.
func shareAgain(d *dialogue) {
	a, b := sharing(d, 2, "sharers-again")
	a.lock = 60000
	a.setGroup("a limit", "share.delivery.count.limit", "4")
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, wirecmp.Batch(16))))
	a.fetch("opens", 1, nil, nil)
	a.ack("is done with the first", say(0, 8, 1), false)
	for round := range 24 {
		a.ack(fmt.Sprint("gives back ", round), say(9, 24, 2), false)
		rows := a.fetched(fmt.Sprint("gets again ", round))
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			a.ack(fmt.Sprint("gives back what it got ", round), say(r.FirstOffset, r.LastOffset, 2), false)
		}
	}
	a.at(-1)
	a.fetch("ends", 0, nil, nil)

	a.lock = 1001
	ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, wirecmp.Batch(4))))
	a.setGroup("a short lock", "share.delivery.count.limit", "2")
	a.at(0)
	a.fetch("has them a moment", 1, nil, nil)
	b.gather("gets them when the lock runs out", 4, nil)
	a.awaitDone()
	b.fetch("gets them no more", 0, nil, nil)
}

// fetched is fetch, and what Kafka gave.
func (s *shareReader) fetched(step string) []msg.ShareFetchResponseResponsePartitionAcquiredRecord {
	s.d.t.Helper()
	r := ask[msg.ShareFetchResponse](s.d, s.name+" "+step, s.v, s.fetching(s.next, 0, nil, nil))[1]
	if len(r.Responses) == 0 {
		return nil
	}
	return r.Responses[0].Partitions[0].AcquiredRecords
}

// shareCommitted is a group that reads what is committed.
func shareCommitted(d *dialogue) {
	a, _ := sharing(d, 2, "sharers-committed")
	a.lock = 60000
	a.setGroup("read committed", "share.isolation.level", "read_committed")
	x := newTransactor(d, "tx-sharers")
	x.topic = "of-" + a.group
	x.send("committed", 12, 0, 0, 0) // 9 and 10, with a marker at 11
	x.end("commit", 5, 0, true)
	x.send("aborted", 12, 0, 1, 0) // 12 and 13, with a marker at 14
	x.end("abort", 5, 1, false)
	ask[msg.ProduceResponse](d, "produce", 9, same(produce(x.topic, wirecmp.Batch(3)))) // 15 to 17
	x.send("open", 12, 0, 2, 0)                                                         // 18 and 19
	ask[msg.ProduceResponse](d, "produce", 9, same(produce(x.topic, wirecmp.Batch(1)))) // 20
	a.gather("gets what is committed", 16, nil)
	a.fetch("gets no more", 0, nil, nil)
	a.ack("says of aborted records", say(12, 13, 1), false)
	a.ack("says of the others", shareAcks{{FirstOffset: 0, LastOffset: 10, AcknowledgeTypes: []int8{1}},
		{FirstOffset: 11, LastOffset: 11, AcknowledgeTypes: []int8{0}}, {FirstOffset: 14, LastOffset: 17, AcknowledgeTypes: []int8{0, 1, 1, 1}}}, false)
	x.end("abort what is open", 5, 2, false) // marker at 21
	a.gather("gets what lay behind it", 2, nil)
	a.ack("says of the rest", say(20, 21, 1, 0), false)
	a.awaitDone()
}

// shareWindow is a group that may have so many records in flight.
func shareWindow(d *dialogue) {
	for _, mode := range []int8{0, 1} {
		a, b := sharing(d, 2, fmt.Sprintf("sharers-window-%d", mode))
		a.lock = 60000
		a.setGroup("a small window", "share.partition.max.record.locks", "100")
		how := func(records int32) func(*msg.ShareFetchRequest) {
			return func(r *msg.ShareFetchRequest) { r.ShareAcquireMode, r.MaxRecords, r.BatchSize = mode, records, 30 }
		}
		for range 12 {
			ask[msg.ProduceResponse](d, "produce", 9, same(produce("of-"+a.group, wirecmp.Batch(10)))) // 9 to 128
		}
		a.fetch("opens", 1, nil, how(95))
		b.fetch("opens", 1, nil, how(500))
		b.fetch("finds no room", 0, nil, how(500))
		a.ack("makes room in the middle", say(30, 49, 1), false)
		b.fetch("finds none yet", 0, nil, how(500))
		a.ack("makes room", say(0, 29, 1), false)
		b.fetch("finds some", 0, nil, how(7))
		b.fetch("finds more", 0, nil, how(500))
		a.ack("gives some back", say(60, 64, 2), false)
		b.fetch("gets those", 0, nil, how(500))
		a.ack("is done with the rest", shareAcks{{FirstOffset: 50, LastOffset: 59, AcknowledgeTypes: []int8{1}},
			{FirstOffset: 65, LastOffset: 94, AcknowledgeTypes: []int8{1}}}, false)
		b.fetch("gets what is left", 0, nil, how(500))
		a.fetch("finds nothing", 0, nil, how(500))
	}
}
