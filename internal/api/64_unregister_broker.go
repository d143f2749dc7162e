package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// unregisterBroker answers UnregisterBroker (key 64, version 0; KIP-500): a broker
// that will not come back is forgotten.
//
//	authorize   CLUSTER_AUTHORIZATION_FAILED
//	unregister  BROKER_ID_NOT_REGISTERED, INVALID_REQUEST
//
// Differs from Apache Kafka: a broker that is in service is refused.
func (h *ClusterHandlers) unregisterBroker(c *Call, req *msg.UnregisterBrokerRequest) *msg.UnregisterBrokerResponse {
	if !c.AllowedCluster(auth.Alter) {
		resp := msg.NewUnregisterBrokerResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	return h.Metadata.UnregisterBroker(c.Ctx, req)
}
