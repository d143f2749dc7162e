package api

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// acknowledge answers ShareAcknowledge (key 79, versions 1 and 2).
//
// A member says what became of records that it acquired; it is answered when
// that is stored. The final epoch also ends its session and gives back what is
// left. Errors:
//
//	request    INVALID_REQUEST, GROUP_AUTHORIZATION_FAILED, UNSUPPORTED_VERSION
//	session    SHARE_SESSION_NOT_FOUND, INVALID_SHARE_SESSION_EPOCH
//	partition  UNKNOWN_TOPIC_ID, TOPIC_AUTHORIZATION_FAILED,
//	           UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST, INVALID_RECORD_STATE,
//	           NOT_LEADER_OR_FOLLOWER, COORDINATOR_NOT_AVAILABLE
//
// Versions: 2 locks that are renewed (KIP-1222).
func (h *ShareHandlers) acknowledge(c *Call, req *msg.ShareAcknowledgeRequest) *msg.ShareAcknowledgeResponse {
	resp := new(msg.NewShareAcknowledgeResponse())
	m, code := h.who(c, req.GroupID, req.MemberID)
	if code == kafka.None {
		code = h.goOn(m, req.ShareSessionEpoch)
	}
	if code != kafka.None {
		c.row.stats.Fail()
		resp.ErrorCode = int16(code)
		return resp
	}
	set := h.Share.Settings(m.Group)
	renews := req.IsRenewAck && set.Renews
	var parts []sharePartition
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			q := &t.Partitions[j]
			p := sharePartition{TopicPartition: share.TopicPartition{TopicID: t.TopicID, Partition: q.PartitionIndex}}
			batches := make([]ackBatch, len(q.AcknowledgementBatches))
			for k := range batches {
				batches[k] = ackBatch(q.AcknowledgementBatches[k])
			}
			p.takeAcks(batches, renews)
			parts = append(parts, p)
		}
	}
	c.Free()
	if len(parts) > 0 {
		h.settle(c, m, parts)
	}
	if req.ShareSessionEpoch == share.EpochFinal {
		h.Share.End(c.Ctx, m)
	}
	resp.AcquisitionLockTimeoutMs = lockMillis(&set)
	for i := range parts {
		h.tell(c, resp, &parts[i])
	}
	return resp
}

// goOn takes the step from one request of a session to the next.
func (h *ShareHandlers) goOn(m share.Member, epoch int32) kafka.Code {
	switch epoch {
	case share.EpochInitial:
		return kafka.InvalidShareSessionEpoch
	case share.EpochFinal:
		return h.Share.Sessions.Check(m, epoch)
	}
	return h.Share.Sessions.Next(m, epoch, nil, nil)
}

// tell adds a partition to the answer.
func (h *ShareHandlers) tell(c *Call, resp *msg.ShareAcknowledgeResponse, p *sharePartition) {
	n := len(resp.Responses)
	if n == 0 || resp.Responses[n-1].TopicID != p.TopicID {
		resp.Responses = append(resp.Responses, msg.ShareAcknowledgeResponseResponse{TopicID: p.TopicID})
		n++
	}
	row := msg.ShareAcknowledgeResponseResponsePartition{PartitionIndex: p.Partition, ErrorCode: int16(p.code), ErrorMessage: p.why}
	if p.code != kafka.None {
		c.row.stats.Fail()
	}
	leader, b := h.leaderOf(c, p.TopicPartition, p.code)
	row.CurrentLeader.LeaderID, row.CurrentLeader.LeaderEpoch = leader.id, leader.epoch
	resp.NodeEndpoints = addNode(resp.NodeEndpoints, h.node(c, b))
	t := &resp.Responses[n-1]
	t.Partitions = append(t.Partitions, row)
}
