package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// shareGroupDescribe answers ShareGroupDescribe (key 77, version 1): members of
// share groups and what they read (KIP-932).
//
//	feature    UNSUPPORTED_VERSION unless share.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED if a member
//	           reads a topic that may not be described
//	describe   GROUP_ID_NOT_FOUND, INVALID_GROUP_ID, NOT_COORDINATOR,
//	           COORDINATOR_LOAD_IN_PROGRESS
func (h *GroupHandlers) shareGroupDescribe(c *Call, req *msg.ShareGroupDescribeRequest) *msg.ShareGroupDescribeResponse {
	resp := msg.NewShareGroupDescribeResponse()
	var found []msg.ShareGroupDescribeResponseGroup
	for _, id := range req.GroupIDs {
		d := msg.NewShareGroupDescribeResponseGroup()
		d.GroupID = id
		switch {
		case !h.sharing():
			d.ErrorCode = int16(kafka.UnsupportedVersion)
			found = append(found, d)
			continue
		case !c.Allowed(auth.Describe, auth.Group, id):
			d.ErrorCode = int16(kafka.GroupAuthorizationFailed)
			resp.Groups = append(resp.Groups, d)
			continue
		}
		d = h.Groups.Shares().Describe(c.Ctx, id)
		if !h.mayDescribe(c, &d) {
			d = msg.NewShareGroupDescribeResponseGroup()
			d.GroupID, d.ErrorCode = id, int16(kafka.TopicAuthorizationFailed)
			d.ErrorMessage = new("The group has described topic(s) that the client is not authorized to describe.")
		}
		if req.IncludeAuthorizedOperations && d.ErrorCode == 0 {
			d.AuthorizedOperations = c.AuthorizedOperations(auth.Group, id)
		}
		found = append(found, d)
	}
	resp.Groups = append(resp.Groups, found...)
	return &resp
}

// mayDescribe says whether the caller may describe all topics that members read.
func (h *GroupHandlers) mayDescribe(c *Call, d *msg.ShareGroupDescribeResponseGroup) bool {
	for _, m := range d.Members {
		for _, t := range m.Assignment.TopicPartitions {
			if !c.Allowed(auth.Describe, auth.Topic, t.TopicName) {
				return false
			}
		}
	}
	return true
}
