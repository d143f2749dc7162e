package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// heartbeat answers Heartbeat (key 12, versions 0 to 4).
//
//	authorize  GROUP_AUTHORIZATION_FAILED
//	keep       what the group says, see [classic.Group.Heartbeat];
//	           REBALANCE_IN_PROGRESS is how a member learns to join again
//
// Versions: 3 static members (KIP-345), 4 flexible.
func (h *GroupHandlers) heartbeat(c *Call, req *msg.HeartbeatRequest) *msg.HeartbeatResponse {
	if !c.Allowed(auth.Read, auth.Group, req.GroupID) {
		resp := msg.NewHeartbeatResponse()
		resp.ErrorCode = int16(kafka.GroupAuthorizationFailed)
		return &resp
	}
	return h.Groups.Heartbeat(c.Ctx, caller(c), req)
}
