package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// alterShareGroupOffsets answers AlterShareGroupOffsets (key 91, version 0): a
// share group without members, or one that is to be, begins elsewhere (KIP-932).
//
//	feature    UNSUPPORTED_VERSION unless share.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED; TOPIC_AUTHORIZATION_FAILED for a topic
//	alter      NON_EMPTY_GROUP, INVALID_GROUP_ID, GROUP_ID_NOT_FOUND if the group
//	           is of another kind; UNKNOWN_TOPIC_OR_PARTITION for a partition
func (h *GroupHandlers) alterShareGroupOffsets(c *Call, req *msg.AlterShareGroupOffsetsRequest) *msg.AlterShareGroupOffsetsResponse {
	resp := msg.NewAlterShareGroupOffsetsResponse()
	switch {
	case !h.sharing():
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.UnsupportedVersion), new("The version of API is not supported.")
		return &resp
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.GroupAuthorizationFailed), new("Group authorization failed.")
		return &resp
	}
	var refused []msg.AlterShareGroupOffsetsResponseResponse
	req.Topics = slices.DeleteFunc(req.Topics, func(t msg.AlterShareGroupOffsetsRequestTopic) bool {
		known := h.Image().Topic(t.TopicName)
		row := msg.AlterShareGroupOffsetsResponseResponse{TopicName: t.TopicName}
		bad, text := kafka.None, ""
		switch {
		case !c.Allowed(auth.Read, auth.Topic, t.TopicName):
			bad, text = kafka.TopicAuthorizationFailed, "Topic authorization failed."
		case known == nil:
			bad, text = kafka.UnknownTopicOrPartition, "This server does not host this topic-partition."
		default:
			return false
		}
		if known != nil {
			row.TopicID = known.ID
		}
		for _, p := range t.Partitions {
			row.Partitions = append(row.Partitions, msg.AlterShareGroupOffsetsResponseResponsePartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: int16(bad), ErrorMessage: &text})
		}
		refused = append(refused, row)
		return true
	})
	out := h.Groups.Shares().AlterOffsets(c.Ctx, req)
	if out.ErrorCode == 0 {
		out.Responses = append(refused, out.Responses...)
	}
	return out
}
