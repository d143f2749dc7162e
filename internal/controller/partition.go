package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// choose picks a leader: the first replica, in the order of preference, that is
// alive and in the ISR; else one that is eligible though out of the ISR, which
// then is the ISR. [kafka.NoBroker] when none may lead.
func choose(p *cluster.Partition, isr []int32, alive func(int32) bool) (leader int32, newISR []int32) {
	for _, id := range p.Replicas {
		if slices.Contains(isr, id) && alive(id) {
			return id, isr
		}
	}
	for _, id := range p.Replicas {
		if slices.Contains(p.ELR, id) && alive(id) {
			return id, []int32{id}
		}
	}
	return kafka.NoBroker, isr
}

// without decides what becomes of a partition when a broker leaves service; nil
// when nothing does. The last of an ISR stays in it: only that replica is known
// to hold all that was committed.
func without(s *State, t *cluster.Topic, p *cluster.Partition, id int32, alive func(int32) bool) *state.PartitionChangeRecord {
	at := slices.Index(p.ISR, id)
	if at < 0 && p.Leader != id {
		return nil
	}
	isr := p.ISR
	if at >= 0 && len(isr) > 1 {
		isr = slices.Delete(slices.Clone(isr), at, at+1)
	}
	r := changeOf(t, p)
	if p.Leader == id {
		r.Leader, isr = choose(p, isr, alive)
	}
	if !slices.Equal(isr, p.ISR) {
		r.ISR = isr
		s.noteELR(t, p, isr, r)
	}
	return r
}

// noteELR keeps the eligible replicas (KIP-966): while the ISR is smaller than
// the minimum, those that left it still hold all that was committed, since
// nothing can be committed without the minimum. At or above it, nobody else
// needs to be known.
func (s *State) noteELR(t *cluster.Topic, p *cluster.Partition, isr []int32, r *state.PartitionChangeRecord) {
	if !s.elr() {
		return
	}
	elr := []int32{}
	if len(isr) < min(s.minISR(t), len(p.Replicas)) {
		for _, id := range p.Replicas {
			held := slices.Contains(p.ISR, id) || slices.Contains(p.ELR, id)
			if held && !slices.Contains(isr, id) {
				elr = append(elr, id)
			}
		}
	}
	if !slices.Equal(elr, p.ELR) {
		r.EligibleLeaderReplicas = elr
	}
}

func (s *State) minISR(t *cluster.Topic) int {
	v, _ := s.Config.TopicValue(MinISR, s.Image.Config(cluster.Resource{Kind: cluster.TopicResource, Name: t.Name}).Map())
	return int(v.Int64())
}

// AlterPartition decides on a leader's wish to change its ISR. The partition
// epoch makes it a compare-and-swap; brokers that must not join are refused
// (KIP-903).
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
			isr := wanted(rp)
			row.LeaderID, row.LeaderEpoch, row.ISR = p.Leader, p.LeaderEpoch, isr
			row.LeaderRecoveryState, row.PartitionEpoch = rp.LeaderRecoveryState, p.PartitionEpoch
			if r := s.alter(t, p, isr, rp.LeaderRecoveryState); r != nil {
				recs = append(recs, r)
				row.PartitionEpoch++
			}
			out.Partitions = append(out.Partitions, row)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return recs, &resp
}

// wanted is the ISR that is asked for, from whichever field has it.
func wanted(rp *msg.AlterPartitionRequestTopicPartition) []int32 {
	isr := slices.Clone(rp.NewISR)
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
	case rp.LeaderEpoch < p.LeaderEpoch:
		return kafka.FencedLeaderEpoch
	case p.Leader != broker:
		return kafka.InvalidRequest
	case rp.PartitionEpoch < p.PartitionEpoch:
		return kafka.InvalidUpdateVersion
	case !slices.Contains(isr, broker), rp.LeaderRecoveryState == 1 && (!p.Recovering || len(isr) > 1):
		return kafka.InvalidRequest
	}
	for i, id := range isr {
		if !p.HasReplica(id) || slices.Contains(isr[:i], id) {
			return kafka.InvalidRequest
		}
	}
	return s.eligible(p, isr, rp)
}

// eligible refuses brokers that would join the ISR though they are out of
// service, or as a process that has been replaced since.
func (s *State) eligible(p *cluster.Partition, isr []int32, rp *msg.AlterPartitionRequestTopicPartition) kafka.Code {
	for _, id := range isr {
		if !slices.Contains(p.ISR, id) && !s.Image.Active(id) {
			return kafka.IneligibleReplica
		}
	}
	for _, m := range rp.NewISRWithEpochs {
		if b := s.Image.Broker(m.BrokerID); m.BrokerEpoch != -1 && (b == nil || b.Epoch != m.BrokerEpoch) {
			return kafka.IneligibleReplica
		}
	}
	return kafka.None
}

func (s *State) alter(t *cluster.Topic, p *cluster.Partition, isr []int32, recovery int8) *state.PartitionChangeRecord {
	same := slices.Equal(slices.Sorted(slices.Values(isr)), slices.Sorted(slices.Values(p.ISR)))
	if same && p.Recovering == (recovery == 1) {
		return nil
	}
	r := changeOf(t, p)
	if !same {
		r.ISR = isr
		s.noteELR(t, p, isr, r)
	}
	if p.Recovering && recovery == 0 {
		r.LeaderRecoveryState = 0
	}
	return r
}
