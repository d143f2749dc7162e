package controller

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// The kinds of elections that can be asked for (KIP-460).
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

// ElectLeaders decides on elections: of the first replica, where it may lead
// (KIP-183), or of any that is in service where nobody leads, though it may miss
// records (KIP-460). Without topics it is about all partitions, and those that
// need no election are passed over in the answer.
func ElectLeaders(s *State, req *msg.ElectLeadersRequest) (Records, *msg.ElectLeadersResponse) {
	if req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		return nil, NoElections(req, kafka.InvalidRequest, new(fmt.Sprintf("There is no election of type %d.", req.ElectionType)))
	}
	resp := msg.NewElectLeadersResponse()
	var recs Records
	one := func(t *cluster.Topic, name string, id int32) msg.ElectLeadersResponseReplicaElectionResultPartitionResult {
		r, err := s.electLeader(t, name, id, req.ElectionType)
		if r != nil {
			recs = append(recs, r)
		}
		row := msg.ElectLeadersResponseReplicaElectionResultPartitionResult{PartitionID: id}
		row.ErrorCode, row.ErrorMessage = answer(err)
		return row
	}
	if req.TopicPartitions == nil {
		for t := range s.Image.TopicsFrom("") {
			out := msg.ElectLeadersResponseReplicaElectionResult{Topic: t.Name}
			for i := range t.Partitions {
				if row := one(t, t.Name, int32(i)); row.ErrorCode != int16(kafka.ElectionNotNeeded) {
					out.PartitionResult = append(out.PartitionResult, row)
				}
			}
			resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, out)
		}
		return recs, &resp
	}
	elected := map[kafka.TopicPartition]msg.ElectLeadersResponseReplicaElectionResultPartitionResult{} // what is named twice is elected once
	for _, rt := range req.TopicPartitions {
		out := msg.ElectLeadersResponseReplicaElectionResult{Topic: rt.Topic}
		t := s.Image.Topic(rt.Topic)
		for _, id := range rt.Partitions {
			tp := kafka.TopicPartition{Topic: rt.Topic, Partition: id}
			row, again := elected[tp]
			if !again {
				row = one(t, rt.Topic, id)
				elected[tp] = row
			}
			out.PartitionResult = append(out.PartitionResult, row)
		}
		resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, out)
	}
	return recs, &resp
}

// NoElections answers ElectLeaders with one error for the request and for each
// partition in it. Text may be nil.
func NoElections(req *msg.ElectLeadersRequest, code kafka.Code, text *string) *msg.ElectLeadersResponse {
	resp := msg.NewElectLeadersResponse()
	resp.ErrorCode = int16(code)
	for _, t := range req.TopicPartitions {
		out := msg.ElectLeadersResponseReplicaElectionResult{Topic: t.Topic}
		for _, id := range t.Partitions {
			out.PartitionResult = append(out.PartitionResult, msg.ElectLeadersResponseReplicaElectionResultPartitionResult{
				PartitionID: id, ErrorCode: int16(code), ErrorMessage: text})
		}
		resp.ReplicaElectionResults = append(resp.ReplicaElectionResults, out)
	}
	return &resp
}

func (s *State) electLeader(t *cluster.Topic, name string, id int32, kind int8) (*state.PartitionChangeRecord, error) {
	p := t.Partition(id)
	switch {
	case t == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "No such topic as %s", name)
	case p == nil:
		return nil, refuse(kafka.UnknownTopicOrPartition, "No such partition as %s-%d", name, id)
	case kind == electPreferred && p.Leader == p.Replicas[0],
		kind == electUnclean && p.Leader != kafka.NoBroker:
		return nil, refuse(kafka.ElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	c := s.change(t, p)
	c.preferred, c.unclean = kind == electPreferred, kind == electUnclean
	r := c.record()
	switch {
	case r != nil:
		return r, nil
	case kind == electPreferred:
		return nil, refuse(kafka.PreferredLeaderNotAvailable, "The preferred leader was not available.")
	}
	return nil, refuse(kafka.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
}

// maxElections is how many leaders one look at the cluster moves at most.
const maxElections = 1000

// Balance gives leadership back to the preferred replicas that may have it
// again. more says that there was more to do than one decision should hold.
// Whoever watches the clock asks for it (leader.imbalance.check.interval.seconds),
// if auto.leader.rebalance.enable is on.
func Balance(s *State) (recs Records, more bool) {
	return s.upTo(maxElections, func(c *change) bool {
		c.preferred = true
		return c.p.Leader != c.p.Replicas[0]
	})
}

// ElectUnclean elects leaders for partitions that have none and whose topics
// rather lose records than wait. It is for the same timer; most such elections
// happen at once, with what made the last leader go or the setting come.
func ElectUnclean(s *State) (recs Records, more bool) {
	return s.upTo(maxElections, func(c *change) bool { return c.p.Leader == kafka.NoBroker && c.unclean })
}

// upTo is sweep that ends after so many records.
func (s *State) upTo(limit int, f func(c *change) bool) (recs Records, more bool) {
	for t := range s.Image.TopicsFrom("") {
		r := s.rulesOf(t)
		for i := range t.Partitions {
			if c := s.changeUnder(t, &t.Partitions[i], r); f(c) {
				if r := c.record(); r != nil {
					recs = append(recs, r)
				}
			}
			if len(recs) >= limit {
				return recs, true
			}
		}
	}
	return recs, false
}
