package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// syncGroup answers SyncGroup (key 14, versions 0 to 5). It waits until the
// leader's assignment is stored, holding nothing but its goroutine.
//
//	authorize  GROUP_AUTHORIZATION_FAILED
//	check      INCONSISTENT_GROUP_PROTOCOL for a type or name that is missing
//	sync       what the group says, see [classic.Group.Sync]
//
// Versions: 3 static members (KIP-345), 4 flexible, 5 protocol type and name
// (KIP-559).
func (h *GroupHandlers) syncGroup(c *Call, req *msg.SyncGroupRequest) *msg.SyncGroupResponse {
	if !c.Allowed(auth.Read, auth.Group, req.GroupID) {
		resp := msg.NewSyncGroupResponse()
		resp.ErrorCode = int16(kafka.GroupAuthorizationFailed)
		return &resp
	}
	for i := range req.Assignments {
		req.Assignments[i].Assignment = own(req.Assignments[i].Assignment)
	}
	c.Free()
	return h.Groups.Sync(c.Ctx, caller(c), req)
}
