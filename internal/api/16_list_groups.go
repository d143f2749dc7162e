package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// listGroups answers ListGroups (key 16, versions 0 to 5) with the groups that
// this broker coordinates; a tool asks every broker.
//
//	authorize  whoever may not describe the cluster sees the groups that it may
//	           describe
//	list       COORDINATOR_LOAD_IN_PROGRESS
//
// Versions: 3 flexible, 4 states (KIP-518), 5 types (KIP-848).
func (h *GroupHandlers) listGroups(c *Call, req *msg.ListGroupsRequest) *msg.ListGroupsResponse {
	resp := h.Groups.List(c.Ctx, caller(c), req)
	if !c.AllowedCluster(auth.Describe) {
		resp.Groups = slices.DeleteFunc(resp.Groups, func(g msg.ListGroupsResponseGroup) bool {
			return !c.Allowed(auth.Describe, auth.Group, g.GroupID)
		})
	}
	return resp
}
