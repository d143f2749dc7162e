package api

import (
	"context"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/txn"
)

// TxnHandlers answer what producer ids and transactions are made of.
type TxnHandlers struct {
	Txns     *txn.Service
	Metadata *metadata.Metadata
	Markers  Markers

	// MinVersion is transaction.min.version of a listener: what a client has to
	// speak to use transactions there.
	MinVersion func(listener string) int16
}

// Markers writes the ends of transactions into the partitions that this broker
// leads. wait gives one error for each partition, in order.
type Markers interface {
	Start(ctx context.Context, m txn.Marker, partitions []kafka.TopicPartition) (wait func() []error)
}

// Transactions is the coordinator of a transactional id, wherever it is, as
// partitions ask it.
type Transactions interface {
	VerifyOrAdd(ctx context.Context, j txn.Joining) []kafka.Code
}

func (h *TxnHandlers) rows() []Row {
	write := Access{auth.Write, auth.TransactionalID}
	describe := Access{auth.Describe, auth.TransactionalID}
	brokers := Access{auth.ClusterAction, auth.Cluster}
	initProducer := row(kafka.KeyInitProducerID, cold(h.initProducerID), Access{auth.IdempotentWrite, auth.Cluster}, write)
	initProducer.Served.Max, initProducer.Advertised.Max = 5, 5 // 6 is for two-phase commit, and not final (KIP-939)
	return []Row{
		initProducer,
		row(kafka.KeyAddPartitionsToTxn, cold(h.addPartitionsToTxn), write, Access{auth.Write, auth.Topic}, brokers),
		row(kafka.KeyAddOffsetsToTxn, cold(h.addOffsetsToTxn), write, Access{auth.Read, auth.Group}),
		row(kafka.KeyEndTxn, cold(h.endTxn), write),
		row(kafka.KeyWriteTxnMarkers, cold(h.writeTxnMarkers), brokers, Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyDescribeTransactions, cold(h.describeTransactions), describe, Access{auth.Describe, auth.Topic}),
		row(kafka.KeyListTransactions, cold(h.listTransactions), describe),
	}
}

// fenced is what a fenced producer hears: clients before some version of each API
// know only the older word for it.
func fenced(code kafka.Code, knows bool) kafka.Code {
	if code == kafka.ProducerFenced && !knows {
		return kafka.InvalidProducerEpoch
	}
	return code
}

// olderVersion is what a client speaks that has one epoch for all its
// transactions.
const olderVersion = 1

// speaks says whether the transactions of a client's version may be used on the
// listener that it came by.
func speaks(c *Call, least func(listener string) int16, version int16) bool {
	return least == nil || version >= least(c.Conn.Listener)
}
