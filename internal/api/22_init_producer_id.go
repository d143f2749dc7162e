package api

import (
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// idWait bounds how long InitProducerId waits for a block of ids.
const idWait = 5 * time.Second

// initProducerID answers InitProducerId (key 22, versions 0 to 5) for producers
// that are idempotent and not transactional: each call gives a new id at epoch 0
// (KIP-98).
//
//	shape      INVALID_REQUEST: an empty transactional id; an id without an
//	           epoch or the other way round
//	authorize  CLUSTER_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED
//	allocate   COORDINATOR_LOAD_IN_PROGRESS: no block of ids in time; clients
//	           try again
//
// Transactions are not served yet: a transactional id is answered with
// UNSUPPORTED_VERSION, which ends the producer with an error that says so.
func (h *ClusterHandlers) initProducerID(c *Call, req *msg.InitProducerIDRequest) *msg.InitProducerIDResponse {
	resp := msg.NewInitProducerIDResponse()
	resp.ProducerEpoch = -1
	fail := func(code kafka.Code) *msg.InitProducerIDResponse {
		resp.ErrorCode = int16(code)
		return &resp
	}
	known := req.ProducerID != kafka.NoProducer
	switch id := req.TransactionalID; {
	case id != nil && *id == "", known != (req.ProducerEpoch != kafka.NoProdEpoch):
		return fail(kafka.InvalidRequest)
	case id != nil && !c.Allowed(auth.Write, auth.TransactionalID, *id):
		return fail(kafka.TransactionalIDAuthorizationFailed)
	case id != nil && int64(req.TransactionTimeoutMs) > h.Metadata.Properties().Int64("transaction.max.timeout.ms"):
		return fail(kafka.InvalidTransactionTimeout)
	case id != nil:
		return fail(kafka.UnsupportedVersion)
	case !c.AllowedCluster(auth.IdempotentWrite):
		return fail(kafka.ClusterAuthorizationFailed)
	}
	ctx, cancel := c.within(int32(idWait / time.Millisecond))
	defer cancel()
	id, err := h.Metadata.NextProducerID(ctx)
	if err != nil {
		return fail(kafka.CoordinatorLoadInProgress)
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return &resp
}
