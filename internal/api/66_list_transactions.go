package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// listTransactions answers ListTransactions (key 66, versions 0 to 2; KIP-664):
// the transactional ids that this broker coordinates, as far as the client may
// see them and the filters let them through.
//
//	look  COORDINATOR_LOAD_IN_PROGRESS, INVALID_REGULAR_EXPRESSION
//
// Versions: 1 for how long they run (KIP-994), 2 a pattern of ids (KIP-1152).
func (h *TxnHandlers) listTransactions(c *Call, req *msg.ListTransactionsRequest) *msg.ListTransactionsResponse {
	resp := h.Txns.List(c.Ctx, req)
	resp.TransactionStates = slices.DeleteFunc(resp.TransactionStates, func(t msg.ListTransactionsResponseTransactionState) bool {
		return !c.Allowed(auth.Describe, auth.TransactionalID, t.TransactionalID)
	})
	return resp
}
