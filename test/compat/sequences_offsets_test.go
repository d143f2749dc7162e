//go:build compat

package compat

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/test/compat/wirecmp"
)

// txnOffset is a TxnOffsetCommit of one offset, as a case changes it.
func (x *transactor) txnOffset(step string, version int16, offset int64, change func(r *msg.TxnOffsetCommitRequest, i int)) {
	x.t.Helper()
	ask[msg.TxnOffsetCommitResponse](x.dialogue, fmt.Sprintf("%s, v%d", step, version), version, func(i int) msg.Request {
		r := msg.NewTxnOffsetCommitRequest()
		r.TransactionalID, r.GroupID = x.id, x.id
		r.ProducerID, r.ProducerEpoch = x.who[i].ProducerID, x.who[i].ProducerEpoch
		p := msg.NewTxnOffsetCommitRequestTopicPartition()
		p.CommittedOffset, p.CommittedMetadata = offset, ptr("meta")
		t := msg.TxnOffsetCommitRequestTopic{Name: wirecmp.Topic, Partitions: []msg.TxnOffsetCommitRequestTopicPartition{p}}
		if version >= 6 {
			t.TopicID = x.peers[i].TopicIDs[wirecmp.Topic]
		}
		r.Topics = []msg.TxnOffsetCommitRequestTopic{t}
		if change != nil {
			change(&r, i)
		}
		return &r
	})
}

// over ends the transaction, and waits until that is complete.
func (x *transactor) over(step string, version, moved int16, commit bool) {
	x.t.Helper()
	ask[msg.EndTxnResponse](x.dialogue, step, version, func(i int) msg.Request {
		return &msg.EndTxnRequest{TransactionalID: x.id, ProducerID: x.who[i].ProducerID, ProducerEpoch: x.who[i].ProducerEpoch + moved, Committed: commit}
	})
	for _, p := range x.peers {
		settled(x.t, p, x.id)
	}
}

// fetched asks for the offset, stable or not.
func (x *transactor) fetched(step string) {
	x.t.Helper()
	for _, stable := range []bool{false, true} {
		for _, all := range []bool{false, true} {
			g := msg.OffsetFetchRequestGroup{GroupID: x.id, MemberEpoch: -1}
			if !all {
				g.Topics = []msg.OffsetFetchRequestGroupTopic{{Name: wirecmp.Topic, PartitionIndexes: []int32{0, 1}}}
			}
			ask[msg.OffsetFetchResponse](x.dialogue, fmt.Sprintf("%s, stable %v, all %v", step, stable, all), 9,
				same(&msg.OffsetFetchRequest{RequireStable: stable, Groups: []msg.OffsetFetchRequestGroup{g}}))
		}
	}
}

// Offsets in transactions of clients with an epoch for each.
func newerOffsets(d *dialogue) {
	type R = *msg.TxnOffsetCommitRequest
	for v := int16(5); v <= 6; v++ {
		x := newTransactor(d, fmt.Sprint("tx-off-new-", v))
		x.txnOffset("first", v, 5, nil)
		x.fetched("open")
		x.txnOffset("of a generation of no group", v, 6, func(r R, _ int) { r.GroupID, r.GenerationIDOrMemberEpoch, r.MemberID = "none", 1, "m" })
		x.txnOffset("of nobody", v, 6, func(r R, _ int) { r.GenerationIDOrMemberEpoch, r.MemberID = 3, "m" })
		x.txnOffset("newer epoch", v, 6, func(r R, _ int) { r.ProducerEpoch += 3 })
		x.txnOffset("other producer", v, 6, func(r R, _ int) { r.ProducerID += 1000 })
		x.txnOffset("other id", v, 6, func(r R, _ int) { r.TransactionalID = "tx-off-other" })
		x.txnOffset("no group", v, 6, func(r R, _ int) { r.GroupID = "" })
		x.txnOffset("no such partition", v, 6, func(r R, _ int) { r.Topics[0].Partitions[0].PartitionIndex = 77 })
		x.over("commit", 5, 0, true)
		x.fetched("committed")
		x.txnOffset("epoch before", v, 7, nil)
		x.txnOffset("next", v, 8, func(r R, _ int) { r.ProducerEpoch++ })
		x.over("abort", 5, 1, false)
		x.fetched("aborted")
	}
}

// Offsets in transactions of clients with one epoch for all.
func olderOffsets(d *dialogue) {
	for v := int16(0); v <= 4; v++ {
		x := newTransactor(d, fmt.Sprint("tx-off-old-", v))
		x.txnOffset("not added", v, 5, nil)
		ask[msg.AddOffsetsToTxnResponse](d, fmt.Sprint("add ", v), 3, func(i int) msg.Request {
			return &msg.AddOffsetsToTxnRequest{TransactionalID: x.id, ProducerID: x.who[i].ProducerID, ProducerEpoch: x.who[i].ProducerEpoch, GroupID: x.id}
		})
		x.txnOffset("added", v, 6, nil)
		x.fetched("open")
		x.txnOffset("older epoch", v, 6, func(r *msg.TxnOffsetCommitRequest, _ int) { r.ProducerEpoch-- })
		x.txnOffset("more", v, 7, nil)
		x.over("commit", 4, 0, true)
		x.fetched("committed")
		x.txnOffset("late", v, 8, nil)
		x.fetched("after")
	}
}
