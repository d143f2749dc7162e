package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// AlterPartitionReassignments decides on which brokers shall have a partition
// (KIP-455). New replicas come first, those that are no longer wanted stay until
// all that are wanted are in sync; the same ones in another order take effect at
// once. Null takes back what is under way. Each partition is answered for itself:
// UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT,
// INVALID_REPLICATION_FACTOR where the number must not change (KIP-860),
// NO_REASSIGNMENT_IN_PROGRESS.
func AlterPartitionReassignments(s *State, req *msg.AlterPartitionReassignmentsRequest) (Records, *msg.AlterPartitionReassignmentsResponse) {
	resp := msg.NewAlterPartitionReassignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	var recs Records
	now := s
	asked := map[kafka.TopicPartition]bool{}
	for _, rt := range req.Topics {
		out := msg.AlterPartitionReassignmentsResponseResponse{Name: rt.Name}
		for i := range rt.Partitions {
			rp := &rt.Partitions[i]
			if tp := (kafka.TopicPartition{Topic: rt.Name, Partition: rp.PartitionIndex}); asked[tp] {
				now = s.after(recs) // named twice: the later rests on the earlier
			} else {
				asked[tp] = true
			}
			r, err := now.reassign(rt.Name, rp, req.AllowReplicationFactorChange)
			if r != nil {
				recs = append(recs, r)
			}
			row := msg.AlterPartitionReassignmentsResponseResponsePartition{PartitionIndex: rp.PartitionIndex}
			row.ErrorCode, row.ErrorMessage = answer(err)
			out.Partitions = append(out.Partitions, row)
		}
		resp.Responses = append(resp.Responses, out)
	}
	return recs, &resp
}

func (s *State) reassign(name string, rp *msg.AlterPartitionReassignmentsRequestTopicPartition, resize bool) (*state.PartitionChangeRecord, error) {
	t := s.Image.Topic(name)
	p := t.Partition(rp.PartitionIndex)
	switch {
	case t == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "Unable to find a topic named %s.", name)
	case p == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "Unable to find partition %s:%d.", name, rp.PartitionIndex)
	case rp.Replicas == nil:
		return s.revert(t, p)
	}
	if _, err := s.manual(rp.Replicas, 0); err != nil {
		return nil, err
	}
	if has := len(p.Target()); !resize && has != len(rp.Replicas) {
		return nil, refuse(kafka.InvalidReplicationFactor, "The replication factor is changed from %d to %d", has, len(rp.Replicas))
	}
	return s.change(t, p).to(rp.Replicas).record(), nil
}

// to begins a reassignment. What an earlier one was about to add and this one
// does not want is removed and, if this one is taken back, removed too.
func (c *change) to(target []int32) *change {
	original := without(c.p.Replicas, c.p.Adding)
	c.removing = slices.Sorted(slices.Values(without(c.p.Replicas, target)))
	c.adding = append(without(target, original), without(c.p.Adding, target)...)
	slices.Sort(c.adding)
	c.replicas = append(slices.Clone(target), c.removing...)
	return c
}

// revert takes back a reassignment: what it added goes, what it was to remove
// stays. Where only added replicas hold all that is committed, that elects one
// which may miss records: if the topic permits it, and one is there.
func (s *State) revert(t *cluster.Topic, p *cluster.Partition) (*state.PartitionChangeRecord, error) {
	if !p.Reassigning() {
		return nil, refuse(kafka.NoReassignmentInProgress, "")
	}
	c := s.change(t, p)
	c.isr, c.replicas, c.adding, c.removing = without(p.ISR, p.Adding), without(p.Replicas, p.Adding), nil, nil
	dirty := len(c.isr) == 0 && slices.ContainsFunc(p.Adding, c.held)
	r := c.record()
	if dirty && (!c.unclean || c.leader == kafka.NoBroker) {
		return nil, refuse(kafka.InvalidReplicaAssignment,
			"Unable to revert partition assignment for %s:%d because it would require an unclean leader election.", t.Name, p.ID)
	}
	return r, nil
}

// ListPartitionReassignments lists the partitions that brokers are added to or
// taken from, of all topics where none is named.
func ListPartitionReassignments(m *cluster.Image, req *msg.ListPartitionReassignmentsRequest) *msg.ListPartitionReassignmentsResponse {
	resp := msg.NewListPartitionReassignmentsResponse()
	list := func(t *cluster.Topic, wanted func(int32) bool) {
		out := msg.ListPartitionReassignmentsResponseTopic{Name: t.Name}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Reassigning() && wanted(p.ID) {
				out.Partitions = append(out.Partitions, msg.ListPartitionReassignmentsResponseTopicPartition{
					PartitionIndex: p.ID, Replicas: p.Replicas, AddingReplicas: p.Adding, RemovingReplicas: p.Removing})
			}
		}
		if out.Partitions != nil {
			resp.Topics = append(resp.Topics, out)
		}
	}
	if req.Topics == nil {
		for t := range m.TopicsFrom("") {
			list(t, func(int32) bool { return true })
		}
		return &resp
	}
	for _, rt := range req.Topics {
		if t := m.Topic(rt.Name); t != nil {
			list(t, func(id int32) bool { return slices.Contains(rt.PartitionIndexes, id) })
		}
	}
	return &resp
}
