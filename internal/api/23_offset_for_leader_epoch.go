package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// offsetForLeaderEpoch answers OffsetForLeaderEpoch (key 23, versions 2 to 4):
// the largest epoch not above the one asked for, and where it ended. -1 and -1
// say that none is known, which is no error.
//
//	authorize  TOPIC_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER
//	look up    FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR
//
// Versions: 3 replica id, 4 flexible (KIP-320).
func (h *DataHandlers) offsetForLeaderEpoch(c *Call, req *msg.OffsetForLeaderEpochRequest) *msg.OffsetForLeaderEpochResponse {
	resp := msg.NewOffsetForLeaderEpochResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := msg.OffsetForLeaderEpochResponseTopic{Topic: t.Topic}
		ref := topicRef{name: t.Topic}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			row := msg.NewOffsetForLeaderEpochResponseTopicPartition()
			row.Partition = p.Partition
			r, err := h.readable(c, &ref, p.Partition, auth.Describe)
			if err == nil {
				end, err2 := r.EndOffsetForEpoch(p.CurrentLeaderEpoch, p.LeaderEpoch)
				row.LeaderEpoch, row.EndOffset, err = end.Epoch, end.Offset, err2
			}
			row.ErrorCode = int16(kafka.CodeOf(err))
			out.Partitions = append(out.Partitions, row)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return &resp
}
