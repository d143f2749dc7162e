package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// txnOffsetCommit answers TxnOffsetCommit (key 28, versions 0 to 6).
//
//	authorize  TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
//	           GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID
//	commit     what the coordinators say, see [group.Service.TxnOffsetCommit]
//
// Topics that are refused come first in the answer, as in Kafka.
//
// Versions: 2 leader epoch, 3 flexible, member and generation (KIP-447), 4
// TRANSACTION_ABORTABLE, 5 makes the offsets part of the transaction (KIP-890),
// 6 topic ids (KIP-1319).
func (h *GroupHandlers) txnOffsetCommit(c *Call, req *msg.TxnOffsetCommitRequest) *msg.TxnOffsetCommitResponse {
	resp := msg.NewTxnOffsetCommitResponse()
	refused := kafka.None
	switch {
	case !c.Allowed(auth.Write, auth.TransactionalID, req.TransactionalID):
		refused = kafka.TransactionalIDAuthorizationFailed
	case !c.Allowed(auth.Read, auth.Group, req.GroupID):
		refused = kafka.GroupAuthorizationFailed
	case c.Version < 5 && !speaks(c, h.MinVersion, olderVersion):
		refused = kafka.UnsupportedVersion
	}
	if refused != kafka.None {
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, refuseTxnCommit(&req.Topics[i], refused))
		}
		return &resp
	}
	rest := req.Topics[:0:0]
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, code := h.commitTopic(c, t.Name, t.TopicID, c.Version >= 6)
		if code != kafka.None {
			resp.Topics = mergeTxnCommit(resp.Topics, refuseTxnCommit(t, code))
			continue
		}
		known, unknown := *t, *t
		known.Name, known.TopicID, known.Partitions, unknown.Partitions = topic.Name, topic.ID, nil, nil
		for _, p := range t.Partitions {
			if topic.Partition(p.PartitionIndex) != nil {
				known.Partitions = append(known.Partitions, p)
			} else {
				unknown.Partitions = append(unknown.Partitions, p)
			}
		}
		if len(unknown.Partitions) > 0 {
			resp.Topics = mergeTxnCommit(resp.Topics, refuseTxnCommit(&unknown, kafka.UnknownTopicOrPartition))
		}
		if len(known.Partitions) > 0 {
			rest = append(rest, known)
		}
	}
	if len(rest) == 0 {
		return &resp
	}
	req.Topics = rest
	for _, t := range h.Groups.TxnOffsetCommit(c.Ctx, caller(c), req).Topics {
		resp.Topics = mergeTxnCommit(resp.Topics, t)
	}
	return &resp
}

func refuseTxnCommit(t *msg.TxnOffsetCommitRequestTopic, code kafka.Code) msg.TxnOffsetCommitResponseTopic {
	rt := msg.TxnOffsetCommitResponseTopic{Name: t.Name, TopicID: t.TopicID}
	for _, p := range t.Partitions {
		rt.Partitions = append(rt.Partitions, msg.TxnOffsetCommitResponseTopicPartition{
			PartitionIndex: p.PartitionIndex, ErrorCode: int16(code),
		})
	}
	return rt
}

// mergeTxnCommit adds a topic's row, or its partitions to the row there is.
func mergeTxnCommit(rows []msg.TxnOffsetCommitResponseTopic, t msg.TxnOffsetCommitResponseTopic) []msg.TxnOffsetCommitResponseTopic {
	for i := range rows {
		if rows[i].Name == t.Name && (t.Name != "" || rows[i].TopicID == t.TopicID) {
			rows[i].Partitions = append(rows[i].Partitions, t.Partitions...)
			return rows
		}
	}
	return append(rows, t)
}
