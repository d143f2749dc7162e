package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// AlterPartition decides on a leader's wish to change its ISR (KIP-497). The
// partition epoch makes it a compare-and-swap; brokers that must not be in it are
// refused (KIP-841, KIP-903). The change may end a reassignment, and that may end
// the leader's leadership: then the answer is NEW_LEADER_ELECTED.
func AlterPartition(s *State, req *msg.AlterPartitionRequest) (Records, *msg.AlterPartitionResponse) {
	resp := msg.NewAlterPartitionResponse()
	switch b := s.Image.Broker(req.BrokerID); {
	case b == nil || b.Epoch != req.BrokerEpoch:
		resp.ErrorCode = int16(kafka.StaleBrokerEpoch)
		return nil, &resp
	}
	var recs Records
	for i := range req.Topics {
		rt := &req.Topics[i]
		t := s.Image.TopicByID(rt.TopicID)
		out := msg.AlterPartitionResponseTopic{TopicID: rt.TopicID}
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			var row msg.AlterPartitionResponseTopicPartition
			row.PartitionIndex = rp.PartitionIndex
			p := t.Partition(rp.PartitionIndex)
			if code := s.mayAlter(t, p, req.BrokerID, rp); code != kafka.None {
				row.ErrorCode = int16(code)
				out.Partitions = append(out.Partitions, row)
				continue
			}
			c := s.change(t, p)
			c.isr, c.recovered = s.inOrder(p, wanted(rp)), rp.LeaderRecoveryState == 0
			row = c.altered(req.BrokerID, &recs)
			out.Partitions = append(out.Partitions, row)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return recs, &resp
}

// wanted is the ISR that is asked for, from whichever field has it: with the
// brokers' epochs (from version 3), else without. A request that never was bytes
// may have both.
func wanted(rp *msg.AlterPartitionRequestTopicPartition) []int32 {
	if len(rp.NewISRWithEpochs) == 0 {
		return slices.Clone(rp.NewISR)
	}
	var isr []int32
	for _, m := range rp.NewISRWithEpochs {
		isr = append(isr, m.BrokerID)
	}
	return isr
}

func (s *State) mayAlter(t *cluster.Topic, p *cluster.Partition, broker int32, rp *msg.AlterPartitionRequestTopicPartition) kafka.Code {
	isr := wanted(rp)
	switch {
	case t == nil:
		return kafka.UnknownTopicID
	case p == nil:
		return kafka.UnknownTopicOrPartition
	case rp.LeaderEpoch > p.LeaderEpoch || rp.PartitionEpoch > p.PartitionEpoch:
		return kafka.NotController // the broker knows more than this controller
	case rp.LeaderEpoch < p.LeaderEpoch && !invariant.Planted("controller/stale"):
		return kafka.FencedLeaderEpoch
	case p.Leader != broker && !invariant.Planted("controller/stale"):
		return kafka.InvalidRequest
	case rp.PartitionEpoch < p.PartitionEpoch && !invariant.Planted("controller/stale"):
		return kafka.InvalidUpdateVersion
	case !slices.Contains(isr, broker), rp.LeaderRecoveryState == 1 && (!p.Recovering || len(isr) > 1):
		return kafka.InvalidRequest
	}
	for i, id := range isr {
		if !p.HasReplica(id) || slices.Contains(isr[:i], id) {
			return kafka.InvalidRequest
		}
	}
	return s.eligible(isr, rp)
}

// eligible refuses an ISR with brokers that are out of service, about to leave
// it, or known to the leader as a process that has been replaced since.
func (s *State) eligible(isr []int32, rp *msg.AlterPartitionRequestTopicPartition) kafka.Code {
	for _, id := range isr {
		if !s.Image.Active(id) {
			return kafka.IneligibleReplica
		}
	}
	for _, m := range rp.NewISRWithEpochs {
		if m.BrokerEpoch != -1 && s.Image.Broker(m.BrokerID).Epoch != m.BrokerEpoch {
			return kafka.IneligibleReplica
		}
	}
	return kafka.None
}

// inOrder keeps an ISR that is the same but for its order as it is.
func (s *State) inOrder(p *cluster.Partition, isr []int32) []int32 {
	if len(isr) == len(p.ISR) && contains(p.ISR, isr) {
		return p.ISR
	}
	return isr
}

// altered adds the change to the records and gives the leader's answer.
func (c *change) altered(leader int32, recs *Records) msg.AlterPartitionResponseTopicPartition {
	row := msg.AlterPartitionResponseTopicPartition{PartitionIndex: c.p.ID, LeaderID: c.p.Leader, LeaderEpoch: c.p.LeaderEpoch,
		PartitionEpoch: c.p.PartitionEpoch, ISR: c.p.ISR}
	if c.p.Recovering {
		row.LeaderRecoveryState = 1
	}
	r := c.record()
	if r == nil {
		return row
	}
	*recs = append(*recs, r)
	if c.leader != leader {
		return msg.AlterPartitionResponseTopicPartition{PartitionIndex: c.p.ID, ErrorCode: int16(kafka.NewLeaderElected)}
	}
	row.ISR, row.PartitionEpoch = c.isr, c.p.PartitionEpoch+1
	if r.Leader == leader { // named again for its new epoch
		row.LeaderEpoch++
	}
	if r.LeaderRecoveryState == 0 {
		row.LeaderRecoveryState = 0
	}
	return row
}
