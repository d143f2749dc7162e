package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// shareVersion is the feature that lets clients use share groups.
const shareVersion = "share.version"

// sharing says whether the cluster has share groups.
func (h *GroupHandlers) sharing() bool { return h.Image().Feature(shareVersion) >= 1 }

// maxMemberID is the longest id of a share group's member: a UUID as text.
const maxMemberID = 36

// shareGroupHeartbeat answers ShareGroupHeartbeat (key 76, version 1), by which a
// member of a share group joins, keeps its place, learns what to read, and leaves
// (KIP-932).
//
//	feature    UNSUPPORTED_VERSION unless share.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED if one of
//	           the topics may not be described
//	check      INVALID_REQUEST
//	find       GROUP_ID_NOT_FOUND, also if the group is of another kind
//	decide     see [share.Group.Heartbeat]
func (h *GroupHandlers) shareGroupHeartbeat(c *Call, req *msg.ShareGroupHeartbeatRequest) *msg.ShareGroupHeartbeatResponse {
	refuse := func(bad kafka.Code) *msg.ShareGroupHeartbeatResponse {
		resp := msg.NewShareGroupHeartbeatResponse()
		resp.ErrorCode = int16(bad)
		return &resp
	}
	switch {
	case !h.sharing():
		return refuse(kafka.UnsupportedVersion)
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		return refuse(kafka.GroupAuthorizationFailed)
	case req.MemberID == "" || len(req.MemberID) > maxMemberID:
		return refuse(kafka.InvalidRequest)
	}
	for _, t := range req.SubscribedTopicNames {
		if !c.Allowed(auth.Describe, auth.Topic, t) {
			return refuse(kafka.TopicAuthorizationFailed)
		}
	}
	return h.Groups.Shares().Heartbeat(c.Ctx, caller(c), req)
}
