package api

import (
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// idWait bounds how long InitProducerId waits for a block of ids.
const idWait = 5 * time.Second

// initProducerID answers InitProducerId (key 22, versions 0 to 5). Without a
// transactional id each call gives a new producer id at epoch 0 (KIP-98). With
// one it gives the next epoch of the id, which fences all who had it before, or
// of a producer that recovers, who says which it had (KIP-360).
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED
//	shape      INVALID_REQUEST: an empty transactional id; an id without an
//	           epoch or the other way round
//	allocate   COORDINATOR_LOAD_IN_PROGRESS: no block of ids in time; clients
//	           try again
//	decide     INVALID_TRANSACTION_TIMEOUT, PRODUCER_FENCED; CONCURRENT_TRANSACTIONS
//	           while a transaction of the id is being ended, which this call
//	           begins if need be
//
// Versions: 2 flexible, 3 recovery, 4 PRODUCER_FENCED for INVALID_PRODUCER_EPOCH,
// 5 TRANSACTION_ABORTABLE (KIP-890).
//
// Differs from Apache Kafka: a producer that recovers with an epoch long gone is
// fenced at once, also while a transaction is open, and does not abort it first.
func (h *TxnHandlers) initProducerID(c *Call, req *msg.InitProducerIDRequest) *msg.InitProducerIDResponse {
	resp := msg.NewInitProducerIDResponse()
	resp.ProducerEpoch = -1
	fail := func(code kafka.Code) *msg.InitProducerIDResponse {
		resp.ErrorCode = int16(code)
		return &resp
	}
	known := req.ProducerID != kafka.NoProducer
	id := req.TransactionalID
	switch {
	case id != nil && !c.Allowed(auth.Write, auth.TransactionalID, *id):
		return fail(kafka.TransactionalIDAuthorizationFailed)
	case id == nil && !c.AllowedCluster(auth.IdempotentWrite):
		return fail(kafka.ClusterAuthorizationFailed)
	case id != nil && *id == "", known != (req.ProducerEpoch != kafka.NoProdEpoch):
		return fail(kafka.InvalidRequest)
	}
	ctx, cancel := c.within(int32(idWait / time.Millisecond))
	defer cancel()
	if id != nil {
		got := h.Txns.InitProducerID(ctx, req)
		got.ErrorCode = int16(fenced(kafka.Code(got.ErrorCode), c.Version >= 4))
		return got
	}
	fresh, err := h.Metadata.NextProducerID(ctx)
	if err != nil {
		return fail(kafka.CoordinatorLoadInProgress)
	}
	resp.ProducerID, resp.ProducerEpoch = fresh, 0
	return &resp
}
