package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// offsetCommit answers OffsetCommit (key 8, versions 2 to 10).
//
//	authorize  GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID
//	commit     what the group says, see [group.Service.OffsetCommit]
//
// Topics that are refused come first in the answer, as in Kafka.
//
// Versions: 6 leader epoch, 7 static members, 8 flexible, 9 GROUP_ID_NOT_FOUND
// instead of ILLEGAL_GENERATION (KIP-848), 10 topic ids.
func (h *GroupHandlers) offsetCommit(c *Call, req *msg.OffsetCommitRequest) *msg.OffsetCommitResponse {
	resp := msg.NewOffsetCommitResponse()
	if !c.Allowed(auth.Read, auth.Group, req.GroupID) {
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, refuseCommit(&req.Topics[i], kafka.GroupAuthorizationFailed))
		}
		return &resp
	}
	rest := req.Topics[:0:0]
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, code := h.commitTopic(c, t.Name, t.TopicID, c.Version >= 10)
		if code != kafka.None {
			resp.Topics = mergeCommit(resp.Topics, refuseCommit(t, code))
			continue
		}
		known := *t
		known.Name, known.TopicID, known.Partitions = topic.Name, topic.ID, nil
		unknown := *t
		unknown.Partitions = nil
		for _, p := range t.Partitions {
			if topic.Partition(p.PartitionIndex) != nil {
				known.Partitions = append(known.Partitions, p)
			} else {
				unknown.Partitions = append(unknown.Partitions, p)
			}
		}
		if len(unknown.Partitions) > 0 {
			resp.Topics = mergeCommit(resp.Topics, refuseCommit(&unknown, kafka.UnknownTopicOrPartition))
		}
		if len(known.Partitions) > 0 {
			rest = append(rest, known)
		}
	}
	if len(rest) == 0 && len(req.Topics) > 0 {
		return &resp
	}
	req.Topics = rest
	got := h.Groups.OffsetCommit(c.Ctx, caller(c), req)
	if len(resp.Topics) == 0 {
		return got
	}
	for _, t := range got.Topics {
		resp.Topics = mergeCommit(resp.Topics, t)
	}
	return &resp
}

// commitTopic finds the topic that a commit names, or identifies.
func (h *GroupHandlers) commitTopic(c *Call, name string, id kafka.UUID, byID bool) (*cluster.Topic, kafka.Code) {
	topic := h.Image().Topic(name)
	if byID {
		if topic = h.Image().TopicByID(id); topic == nil {
			return nil, kafka.UnknownTopicID
		}
		name = topic.Name
	}
	switch {
	case !c.Allowed(auth.Read, auth.Topic, name):
		return nil, kafka.TopicAuthorizationFailed
	case topic == nil:
		return nil, kafka.UnknownTopicOrPartition
	}
	return topic, kafka.None
}

func refuseCommit(t *msg.OffsetCommitRequestTopic, code kafka.Code) msg.OffsetCommitResponseTopic {
	rt := msg.OffsetCommitResponseTopic{Name: t.Name, TopicID: t.TopicID}
	for _, p := range t.Partitions {
		rt.Partitions = append(rt.Partitions, msg.OffsetCommitResponseTopicPartition{
			PartitionIndex: p.PartitionIndex, ErrorCode: int16(code),
		})
	}
	return rt
}

// mergeCommit adds a topic's row, or its partitions to the row there is. A row
// without a name is known by its id.
func mergeCommit(rows []msg.OffsetCommitResponseTopic, t msg.OffsetCommitResponseTopic) []msg.OffsetCommitResponseTopic {
	for i := range rows {
		same := rows[i].Name == t.Name
		if rows[i].Name == "" {
			same = rows[i].TopicID == t.TopicID
		}
		if same {
			rows[i].Partitions = append(rows[i].Partitions, t.Partitions...)
			return rows
		}
	}
	return append(rows, t)
}
