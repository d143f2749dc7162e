package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// electLeaders answers ElectLeaders (key 43, versions 0 to 2; KIP-183, KIP-460):
// the preferred replicas shall lead, or any replica where nobody leads.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED, for all and for each partition
//	elect      INVALID_REQUEST; per partition UNKNOWN_TOPIC_OR_PARTITION,
//	           ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE,
//	           ELIGIBLE_LEADERS_NOT_AVAILABLE
//
// Versions: 1 kinds of elections and an error for all, 2 flexible.
func (h *AdminHandlers) electLeaders(c *Call, req *msg.ElectLeadersRequest) *msg.ElectLeadersResponse {
	if !c.AllowedCluster(auth.Alter) {
		return controller.NoElections(req, kafka.ClusterAuthorizationFailed, new(unauthorizedText))
	}
	ctx, cancel := c.within(req.TimeoutMs)
	defer cancel()
	return h.Metadata.ElectLeaders(ctx, req)
}
