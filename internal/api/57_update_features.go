package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// updateFeatures answers UpdateFeatures (key 57, versions 0 to 2; KIP-584): the
// levels at which the cluster's features are finalized.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	decide     INVALID_UPDATE_VERSION, for all if for one
//
// Versions: 1 kinds of downgrades and a trial (KIP-778), 2 one error for all.
func (h *ClusterHandlers) updateFeatures(c *Call, req *msg.UpdateFeaturesRequest) *msg.UpdateFeaturesResponse {
	if !c.AllowedCluster(auth.Alter) {
		resp := msg.NewUpdateFeaturesResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	timeout := req.TimeoutMs
	if timeout <= 0 { // Kafka does not look at it
		timeout = 60_000
	}
	ctx, cancel := c.within(timeout)
	defer cancel()
	return h.Metadata.UpdateFeatures(ctx, req, c.Version)
}
