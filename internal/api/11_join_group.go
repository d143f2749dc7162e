package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// joinGroup answers JoinGroup (key 11, versions 0 to 9). It waits for the other
// members, holding nothing but its goroutine.
//
//	authorize  GROUP_AUTHORIZATION_FAILED
//	join       what the group says, see [classic.Group.Join]
//
// Versions: 1 rebalance timeout, 4 a new member is given its id first (KIP-394),
// 5 static members (KIP-345), 6 flexible, 7 protocol type, 8 reason, 9 the
// leader may be told not to assign (KIP-814).
func (h *GroupHandlers) joinGroup(c *Call, req *msg.JoinGroupRequest) *msg.JoinGroupResponse {
	if !c.Allowed(auth.Read, auth.Group, req.GroupID) {
		resp := msg.NewJoinGroupResponse()
		resp.ErrorCode, resp.MemberID = int16(kafka.GroupAuthorizationFailed), req.MemberID
		if c.Version < 7 {
			resp.ProtocolName = new("")
		}
		return &resp
	}
	for i := range req.Protocols {
		req.Protocols[i].Metadata = own(req.Protocols[i].Metadata)
	}
	c.Free()
	return h.Groups.Join(c.Ctx, caller(c), req)
}
