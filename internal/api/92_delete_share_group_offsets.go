package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// deleteShareGroupOffsets answers DeleteShareGroupOffsets (key 92, version 0): a
// share group without members forgets topics (KIP-932).
//
//	feature    UNSUPPORTED_VERSION unless share.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED; TOPIC_AUTHORIZATION_FAILED for a topic
//	delete     NON_EMPTY_GROUP, INVALID_GROUP_ID, GROUP_ID_NOT_FOUND;
//	           UNKNOWN_TOPIC_OR_PARTITION for a topic that it does not know
func (h *GroupHandlers) deleteShareGroupOffsets(c *Call, req *msg.DeleteShareGroupOffsetsRequest) *msg.DeleteShareGroupOffsetsResponse {
	resp := msg.NewDeleteShareGroupOffsetsResponse()
	switch {
	case !h.sharing():
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.UnsupportedVersion), new("The version of API is not supported.")
		return &resp
	case !c.Allowed(auth.Delete, auth.Group, req.GroupID):
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.GroupAuthorizationFailed), new("Group authorization failed.")
		return &resp
	}
	var refused []msg.DeleteShareGroupOffsetsResponseResponse
	req.Topics = slices.DeleteFunc(req.Topics, func(t msg.DeleteShareGroupOffsetsRequestTopic) bool {
		if c.Allowed(auth.Read, auth.Topic, t.TopicName) {
			return false
		}
		refused = append(refused, msg.DeleteShareGroupOffsetsResponseResponse{TopicName: t.TopicName,
			ErrorCode: int16(kafka.TopicAuthorizationFailed), ErrorMessage: new("Topic authorization failed.")})
		return true
	})
	out := h.Groups.Shares().DeleteOffsets(c.Ctx, req)
	if out.ErrorCode == 0 {
		out.Responses = append(refused, out.Responses...)
	}
	return out
}
