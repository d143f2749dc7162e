package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// deleteGroups answers DeleteGroups (key 42, versions 0 to 3).
//
//	authorize  GROUP_AUTHORIZATION_FAILED
//	delete     NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, NOT_COORDINATOR,
//	           COORDINATOR_LOAD_IN_PROGRESS
//
// Versions: 2 flexible, 3 message (KIP-1331).
func (h *GroupHandlers) deleteGroups(c *Call, req *msg.DeleteGroupsRequest) *msg.DeleteGroupsResponse {
	var refused []msg.DeleteGroupsResponseResult
	req.GroupsNames = slices.DeleteFunc(req.GroupsNames, func(id string) bool {
		if c.Allowed(auth.Delete, auth.Group, id) {
			return false
		}
		refused = append(refused, msg.DeleteGroupsResponseResult{GroupID: id, ErrorCode: int16(kafka.GroupAuthorizationFailed)})
		return true
	})
	resp := h.Groups.Delete(c.Ctx, caller(c), req)
	resp.Results = append(resp.Results, refused...)
	return resp
}
