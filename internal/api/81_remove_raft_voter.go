package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// removeRaftVoter answers RemoveRaftVoter (key 81, version 0; KIP-853): a node is to
// vote in the metadata quorum no more.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	remove     see [metadata.Voters.Remove]
func (h *ClusterHandlers) removeRaftVoter(c *Call, req *msg.RemoveRaftVoterRequest) *msg.RemoveRaftVoterResponse {
	if !c.AllowedCluster(auth.Alter) {
		resp := msg.NewRemoveRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	ctx, cancel := c.within(voterTimeout)
	defer cancel()
	return h.Metadata.Voters().Remove(ctx, req)
}
