package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// endTxn answers EndTxn (key 26, versions 0 to 5): the transaction is committed
// or aborted. The outcome is durable when the answer leaves; readers see it when
// the markers are, a moment later.
//
//	authorize  TRANSACTIONAL_ID_AUTHORIZATION_FAILED
//	decide     INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
//	           INVALID_TXN_STATE, CONCURRENT_TRANSACTIONS
//
// Versions: 2 PRODUCER_FENCED for INVALID_PRODUCER_EPOCH, 3 flexible, 4
// TRANSACTION_ABORTABLE, 5 the next epoch, and the next id when the epochs are
// used up (KIP-890).
func (h *TxnHandlers) endTxn(c *Call, req *msg.EndTxnRequest) *msg.EndTxnResponse {
	resp := msg.NewEndTxnResponse()
	version := int16(olderVersion)
	if c.Version >= 5 {
		version = 2
	}
	switch {
	case !c.Allowed(auth.Write, auth.TransactionalID, req.TransactionalID):
		resp.ErrorCode = int16(kafka.TransactionalIDAuthorizationFailed)
		return &resp
	case !speaks(c, h.MinVersion, version):
		resp.ErrorCode = int16(kafka.UnsupportedVersion)
		return &resp
	}
	c.Free()
	got := h.Txns.EndTxn(c.Ctx, req, c.Version)
	got.ErrorCode = int16(fenced(kafka.Code(got.ErrorCode), c.Version >= 2))
	return got
}
