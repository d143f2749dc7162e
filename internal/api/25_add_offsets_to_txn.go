package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// addOffsetsToTxn answers AddOffsetsToTxn (key 25, versions 0 to 4): the
// partition of __consumer_offsets that keeps a group becomes a part of the
// transaction. Clients of version 2 of transactions do without (KIP-890).
//
//	authorize  TRANSACTIONAL_ID_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED
//	locate     COORDINATOR_NOT_AVAILABLE: the topic cannot be made
//	decide     see [txn.Service.VerifyOrAdd]
//
// Versions: 2 PRODUCER_FENCED for INVALID_PRODUCER_EPOCH, 3 flexible, 4
// TRANSACTION_ABORTABLE.
func (h *TxnHandlers) addOffsetsToTxn(c *Call, req *msg.AddOffsetsToTxnRequest) *msg.AddOffsetsToTxnResponse {
	resp := msg.NewAddOffsetsToTxnResponse()
	code := kafka.None
	switch {
	case !c.Allowed(auth.Write, auth.TransactionalID, req.TransactionalID):
		code = kafka.TransactionalIDAuthorizationFailed
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		code = kafka.GroupAuthorizationFailed
	case !speaks(c, h.MinVersion, olderVersion):
		code = kafka.UnsupportedVersion
	default:
		c.Free()
		code = fenced(h.addOffsets(c, req), c.Version >= 2)
	}
	resp.ErrorCode = int16(code)
	return &resp
}

func (h *TxnHandlers) addOffsets(c *Call, req *msg.AddOffsetsToTxnRequest) kafka.Code {
	t := h.Metadata.Image().Topic(kafka.OffsetsTopic)
	if t == nil {
		if made := h.Metadata.AutoCreate(c.Ctx, []string{kafka.OffsetsTopic}); len(made) != 1 || made[0].Err != nil {
			return kafka.CoordinatorNotAvailable
		}
		t = h.Metadata.Image().Topic(kafka.OffsetsTopic)
	}
	if t == nil || len(t.Partitions) == 0 {
		return kafka.CoordinatorNotAvailable
	}
	p := kafka.CoordinatorPartition(req.GroupID, int32(len(t.Partitions)))
	return h.Txns.VerifyOrAdd(c.Ctx, txn.Joining{ID: req.TransactionalID,
		Producer:   txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
		Partitions: []kafka.TopicPartition{{Topic: kafka.OffsetsTopic, Partition: p}}})[0]
}
