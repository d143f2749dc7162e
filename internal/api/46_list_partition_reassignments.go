package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// listPartitionReassignments answers ListPartitionReassignments (key 46, version
// 0; KIP-455): the partitions that are on their way to other brokers.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
func (h *AdminHandlers) listPartitionReassignments(c *Call, req *msg.ListPartitionReassignmentsRequest) *msg.ListPartitionReassignmentsResponse {
	if !c.AllowedCluster(auth.Describe) {
		resp := msg.NewListPartitionReassignmentsResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	return controller.ListPartitionReassignments(h.Metadata.Image(), req)
}
