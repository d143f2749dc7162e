package group

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// txnCommit commits an offset in a transaction.
func (c *crowd) txnCommit() {
	r := msg.NewTxnOffsetCommitRequest()
	r.GroupID, r.MemberID, r.GroupInstanceID, r.GenerationIDOrMemberEpoch = c.who()
	r.TransactionalID, r.ProducerID = "x", rapid.Int64Range(1, 3).Draw(c.T, "producer")
	r.Topics = []msg.TxnOffsetCommitRequestTopic{{Name: "t", Partitions: []msg.TxnOffsetCommitRequestTopicPartition{{
		PartitionIndex: rapid.Int32Range(0, 2).Draw(c.T, "partition"), CommittedOffset: rapid.Int64Range(10, 99).Draw(c.T, "offset"),
	}}}}
	c.send(&r, rapid.SampledFrom([]int16{2, 3, 5}).Draw(c.T, "version"))
}

// mark ends a transaction; nobody waits for it.
func (c *crowd) mark() {
	m := coordinator.Marker{ProducerID: rapid.Int64Range(1, 3).Draw(c.T, "producer"), Commit: rapid.Bool().Draw(c.T, "commit")}
	c.Logf("%+v", m)
	ch := make(chan msg.Response, 1)
	go func() {
		_ = c.s.CompleteTxn(c.ctx, 0, m)
		ch <- nil
	}()
	c.waiting = append(c.waiting, ch)
}

// endAll ends what transactions there are, after which nothing is pending.
func (c *crowd) endAll() {
	for producer := range int64(4) {
		if err := c.s.CompleteTxn(c.ctx, 0, coordinator.Marker{ProducerID: producer}); err != nil {
			c.Fatalf("a marker: %v", err)
		}
	}
	if left := c.live.Load().pending; len(left.txns) > 0 || len(left.byGroup) > 0 {
		c.Fatalf("all transactions are over, and %+v is left", left)
	}
}

// whose is the place of one offset.
type whose struct {
	group string
	tp    kafka.TopicPartition
}

// offsetsByLog says what is committed by reading the log as one who knows how it
// ends: of a partition's offsets the last one in the log counts, unless it stands
// in a transaction that was rolled back or is open, or was deleted behind.
func offsetsByLog(t testing.TB, log *slicelog.Log) map[whose]int64 {
	type commit struct {
		key     whose
		value   int64
		deletes bool
		txn     int64 // producer, 0: none
		fate    bool  // counts
	}
	var all []commit
	var in record.Reader
	for _, b := range log.Batches() {
		h, err := record.Check(b)
		if err != nil {
			t.Fatal(err)
		}
		for in.Reset(b, record.DefaultLimit); in.Next(); {
			r := in.Record()
			if h.Attributes.Has(record.Control) {
				typ, _, err := record.ParseEndTxnMarker(r)
				if err != nil {
					t.Fatal(err)
				}
				for i := range all {
					if all[i].txn == h.ProducerID {
						all[i].txn, all[i].fate = 0, typ == record.Commit
					}
				}
				continue
			}
			key, err := state.ParseKey(state.Group, r.Key)
			if err != nil {
				t.Fatal(err)
			}
			k, ok := key.(*state.OffsetCommitKey)
			if !ok {
				continue
			}
			c := commit{key: whose{k.Group, kafka.TopicPartition{Topic: k.Topic, Partition: k.Partition}}, deletes: r.Value == nil, fate: true}
			if h.Attributes.Has(record.Transactional) {
				c.txn, c.fate = h.ProducerID, false
			}
			if r.Value != nil {
				o, err := parseOffset(r.Value)
				if err != nil {
					t.Fatal(err)
				}
				c.value = o.Offset
			}
			all = append(all, c)
		}
	}
	out := map[whose]int64{}
	for _, c := range all {
		switch {
		case c.deletes:
			delete(out, c.key)
		case c.fate:
			out[c.key] = c.value
		}
	}
	return out
}

// compareOffsets asks for all offsets and wants those that the committed part of the
// log says. A coordinator that is loading knows none.
func (c *crowd) compareOffsets() {
	want := offsetsByLog(c.t, c.log.Upto(c.log.Durable()))
	n := 0
	for _, g := range groups {
		resp := c.s.Fetch(c.ctx, Client{Version: 9}, &msg.OffsetFetchRequestGroup{GroupID: g, MemberEpoch: -1}, false)
		if resp.ErrorCode != 0 {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				k := whose{g, kafka.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}}
				if o, ok := want[k]; !ok || o != p.CommittedOffset {
					c.Fatalf("%s %v: the offset is %d, the log says %d (%v)", g, k.tp, p.CommittedOffset, o, ok)
				}
				n++
			}
		}
	}
	if n != len(want) {
		c.Fatalf("%d offsets are told, the log has %d: %v", n, len(want), want)
	}
}

// consumerBeat is a heartbeat of the consumer protocol, most often as it should
// be: of who joined with the epoch that it knows, or of who joins or leaves.
func (c *crowd) consumerBeat() {
	r := msg.NewConsumerGroupHeartbeatRequest()
	r.GroupID = rapid.SampledFrom(groups).Draw(c.T, "group")
	r.MemberID = rapid.SampledFrom([]string{"c1", "c2"}).Draw(c.T, "consumer")
	who := r.GroupID + " " + r.MemberID
	r.MemberEpoch = c.epochs[who]
	switch rapid.IntRange(0, 5).Draw(c.T, "how") {
	case 0:
		r.MemberEpoch = 0
	case 1:
		r.MemberEpoch = -1
	}
	if r.MemberEpoch == 0 {
		r.RebalanceTimeoutMs, r.SubscribedTopicNames = 10000, []string{"t"}
		r.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	} else if r.MemberEpoch > 0 && rapid.Bool().Draw(c.T, "owns") {
		r.TopicPartitions = c.owned[who]
	}
	c.Logf("beat %s", show(&r))
	out := make(chan msg.Response, 1)
	ch := c.told(&r, (&local{t: c.t, s: c.s, ctx: c.ctx}).send(&r, 1))
	go func() { out <- beaten{<-ch, who} }()
	c.waiting = append(c.waiting, out)
}

// beaten carries the answer to a heartbeat with who sent it.
type beaten struct {
	msg.Response
	who string
}

func (c *crowd) beaten(b beaten) {
	r := b.Response.(*msg.ConsumerGroupHeartbeatResponse)
	c.epochs[b.who] = max(0, r.MemberEpoch)
	if r.Assignment == nil {
		return
	}
	c.owned[b.who] = nil
	for _, tp := range r.Assignment.TopicPartitions {
		c.owned[b.who] = append(c.owned[b.who], msg.ConsumerGroupHeartbeatRequestTopicPartition(tp))
	}
}
