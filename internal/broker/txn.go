package broker

import (
	"context"
	"time"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
)

// txnPatience is for how long a coordinator of transactions waits for a commit, as
// group coordinators do by default.
const txnPatience = 5 * time.Second

// newTxns makes the coordinator of transactions.
func newTxns(b *Broker, props *config.Broker) (*txn.Service, error) {
	c := txn.DefaultConfig()
	c.Partitions = func() int32 {
		if t := b.metadata.Image().Topic(kafka.TxnTopic); t != nil {
			return int32(len(t.Partitions))
		}
		return 0
	}
	c.Open = func(_ context.Context, partition int32) (coordinator.Log, int32, error) {
		return openCoordinatorLog(b.replicas, kafka.TxnTopic, partition)
	}
	c.CommitPatience = coordinators{b}.patience(kafka.TxnTopic, txnPatience)
	c.NewProducerID = b.metadata.NextProducerID
	c.Markers = wherever{b}.ends()
	c.Level = func() int16 { return b.metadata.Image().Feature(controller.FeatureTransactions) }
	c.Now, c.Logger = b.cfg.Now, b.logger.With("component", "transactions")
	c.MaxTimeout = props.Millis("transaction.max.timeout.ms")
	c.AbortEvery = props.Millis("transaction.abort.timed.out.transaction.cleanup.interval.ms")
	c.Expiration = props.Millis("transactional.id.expiration.ms")
	c.ExpireEvery = props.Millis("transaction.remove.expired.transaction.cleanup.interval.ms")
	c.Safe = b.dirs.metadata.Safe
	c.Patience = props.Millis("add.partitions.to.txn.retry.backoff.max.ms")
	return txn.New(c)
}
