package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// privateRow is the row of what nodes send to each other.
func privateRow(key int16, serve Handler) Row {
	r := row(key, serve, Access{auth.ClusterAction, auth.Cluster})
	r.Hidden = true
	return r
}

// raftMessages answers RaftMessages (key 20000, version 0), Myelin's own: a member
// of the metadata quorum sends messages to this one.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	take in    see [metadata.Metadata.RaftMessages]
func (h *ClusterHandlers) raftMessages(c *Call, req *msg.RaftMessagesRequest) *msg.RaftMessagesResponse {
	if !c.AllowedCluster(auth.ClusterAction) {
		resp := msg.NewRaftMessagesResponse()
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	return h.Metadata.RaftMessages(req)
}
