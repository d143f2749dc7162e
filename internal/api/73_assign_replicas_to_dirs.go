package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// assignReplicasToDirs answers AssignReplicasToDirs (key 73, version 0; KIP-858),
// by which a broker tells the controller where its replicas are. It is not
// advertised.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	assign     BROKER_ID_NOT_REGISTERED, STALE_BROKER_EPOCH, NOT_CONTROLLER; per
//	           partition UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION,
//	           NOT_LEADER_OR_FOLLOWER
func (h *ClusterHandlers) assignReplicasToDirs(c *Call, req *msg.AssignReplicasToDirsRequest) *msg.AssignReplicasToDirsResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewAssignReplicasToDirsResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	return h.Metadata.AssignReplicasToDirs(c.Ctx, req)
}
