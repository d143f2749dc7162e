package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// addPartitionsToTxn answers AddPartitionsToTxn (key 24, versions 0 to 5): the
// partitions that a producer is about to write become a part of its transaction,
// which begins with the first. If one of a transaction's is refused, so are the
// others, as OPERATION_NOT_ATTEMPTED.
//
//	authorize  TRANSACTIONAL_ID_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED
//	           (internal topics, too), CLUSTER_AUTHORIZATION_FAILED from 4 on
//	locate     UNKNOWN_TOPIC_OR_PARTITION
//	decide     see [txn.Service.VerifyOrAdd]
//
// Versions: 2 PRODUCER_FENCED for INVALID_PRODUCER_EPOCH, 3 flexible, 4 brokers
// ask for several transactions at once, also whether partitions are in one
// (KIP-890), 5 TRANSACTION_ABORTABLE.
//
// Differs from Apache Kafka: while the transaction before is being ended, the
// answer waits for a moment before it is CONCURRENT_TRANSACTIONS. Versions 4 and
// 5 without a transaction are answered; Kafka never does.
func (h *TxnHandlers) addPartitionsToTxn(c *Call, req *msg.AddPartitionsToTxnRequest) *msg.AddPartitionsToTxnResponse {
	resp := msg.NewAddPartitionsToTxnResponse()
	c.Free()
	if c.Version < 4 {
		resp.ResultsByTopicV3AndBelow = h.addByClient(c, req)
		return &resp
	}
	if !c.AllowedCluster(auth.ClusterAction) {
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	resp.ResultsByTransaction = make([]msg.AddPartitionsToTxnResponseResultsByTransaction, len(req.Transactions))
	together(len(req.Transactions), func(i int) {
		t := &req.Transactions[i]
		j := txn.Joining{ID: t.TransactionalID, Producer: txn.Producer{ID: t.ProducerID, Epoch: t.ProducerEpoch},
			VerifyOnly: t.VerifyOnly, Version: 2}
		resp.ResultsByTransaction[i] = msg.AddPartitionsToTxnResponseResultsByTransaction{
			TransactionalID: t.TransactionalID, TopicResults: h.join(c, j, t.Topics, func(string) bool { return true })}
	})
	return &resp
}

// addByClient answers versions 0 to 3.
func (h *TxnHandlers) addByClient(c *Call, req *msg.AddPartitionsToTxnRequest) []msg.AddPartitionsToTxnResponseTopicResult {
	id := req.V3AndBelowTransactionalID
	switch {
	case !c.Allowed(auth.Write, auth.TransactionalID, id):
		return sameForAll(req.V3AndBelowTopics, kafka.TransactionalIDAuthorizationFailed)
	case !speaks(c, h.MinVersion, olderVersion):
		return sameForAll(req.V3AndBelowTopics, kafka.UnsupportedVersion)
	}
	j := txn.Joining{ID: id, Producer: txn.Producer{ID: req.V3AndBelowProducerID, Epoch: req.V3AndBelowProducerEpoch}}
	return h.join(c, j, req.V3AndBelowTopics, func(topic string) bool {
		return !kafka.IsInternalTopic(topic) && c.Allowed(auth.Write, auth.Topic, topic)
	})
}

// join puts the partitions of one transaction into it, all or none.
func (h *TxnHandlers) join(c *Call, j txn.Joining, topics []msg.AddPartitionsToTxnRequestTopic, allowed func(topic string) bool) []msg.AddPartitionsToTxnResponseTopicResult {
	img := h.Metadata.Image()
	bad := false
	var codes []kafka.Code
	for _, t := range topics {
		topic, may := img.Topic(t.Name), allowed(t.Name)
		for _, p := range t.Partitions {
			code := kafka.OperationNotAttempted
			switch {
			case !may:
				code, bad = kafka.TopicAuthorizationFailed, true
			case topic.Partition(p) == nil:
				code, bad = kafka.UnknownTopicOrPartition, true
			}
			codes = append(codes, code)
			j.Partitions = append(j.Partitions, kafka.TopicPartition{Topic: t.Name, Partition: p})
		}
	}
	switch {
	case bad:
	case j.VerifyOnly || len(j.Partitions) > 0:
		codes = h.Txns.VerifyOrAdd(c.Ctx, j)
	}
	return inTopics(topics, func(i int) kafka.Code { return fenced(codes[i], c.Version >= 2) })
}

// inTopics makes the rows of an answer from a code for each partition, numbered
// over all topics.
func inTopics(topics []msg.AddPartitionsToTxnRequestTopic, code func(i int) kafka.Code) []msg.AddPartitionsToTxnResponseTopicResult {
	var out []msg.AddPartitionsToTxnResponseTopicResult
	n := 0
	for _, t := range topics {
		row := msg.AddPartitionsToTxnResponseTopicResult{Name: t.Name}
		for _, p := range t.Partitions {
			row.ResultsByPartition = append(row.ResultsByPartition, msg.AddPartitionsToTxnResponsePartitionResult{
				PartitionIndex: p, PartitionErrorCode: int16(code(n))})
			n++
		}
		out = append(out, row)
	}
	return out
}

func sameForAll(topics []msg.AddPartitionsToTxnRequestTopic, code kafka.Code) []msg.AddPartitionsToTxnResponseTopicResult {
	return inTopics(topics, func(int) kafka.Code { return code })
}
