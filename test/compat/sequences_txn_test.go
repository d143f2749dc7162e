//go:build compat

package compat

import (
	"fmt"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// transactor is one transactional id in a conversation: what each broker made of
// it.
type transactor struct {
	*dialogue
	id    string
	topic string
	who   [2]*msg.InitProducerIDResponse
	next  int32 // sequence
}

func newTransactor(d *dialogue, id string) *transactor {
	d.t.Helper()
	d.newTopic(id, 3)
	x := &transactor{dialogue: d, id: id, topic: id}
	for i, p := range d.peers {
		var err error
		if x.who[i], err = p.Producer(id); err != nil {
			d.t.Fatal(err)
		}
	}
	return x
}

// send produces one batch with the producer's epoch moved by so much.
func (x *transactor) send(step string, version int16, partition int32, moved int16, seq int32) {
	x.t.Helper()
	ask[msg.ProduceResponse](x.dialogue, step, version, func(i int) msg.Request {
		b := wirecmp.InTransaction(wirecmp.Batch(2), x.who[i].ProducerID, x.who[i].ProducerEpoch+moved, seq)
		r := produce(x.topic, b)
		r.TransactionalID, r.Acks = &x.id, -1
		r.TopicData[0].PartitionData[0].Index = partition
		return r
	})
}

func (x *transactor) add(step string, version int16, moved int16, partitions ...int32) {
	x.t.Helper()
	ask[msg.AddPartitionsToTxnResponse](x.dialogue, step, version, func(i int) msg.Request {
		r := msg.NewAddPartitionsToTxnRequest()
		topics := []msg.AddPartitionsToTxnRequestTopic{{Name: x.topic, Partitions: partitions}}
		r.V3AndBelowTransactionalID, r.V3AndBelowProducerID, r.V3AndBelowProducerEpoch = x.id, x.who[i].ProducerID, x.who[i].ProducerEpoch+moved
		r.V3AndBelowTopics = topics
		r.Transactions = []msg.AddPartitionsToTxnRequestTransaction{{TransactionalID: x.id, ProducerID: x.who[i].ProducerID,
			ProducerEpoch: x.who[i].ProducerEpoch + moved, VerifyOnly: version == 5, Topics: topics}}
		return &r
	})
}

// end ends the transaction, and waits until that is complete.
func (x *transactor) end(step string, version int16, moved int16, commit bool) {
	x.t.Helper()
	ask[msg.EndTxnResponse](x.dialogue, step, version, func(i int) msg.Request {
		return &msg.EndTxnRequest{TransactionalID: x.id, ProducerID: x.who[i].ProducerID, ProducerEpoch: x.who[i].ProducerEpoch + moved, Committed: commit}
	})
	for _, p := range x.peers {
		settled(x.t, p, x.id)
	}
	ask[msg.DescribeTransactionsResponse](x.dialogue, step+", described", 0, same(&msg.DescribeTransactionsRequest{TransactionalIDs: []string{x.id}}))
}

// settled waits until an id's transaction is not being ended.
func settled(t *testing.T, p *wirecmp.Peer, id string) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); {
		var r msg.DescribeTransactionsResponse
		if err := p.Do(&msg.DescribeTransactionsRequest{TransactionalIDs: []string{id}}, 0, &r); err != nil {
			t.Fatal(err)
		}
		if s := r.TransactionStates[0].TransactionState; s != "PrepareCommit" && s != "PrepareAbort" {
			return
		}
	}
	t.Fatalf("%s: the transaction of %s never ends", p.Name, id)
}

func (x *transactor) offsets(step string) {
	x.t.Helper()
	for _, isolation := range []int8{0, 1} {
		ask[msg.ListOffsetsResponse](x.dialogue, fmt.Sprintf("%s, end at isolation %d", step, isolation), 6, func(int) msg.Request {
			r := listOffsets(x.topic, 0, -1)
			r.IsolationLevel = isolation
			return r
		})
	}
}

func (x *transactor) init(step string, version int16, had func(i int) (int64, int16)) [2]*msg.InitProducerIDResponse {
	x.t.Helper()
	return ask[msg.InitProducerIDResponse](x.dialogue, step, version, func(i int) msg.Request {
		r := msg.NewInitProducerIDRequest()
		r.TransactionalID, r.TransactionTimeoutMs = &x.id, 60000
		if had != nil {
			r.ProducerID, r.ProducerEpoch = had(i)
		}
		return &r
	})
}

// Clients with an epoch for each transaction.
func newerTransactions(d *dialogue) {
	x := newTransactor(d, "tx-new")
	x.send("first batch", 12, 0, 0, 0)
	x.send("second batch", 12, 0, 0, 2)
	x.send("duplicate", 12, 0, 0, 2)
	x.send("another partition, not from 0", 12, 1, 0, 5)
	x.send("another partition", 12, 1, 0, 0)
	x.send("another epoch", 12, 0, 3, 0)
	x.offsets("open")
	x.end("older epoch", 5, -1, true)
	x.end("commit", 5, 0, true)
	x.offsets("committed")
	x.end("commit repeated", 5, 0, true)
	x.end("other outcome repeated", 5, 0, false)
	x.end("commit of nothing", 5, 1, true)
	x.send("epoch before", 12, 0, 0, 4)
	x.send("next transaction", 12, 0, 1, 0)
	x.end("late commit", 5, 0, true)
	x.end("abort", 5, 1, false)
	x.end("abort of nothing", 5, 2, false)
	x.send("third transaction", 12, 0, 3, 0)
	x.offsets("third")
	x.init("another producer", 5, nil)
	for _, p := range x.peers {
		settled(x.t, p, x.id)
	}
	x.end("fenced commit", 5, 3, true)
	x.init("again", 5, nil)
	x.send("fenced", 12, 0, 3, 2)
	ask[msg.DescribeProducersResponse](d, "producers", 0, same(&msg.DescribeProducersRequest{
		Topics: []msg.DescribeProducersRequestTopic{{Name: x.topic, PartitionIndexes: []int32{0, 1}}}}))
}

// Clients with one epoch for all transactions.
func olderTransactions(d *dialogue) {
	for v := int16(3); v <= 11; v += 4 {
		x := newTransactor(d, fmt.Sprint("tx-old-", v))
		x.send("not added", v, 0, 0, 0)
		x.add("add", min(3, v-3), 0, 0)
		x.add("add again", 3, 0, 0, 1)
		x.add("verify", 5, 0, 0, 2)
		x.add("older epoch", 1, -1, 0)
		x.add("older epoch, newer version", 3, -1, 0)
		x.add("newer epoch", 3, 1, 0)
		x.add("no such partition", 3, 0, 0, 7)
		x.send("added", v, 0, 0, 0)
		x.send("not added, either", v, 2, 0, 0)
		x.offsets("open")
		x.end("commit", 4, 0, true)
		x.end("commit repeated", 4, 0, true)
		x.end("abort", 3, 0, false)
		x.end("older epoch", 1, -1, true)
		x.add("next", 3, 0, 0)
		x.send("next", v, 0, 0, 2)
		x.end("abort of the next", 0, 0, false)
		x.offsets("aborted")
		ask[msg.FetchResponse](d, fmt.Sprint("fetch ", v), 11, func(int) msg.Request {
			r := msg.NewFetchRequest()
			r.MaxWaitMs, r.MaxBytes, r.IsolationLevel, r.SessionEpoch = 100, 1<<20, 1, -1
			p := msg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
			r.Topics = []msg.FetchRequestTopic{{Topic: x.topic, Partitions: []msg.FetchRequestTopicPartition{p}}}
			return &r
		})
	}
}

// Producers that recover their epoch (KIP-360).
func recoveringProducers(d *dialogue) {
	x := newTransactor(d, "tx-rec")
	had := func(moved int16) func(i int) (int64, int16) {
		return func(i int) (int64, int16) { return x.who[i].ProducerID, x.who[i].ProducerEpoch + moved }
	}
	x.init("recover", 4, had(0))
	x.init("asked again", 4, had(0))
	x.init("from the newest", 4, had(1))
	x.init("from long ago", 4, had(0))
	x.init("from long ago, older version", 3, had(0))
	x.init("from the future", 4, had(9))
	x.init("another producer's", 4, func(int) (int64, int16) { return 1 << 40, 0 })
	x.init("anew", 4, nil)
	x.init("from before", 4, had(2))
	for _, ms := range []int32{0, -1, 900001} {
		ask[msg.InitProducerIDResponse](d, fmt.Sprint("timeout ", ms), 4, func(int) msg.Request {
			r := msg.NewInitProducerIDRequest()
			r.TransactionalID, r.TransactionTimeoutMs = &x.id, ms
			return &r
		})
	}
}
