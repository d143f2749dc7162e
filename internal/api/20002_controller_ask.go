package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// controllerAsk answers ControllerAsk (key 20002, version 0), Myelin's own: a node
// asks the leader of the quorum to decide on a request, for itself or for a client
// whom it has authorized.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	decide     INCONSISTENT_CLUSTER_ID, NOT_CONTROLLER; see [metadata.Metadata.Asked]
func (h *ClusterHandlers) controllerAsk(c *Call, req *msg.ControllerAskRequest) *msg.ControllerAskResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewControllerAskResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	return h.Metadata.Asked(c.Ctx, req)
}
