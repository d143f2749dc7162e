package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// raftSnapshot answers RaftSnapshot (key 20001, version 0), Myelin's own: a member
// of the metadata quorum sends a piece of a snapshot to this one.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	take in    see [metadata.Metadata.RaftSnapshot]
func (h *ClusterHandlers) raftSnapshot(c *Call, req *msg.RaftSnapshotRequest) *msg.RaftSnapshotResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewRaftSnapshotResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	return h.Metadata.RaftSnapshot(req)
}
