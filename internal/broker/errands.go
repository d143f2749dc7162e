package broker

import (
	"context"

	"github.com/myelin-stream/myelin/internal/errand"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/peer"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share/persist"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// newErrands makes what brings coordinators' errands to other brokers.
func newErrands(b *Broker) (*errand.Errands, error) {
	to := func(why peer.Purpose) errand.Asker {
		return func(ctx context.Context, node int32, req msg.Request, resp msg.Response, version int16) error {
			return b.peers.To(node, why).Do(ctx, req, resp, version)
		}
	}
	return errand.New(errand.Config{Self: b.self, Image: b.metadata.Image,
		Markers: to(peer.Markers), Coordinate: to(peer.Coordinate), States: to(peer.States), Records: to(peer.Records)})
}

// wherever gives what may be this broker's or another's.
type wherever struct{ *Broker }

// states is the share coordinator, wherever it is.
func (b wherever) states() persist.Coordinator {
	return persist.Coordinator{Service: b.shareState, Elsewhere: b.errands.States}
}

// transactions are the coordinators of transactions, wherever they are.
func (b wherever) transactions() errand.Transactions {
	return errand.Transactions{Errands: b.errands, Here: b.txns}
}

// ends brings the ends of transactions to partitions, whoever leads them.
func (b wherever) ends() errand.Markers {
	return errand.Markers{Errands: b.errands, Here: b.markers.start, Most: replica.FlushMost}
}

// offsetsVerifier asks on behalf of a partition of __consumer_offsets, before it
// takes the first offsets of a transaction.
func offsetsVerifier(b *Broker) func(ctx context.Context, who group.TxnProducer, partition int32, add bool) error {
	return func(ctx context.Context, who group.TxnProducer, partition int32, add bool) error {
		codes := wherever{b}.transactions().VerifyOrAdd(ctx, txn.Joining{ID: who.TransactionalID, Producer: txn.Producer{ID: who.ID, Epoch: who.Epoch},
			Partitions: []kafka.TopicPartition{{Topic: kafka.OffsetsTopic, Partition: partition}}, VerifyOnly: !add, Version: 2})
		if codes[0] != kafka.None {
			return codes[0]
		}
		return nil
	}
}

// endOffset tells the high watermark of a partition, wherever it is led.
func (b wherever) endOffset(ctx context.Context, tp kafka.TopicPartition) (int64, error) {
	if !b.errands.Leads(tp) {
		return b.errands.EndOffset(ctx, tp)
	}
	r, err := b.replicas.Get(tp.Topic, tp.Partition)
	if err != nil {
		return 0, err
	}
	if !r.Leads() {
		return 0, kafka.NotLeaderOrFollower
	}
	return r.HW(), nil
}
