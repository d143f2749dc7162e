package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeGroups answers DescribeGroups (key 15, versions 0 to 6).
//
//	authorize  GROUP_AUTHORIZATION_FAILED
//	describe   NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS; a group that does
//	           not exist is Dead, and from version 6 on GROUP_ID_NOT_FOUND
//
// Versions: 3 authorized operations (KIP-430), 4 static members, 5 flexible, 6
// message (KIP-1043).
func (h *GroupHandlers) describeGroups(c *Call, req *msg.DescribeGroupsRequest) *msg.DescribeGroupsResponse {
	resp := msg.NewDescribeGroupsResponse()
	ids := req.Groups
	for _, id := range ids {
		if !c.Allowed(auth.Describe, auth.Group, id) {
			g := msg.NewDescribeGroupsResponseGroup()
			g.GroupID, g.ErrorCode = id, int16(kafka.GroupAuthorizationFailed)
			resp.Groups = append(resp.Groups, g)
			continue
		}
		req.Groups = []string{id}
		for _, g := range h.Groups.Describe(c.Ctx, caller(c), req).Groups {
			if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
				g.AuthorizedOperations = c.AuthorizedOperations(auth.Group, id)
			}
			resp.Groups = append(resp.Groups, g)
		}
	}
	return &resp
}
