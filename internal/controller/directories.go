package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// holding narrows those who may lead to those whose copy of p is in a directory
// that works, or is just being put into one.
func (s *State) holding(p *cluster.Partition, alive func(int32) bool, housed ...int32) func(int32) bool {
	return func(id int32) bool {
		b := s.Image.Broker(id)
		return alive(id) && b != nil && (slices.Contains(housed, id) || b.HasDirectory(p.DirectoryOf(id)))
	}
}

// strand takes a broker's replicas out of service that are in directories it
// does not have.
func strand(s *State, b *cluster.Broker) Records {
	return s.sweep(func(c *change) bool {
		if !c.p.HasReplica(b.ID) || b.HasDirectory(c.p.DirectoryOf(b.ID)) {
			return false
		}
		c.leave(b.ID)
		return c.p.Leader == b.ID || slices.Contains(c.p.ISR, b.ID)
	})
}

// directories decides on what a heartbeat says of log directories: those that
// went offline are taken from the broker with all that they hold (KIP-858), and
// which are cordoned is noted (KIP-1066).
func directories(s *State, b *cluster.Broker, req *msg.BrokerHeartbeatRequest) Records {
	rest := slices.Clone(b.LogDirs)
	rest = slices.DeleteFunc(rest, func(id kafka.UUID) bool { return slices.Contains(req.OfflineLogDirs, id) })
	change := fencing(b, 0)
	change.CordonedLogDirs = nil
	var recs Records
	if len(rest) < len(b.LogDirs) {
		if len(rest) == 0 {
			rest = []kafka.UUID{kafka.DirLost} // an empty list would say "as before"
		}
		change.LogDirs = rest
		recs = strand(s, &cluster.Broker{ID: b.ID, LogDirs: rest})
	}
	if req.CordonedLogDirs != nil {
		if now := sorted(req.CordonedLogDirs); !slices.Equal(now, b.CordonedLogDirs) {
			change.CordonedLogDirs = now
		}
	}
	if change.LogDirs == nil && change.CordonedLogDirs == nil {
		return nil
	}
	return append(recs, change)
}

// sorted is a sorted copy, empty rather than nil.
func sorted(ids []kafka.UUID) []kafka.UUID {
	out := append([]kafka.UUID{}, ids...)
	slices.SortFunc(out, func(a, b kafka.UUID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// AssignReplicasToDirs decides on a broker's word where it keeps its replicas
// (KIP-858). A replica that comes to a directory which works may lead again.
func AssignReplicasToDirs(s *State, req *msg.AssignReplicasToDirsRequest) (Records, *msg.AssignReplicasToDirsResponse) {
	resp := msg.NewAssignReplicasToDirsResponse()
	b, code := s.speaker(req.BrokerID, req.BrokerEpoch)
	if code != kafka.None {
		resp.ErrorCode = int16(code)
		return nil, &resp
	}
	var recs Records
	for _, d := range req.Directories {
		out := msg.AssignReplicasToDirsResponseDirectory{ID: d.ID}
		for _, rt := range d.Topics {
			row := msg.AssignReplicasToDirsResponseDirectoryTopic{TopicID: rt.TopicID}
			t := s.Image.TopicByID(rt.TopicID)
			for _, rp := range rt.Partitions {
				answer := msg.AssignReplicasToDirsResponseDirectoryTopicPartition{PartitionIndex: rp.PartitionIndex}
				r, code := s.assign(b, t, rp.PartitionIndex, d.ID)
				answer.ErrorCode = int16(code)
				if r != nil {
					recs = append(recs, r)
				}
				row.Partitions = append(row.Partitions, answer)
			}
			out.Topics = append(out.Topics, row)
		}
		resp.Directories = append(resp.Directories, out)
	}
	return recs, &resp
}

// assign puts one replica of a broker into a directory.
func (s *State) assign(b *cluster.Broker, t *cluster.Topic, id int32, dir kafka.UUID) (*state.PartitionChangeRecord, kafka.Code) {
	p := t.Partition(id)
	switch {
	case t == nil:
		return nil, kafka.UnknownTopicID
	case p == nil:
		return nil, kafka.UnknownTopicOrPartition
	case !p.HasReplica(b.ID):
		return nil, kafka.NotLeaderOrFollower
	case p.DirectoryOf(b.ID) == dir:
		return nil, kafka.None
	}
	c := s.change(t, p)
	c.homes = map[int32]kafka.UUID{b.ID: dir}
	if !b.HasDirectory(dir) {
		c.leave(b.ID)
	} else {
		c.able = s.holding(p, s.Image.Active, b.ID)
	}
	return c.record(), kafka.None
}
