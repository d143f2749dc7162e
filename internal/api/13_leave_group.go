package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// leaveGroup answers LeaveGroup (key 13, versions 0 to 5): members leave, or an
// administrator removes static ones by their instance ids.
//
//	authorize  GROUP_AUTHORIZATION_FAILED
//	leave      for each member what the group says, see [classic.Group.Leave]
//
// Versions: 3 several members (KIP-345), 4 flexible, 5 reason (KIP-800).
func (h *GroupHandlers) leaveGroup(c *Call, req *msg.LeaveGroupRequest) *msg.LeaveGroupResponse {
	if !c.Allowed(auth.Read, auth.Group, req.GroupID) {
		resp := msg.NewLeaveGroupResponse()
		resp.ErrorCode = int16(kafka.GroupAuthorizationFailed)
		return &resp
	}
	return h.Groups.Leave(c.Ctx, caller(c), req)
}
