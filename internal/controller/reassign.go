package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// AlterPartitionReassignments decides on which brokers shall have a partition
// (KIP-455). The same ones in another order take effect at once; to bring in
// others is refused so far, since nobody would copy to them.
func AlterPartitionReassignments(s *State, req *msg.AlterPartitionReassignmentsRequest) (Records, *msg.AlterPartitionReassignmentsResponse) {
	resp := msg.NewAlterPartitionReassignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	var recs Records
	for _, rt := range req.Topics {
		out := msg.AlterPartitionReassignmentsResponseResponse{Name: rt.Name}
		t := s.Image.Topic(rt.Name)
		for _, rp := range rt.Partitions {
			r, err := s.reassign(t, rt.Name, &rp)
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

func (s *State) reassign(t *cluster.Topic, name string, rp *msg.AlterPartitionReassignmentsRequestTopicPartition) (*state.PartitionChangeRecord, error) {
	p := t.Partition(rp.PartitionIndex)
	switch {
	case t == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "Unable to find a topic named %s.", name)
	case p == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "Unable to find partition %s:%d.", name, rp.PartitionIndex)
	case rp.Replicas == nil: // takes back what is under way, and nothing ever is
		return nil, refuse(kafka.NoReassignmentInProgress, "")
	}
	if _, err := s.manual(rp.Replicas, 0); err != nil {
		return nil, err
	}
	same := func(ids []int32) []int32 { return slices.Sorted(slices.Values(ids)) }
	switch {
	case slices.Equal(rp.Replicas, p.Replicas):
		return nil, nil
	case !slices.Equal(same(rp.Replicas), same(p.Replicas)):
		return nil, refuse(kafka.InvalidReplicaAssignment, "Replicas cannot move between brokers yet: partition %s-%d stays on %v.", name, p.ID, p.Replicas)
	}
	r := changeOf(t, p)
	r.Replicas = slices.Clone(rp.Replicas)
	for _, id := range r.Replicas {
		r.Directories = append(r.Directories, p.DirectoryOf(id))
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
			if len(p.Adding)+len(p.Removing) > 0 && wanted(p.ID) {
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
