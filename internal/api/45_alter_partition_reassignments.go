package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// alterPartitionReassignments answers AlterPartitionReassignments (key 45,
// versions 0 and 1; KIP-455): which brokers shall have a partition.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	reassign   UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT,
//	           INVALID_REPLICATION_FACTOR, NO_REASSIGNMENT_IN_PROGRESS
//
// Versions: 1 may forbid that the number of replicas changes (KIP-860).
func (h *AdminHandlers) alterPartitionReassignments(c *Call, req *msg.AlterPartitionReassignmentsRequest) *msg.AlterPartitionReassignmentsResponse {
	if !c.AllowedCluster(auth.Alter) {
		resp := msg.NewAlterPartitionReassignmentsResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.ClusterAuthorizationFailed), new(unauthorizedText)
		return &resp
	}
	return h.Metadata.AlterPartitionReassignments(c.Ctx, req)
}
