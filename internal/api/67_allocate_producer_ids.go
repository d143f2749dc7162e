package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// allocateProducerIDs answers AllocateProducerIds (key 67, version 0; KIP-730),
// which brokers ask of the controller and which is not advertised.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	allocate   BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH, NOT_CONTROLLER
func (h *ClusterHandlers) allocateProducerIDs(c *Call, req *msg.AllocateProducerIDsRequest) *msg.AllocateProducerIDsResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewAllocateProducerIDsResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	return h.Metadata.AllocateProducerIDs(c.Ctx, req)
}
