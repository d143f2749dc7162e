package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeTransactions answers DescribeTransactions (key 65, version 0; KIP-664):
// where the transactions of some ids stand. Topics that the client may not see
// are left out.
//
//	authorize  TRANSACTIONAL_ID_AUTHORIZATION_FAILED
//	look       TRANSACTIONAL_ID_NOT_FOUND, INVALID_REQUEST (no id), NOT_COORDINATOR,
//	           COORDINATOR_LOAD_IN_PROGRESS
func (h *TxnHandlers) describeTransactions(c *Call, req *msg.DescribeTransactionsRequest) *msg.DescribeTransactionsResponse {
	resp := msg.NewDescribeTransactionsResponse()
	for _, id := range req.TransactionalIDs {
		r := msg.DescribeTransactionsResponseTransactionState{TransactionalID: id,
			ErrorCode: int16(kafka.TransactionalIDAuthorizationFailed)}
		if c.Allowed(auth.Describe, auth.TransactionalID, id) {
			r = h.Txns.Describe(id)
		}
		r.Topics = slices.DeleteFunc(r.Topics, func(t msg.DescribeTransactionsResponseTransactionStateTopic) bool {
			return !c.Allowed(auth.Describe, auth.Topic, t.Topic)
		})
		resp.TransactionStates = append(resp.TransactionStates, r)
	}
	return &resp
}
