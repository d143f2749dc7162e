package group

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Stats count what the groups of this broker do, for the metrics. They begin at
// 0 with the process; what is replayed from the log does not count. They count at
// the decision: one that the log refuses is decided, and counted, once more.
type Stats struct {
	Classic, Consumer, Share, Streams KindStats

	Commits atomic.Int64 // offsets that were committed
	Expired atomic.Int64 // offsets that outlived offsets.retention.minutes
	Deleted atomic.Int64 // offsets that somebody asked to delete
}

// KindStats are those of one kind of group.
type KindStats struct {
	Rebalances    atomic.Int64 // generations with an assignment, or new group epochs
	LastRebalance atomic.Int64 // ms; 0: none
	Sessions      atomic.Int64 // members that were removed because they ran out of time
}

func (s *Stats) of(t kind.Type) *KindStats {
	switch t {
	case kind.Consumer:
		return &s.Consumer
	case kind.Share:
		return &s.Share
	case kind.Streams:
		return &s.Streams
	}
	return &s.Classic
}

func (k *KindStats) rebalanced(now time.Time) {
	k.Rebalances.Add(1)
	k.LastRebalance.Store(now.UnixMilli())
}

// follow counts what a step of a group of a kind does.
func (s *Stats) follow(now time.Time, typ kind.Type, step *kind.Step) {
	k := s.of(typ)
	for i := range step.Records {
		if beginsEpoch(&step.Records[i]) {
			k.rebalanced(now)
		}
	}
	for i := range step.Gone {
		if step.Gone[i].Expired {
			k.Sessions.Add(1)
		}
	}
}

// The types of records that give a group a new epoch.
const (
	consumerEpoch = 3
	shareEpoch    = 11
	streamsEpoch  = 17
)

func beginsEpoch(r *coordinator.Record) bool {
	if len(r.Key) < 2 || r.Value == nil {
		return false
	}
	switch binary.BigEndian.Uint16(r.Key) {
	case consumerEpoch, shareEpoch, streamsEpoch:
		return true
	}
	return false
}

// Seen is a group as the metrics see it.
type Seen struct {
	ID      string
	Kind    kind.Type
	State   string
	Members int
	Offsets []SeenOffset // in no order; none of share groups, whose state is elsewhere
}

// SeenOffset is a committed offset.
type SeenOffset struct {
	kafka.TopicPartition
	Offset int64
}

// How much of a partition is shown in one turn: so that no request waits for
// more than about a millisecond.
const (
	groupsATurn  = 256
	offsetsATurn = 4096
)

// Walk shows visit every group that this broker coordinates, partition by
// partition, and within one in no order. The groups are seen a few at a time, not
// all in one instant. Partitions that are loading, or wait for a disk, are left
// out.
func (s *Service) Walk(visit func(*Seen)) {
	glance := s.rt.Glance()
	for _, p := range s.rt.Owned() {
		var ids []string
		if glance.Read(p, func(sh *shard) error {
			ids = unsortedIDs(sh)
			return nil
		}) != nil {
			continue
		}
		for len(ids) > 0 {
			var seen []Seen
			if glance.Read(p, func(sh *shard) error {
				seen, ids = portray(sh, ids)
				return nil
			}) != nil {
				break
			}
			for i := range seen {
				visit(&seen[i])
			}
		}
	}
}

// unsortedIDs are the ids of all groups.
func unsortedIDs(sh *shard) []string {
	ids := make([]string, 0, sh.groups.Len()+sh.kinds.Len())
	sh.groups.Each(func(id string) { ids = append(ids, id) })
	sh.kinds.Each(func(id string) { ids = append(ids, id) })
	return ids
}

// portray gives what is committed of the first groups, and which are left.
func portray(sh *shard, ids []string) (seen []Seen, left []string) {
	offsets := 0
	for i, id := range ids {
		if len(seen) >= groupsATurn || offsets >= offsetsATurn {
			return seen, ids[i:]
		}
		g, ok := sh.findCommitted(id)
		if !ok {
			continue
		}
		one := Seen{ID: id, Kind: g.typ(), State: g.state(), Members: g.size()}
		if t := sh.offsets[id]; t != nil {
			t.Each(func(tp kafka.TopicPartition) {
				if o, ok := t.Committed(tp); ok && !sh.outlived(tp.Topic, o) {
					one.Offsets = append(one.Offsets, SeenOffset{tp, o.Offset})
				}
			})
		}
		offsets += len(one.Offsets)
		seen = append(seen, one)
	}
	return seen, nil
}

func (g anyGroup) size() int {
	if g.kind != nil {
		return g.kind.Size()
	}
	return g.classic.Size()
}

// Stats are the counters.
func (s *Service) Stats() *Stats { return &s.stats }

// Coordinator says how the partitions of __consumer_offsets are coordinated.
func (s *Service) Coordinator() coordinator.Figures { return s.rt.Figures() }
