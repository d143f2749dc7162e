package txn

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

func recordKey(id string) []byte {
	return state.MarshalKey(&state.TransactionLogKey{TransactionalID: id})
}

// marshal makes the value of a record: in version 0 below transaction.version 1,
// which knows no producer id before or after and no client's version.
func (tx *transaction) marshal(level int16) []byte {
	v := state.NewTransactionLogValue()
	v.ProducerID, v.ProducerEpoch = tx.ID, tx.Epoch
	v.PreviousProducerID, v.NextProducerID = tx.previous, tx.next
	v.TransactionTimeoutMs = tx.timeout
	v.TransactionStatus = int8(tx.status)
	v.TransactionStartTimestampMs, v.TransactionLastUpdateTimestampMs = tx.started, tx.updated
	v.ClientTransactionVersion = tx.client
	if tx.status != Empty {
		v.TransactionPartitions = byTopic(tx.partitions)
	}
	return state.MarshalValue(&v, min(level, version1))
}

func byTopic(partitions []kafka.TopicPartition) []state.TransactionLogValueTransactionPartition {
	topics := []state.TransactionLogValueTransactionPartition{}
	for _, tp := range partitions {
		if n := len(topics); n == 0 || topics[n-1].Topic != tp.Topic {
			topics = append(topics, state.TransactionLogValueTransactionPartition{Topic: tp.Topic})
		}
		last := &topics[len(topics)-1]
		last.PartitionIDs = append(last.PartitionIDs, tp.Partition)
	}
	return topics
}

func parseTransaction(b []byte) (*transaction, error) {
	v := state.NewTransactionLogValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return nil, err
	}
	tx := &transaction{
		Producer: Producer{v.ProducerID, v.ProducerEpoch}, previous: v.PreviousProducerID, next: v.NextProducerID,
		timeout: v.TransactionTimeoutMs, status: Status(v.TransactionStatus),
		started: v.TransactionStartTimestampMs, updated: v.TransactionLastUpdateTimestampMs, client: v.ClientTransactionVersion,
	}
	if tx.status < Empty || tx.status > CompleteAbort {
		return nil, fmt.Errorf("status %d: %w", tx.status, kafka.CorruptMessage)
	}
	for _, t := range v.TransactionPartitions {
		for _, p := range t.PartitionIDs {
			tx.partitions = append(tx.partitions, kafka.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	slices.SortFunc(tx.partitions, kafka.TopicPartition.Compare)
	return tx, nil
}
