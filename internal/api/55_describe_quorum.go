package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeQuorum answers DescribeQuorum (key 55, versions 0 to 2) for the one
// log that has a quorum, __cluster_metadata-0.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	describe   UNKNOWN_TOPIC_OR_PARTITION, NOT_CONTROLLER, REQUEST_TIMED_OUT
//
// Versions: 1 times of the last fetch (KIP-836), 2 directory ids, addresses,
// texts (KIP-853).
func (h *ClusterHandlers) describeQuorum(c *Call, req *msg.DescribeQuorumRequest) *msg.DescribeQuorumResponse {
	if !c.AllowedCluster(auth.Describe) {
		resp := msg.NewDescribeQuorumResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	c.Free()
	return h.Metadata.DescribeQuorum(c.Ctx, req, c.Version)
}
