package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// consumerGroupDescribe answers ConsumerGroupDescribe (key 69, versions 0 to 1).
//
//	feature    UNSUPPORTED_VERSION unless the protocol is on and group.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED
//	find       INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, also if the group is of
//	           another kind
//	show       TOPIC_AUTHORIZATION_FAILED if a member reads a topic that may not be
//	           described
//
// Versions: 1 the protocol that a member speaks (KIP-1099).
func (h *GroupHandlers) consumerGroupDescribe(c *Call, req *msg.ConsumerGroupDescribeRequest) *msg.ConsumerGroupDescribeResponse {
	resp := msg.NewConsumerGroupDescribeResponse()
	var ids []string
	for _, id := range req.GroupIDs {
		bad := kafka.GroupAuthorizationFailed
		if !h.consuming() {
			bad = kafka.UnsupportedVersion
		} else if c.Allowed(auth.Describe, auth.Group, id) {
			ids = append(ids, id)
			continue
		}
		g := msg.NewConsumerGroupDescribeResponseGroup()
		g.GroupID, g.ErrorCode = id, int16(bad)
		resp.Groups = append(resp.Groups, g)
	}
	for _, g := range h.Groups.ConsumerGroupDescribe(c.Ctx, ids) {
		if g.ErrorCode == 0 && req.IncludeAuthorizedOperations {
			g.AuthorizedOperations = c.AuthorizedOperations(auth.Group, g.GroupID)
		}
		if hidden(c, g.Members) {
			g.ErrorCode = int16(kafka.TopicAuthorizationFailed)
			g.ErrorMessage = new("The group has described topic(s) that the client is not authorized to describe.")
			g.Members = nil
		}
		resp.Groups = append(resp.Groups, g)
	}
	return &resp
}

// hidden says whether a member has, or is to have, a topic that the client may
// not describe.
func hidden(c *Call, members []msg.ConsumerGroupDescribeResponseGroupMember) bool {
	for i := range members {
		for _, a := range [...]*msg.ConsumerGroupDescribeResponseAssignment{&members[i].Assignment, &members[i].TargetAssignment} {
			for _, t := range a.TopicPartitions {
				if !c.Allowed(auth.Describe, auth.Topic, t.TopicName) {
					return true
				}
			}
		}
	}
	return false
}
