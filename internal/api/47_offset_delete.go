package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// offsetDelete answers OffsetDelete (key 47, version 0, KIP-496).
//
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION
//	delete     INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP, for a
//	           topic GROUP_SUBSCRIBED_TO_TOPIC
//
// Topics that are refused come first in the answer, as in Kafka.
func (h *GroupHandlers) offsetDelete(c *Call, req *msg.OffsetDeleteRequest) *msg.OffsetDeleteResponse {
	resp := msg.NewOffsetDeleteResponse()
	if !c.Allowed(auth.Delete, auth.Group, req.GroupID) {
		resp.ErrorCode = int16(kafka.GroupAuthorizationFailed)
		return &resp
	}
	rest := req.Topics[:0:0]
	for i := range req.Topics {
		t := &req.Topics[i]
		known, unknown := *t, *t
		topic := h.Image().Topic(t.Name)
		switch {
		case !c.Allowed(auth.Read, auth.Topic, t.Name):
			resp.Topics = mergeDelete(resp.Topics, refuseDelete(t, kafka.TopicAuthorizationFailed))
			continue
		case topic == nil:
			resp.Topics = mergeDelete(resp.Topics, refuseDelete(t, kafka.UnknownTopicOrPartition))
			continue
		}
		known.Partitions, unknown.Partitions = nil, nil
		for _, p := range t.Partitions {
			if topic.Partition(p.PartitionIndex) != nil {
				known.Partitions = append(known.Partitions, p)
			} else {
				unknown.Partitions = append(unknown.Partitions, p)
			}
		}
		if len(unknown.Partitions) > 0 {
			resp.Topics = mergeDelete(resp.Topics, refuseDelete(&unknown, kafka.UnknownTopicOrPartition))
		}
		if len(known.Partitions) > 0 {
			rest = append(rest, known)
		}
	}
	req.Topics = rest
	got := h.Groups.OffsetDelete(c.Ctx, caller(c), req)
	if got.ErrorCode != 0 || len(resp.Topics) == 0 {
		return got
	}
	for _, t := range got.Topics {
		resp.Topics = mergeDelete(resp.Topics, t)
	}
	return &resp
}

func refuseDelete(t *msg.OffsetDeleteRequestTopic, code kafka.Code) msg.OffsetDeleteResponseTopic {
	rt := msg.OffsetDeleteResponseTopic{Name: t.Name}
	for _, p := range t.Partitions {
		rt.Partitions = append(rt.Partitions, msg.OffsetDeleteResponseTopicPartition{
			PartitionIndex: p.PartitionIndex, ErrorCode: int16(code),
		})
	}
	return rt
}

// mergeDelete adds a topic's row, or its partitions to the row there is.
func mergeDelete(rows []msg.OffsetDeleteResponseTopic, t msg.OffsetDeleteResponseTopic) []msg.OffsetDeleteResponseTopic {
	for i := range rows {
		if rows[i].Name == t.Name {
			rows[i].Partitions = append(rows[i].Partitions, t.Partitions...)
			return rows
		}
	}
	return append(rows, t)
}
