package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// joinQuorum answers JoinQuorum (key 20003, version 0), Myelin's own: a node that was
// formatted without voters asks for the metadata log.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	join       INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION, NOT_CONTROLLER
func (h *ClusterHandlers) joinQuorum(c *Call, req *msg.JoinQuorumRequest) *msg.JoinQuorumResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewJoinQuorumResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	return h.Metadata.Join(c.Ctx, req)
}
