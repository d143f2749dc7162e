package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// updateRaftVoter answers UpdateRaftVoter (key 82, version 0; KIP-853), by which a
// voter says where it is reached, and which is not advertised.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	update     see [metadata.Voters.Update]
func (h *ClusterHandlers) updateRaftVoter(c *Call, req *msg.UpdateRaftVoterRequest) *msg.UpdateRaftVoterResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewUpdateRaftVoterResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	ctx, cancel := c.within(voterTimeout)
	defer cancel()
	return h.Metadata.Voters().Update(ctx, req)
}
