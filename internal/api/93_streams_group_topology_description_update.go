package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// streamsGroupTopologyDescriptionUpdate answers the request of this name (key 93,
// version 0), by which a member describes its topology when a heartbeat asked for
// it (KIP-1331).
//
//	feature    UNSUPPORTED_VERSION unless the protocol is on and streams.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED
//	check      UNSUPPORTED_VERSION when descriptions are not kept, INVALID_REQUEST
//	find       GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID
//	store      INVALID_REQUEST: another epoch than the group's, nodes that are none
//
// Differs from Apache Kafka: there is no plugin; the group's coordinator keeps the
// description itself, in memory, and asks again when it has moved.
func (h *GroupHandlers) streamsGroupTopologyDescriptionUpdate(
	c *Call, req *msg.StreamsGroupTopologyDescriptionUpdateRequest,
) *msg.StreamsGroupTopologyDescriptionUpdateResponse {
	bad := kafka.None
	switch {
	case !h.streaming():
		bad = kafka.UnsupportedVersion
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		bad = kafka.GroupAuthorizationFailed
	}
	if bad != kafka.None {
		resp := msg.NewStreamsGroupTopologyDescriptionUpdateResponse()
		resp.ErrorCode = int16(bad)
		return &resp
	}
	return h.Groups.StreamsGroupTopologyDescriptionUpdate(c.Ctx, req)
}
