package api

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeShareGroupOffsets answers DescribeShareGroupOffsets (key 90, versions 0
// to 1): how far share groups are (KIP-932).
//
//	feature    UNSUPPORTED_VERSION unless share.version is 1
//	authorize  GROUP_AUTHORIZATION_FAILED; TOPIC_AUTHORIZATION_FAILED for topics
//	           that were asked for, others are left out
//	describe   a partition of which nothing is known has the start offset -1;
//	           NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS
//
// Versions: 1 lag (KIP-1226).
func (h *GroupHandlers) describeShareGroupOffsets(c *Call, req *msg.DescribeShareGroupOffsetsRequest) *msg.DescribeShareGroupOffsetsResponse {
	resp := msg.NewDescribeShareGroupOffsetsResponse()
	for _, g := range req.Groups {
		row := msg.DescribeShareGroupOffsetsResponseGroup{GroupID: g.GroupID}
		switch {
		case !h.sharing():
			row.ErrorCode = int16(kafka.UnsupportedVersion)
		case !c.Allowed(auth.Describe, auth.Group, g.GroupID):
			row.ErrorCode = int16(kafka.GroupAuthorizationFailed)
		case g.Topics == nil:
			row = h.Groups.Shares().DescribeOffsets(c.Ctx, g.GroupID, nil)
			row.Topics = slices.DeleteFunc(row.Topics, func(t msg.DescribeShareGroupOffsetsResponseGroupTopic) bool {
				return !c.Allowed(auth.Describe, auth.Topic, t.TopicName)
			})
		case len(g.Topics) > 0:
			row = h.describeShareOffsets(c, &g)
		}
		resp.Groups = append(resp.Groups, row)
	}
	return &resp
}

func (h *GroupHandlers) describeShareOffsets(c *Call, g *msg.DescribeShareGroupOffsetsRequestGroup) msg.DescribeShareGroupOffsetsResponseGroup {
	allowed := []msg.DescribeShareGroupOffsetsRequestGroupTopic{}
	var denied []msg.DescribeShareGroupOffsetsResponseGroupTopic
	for _, t := range g.Topics {
		if c.Allowed(auth.Describe, auth.Topic, t.TopicName) {
			allowed = append(allowed, t)
			continue
		}
		row := msg.DescribeShareGroupOffsetsResponseGroupTopic{TopicName: t.TopicName}
		for _, p := range t.Partitions {
			one := msg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
			one.PartitionIndex, one.StartOffset = p, -1
			one.ErrorCode, one.ErrorMessage = int16(kafka.TopicAuthorizationFailed), new("Topic authorization failed.")
			row.Partitions = append(row.Partitions, one)
		}
		denied = append(denied, row)
	}
	row := h.Groups.Shares().DescribeOffsets(c.Ctx, g.GroupID, allowed)
	if row.ErrorCode == 0 {
		row.Topics = append(row.Topics, denied...)
	}
	return row
}
