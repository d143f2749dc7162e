package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// listPartitionReassignments answers ListPartitionReassignments (key 46, version
// 0; KIP-455): the partitions that are on their way to other brokers, as the
// controller sees them.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	ask        NOT_CONTROLLER, REQUEST_TIMED_OUT
func (h *AdminHandlers) listPartitionReassignments(c *Call, req *msg.ListPartitionReassignmentsRequest) *msg.ListPartitionReassignmentsResponse {
	if !c.AllowedCluster(auth.Describe) {
		resp := msg.NewListPartitionReassignmentsResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	return metadata.ListPartitionReassignments(c.Ctx, h.Metadata, req)
}
