package persist

import (
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/share"
)

// Stats count what the share coordinator did since the process began, for the
// metrics.
type Stats struct {
	Writes    atomic.Int64 // writes of state that were committed
	WriteTime atomic.Int64 // how long those took in all, in ns
	Refused   atomic.Int64 // writes that were not: fenced, or the log did not take them
}

func (s *Stats) wrote(took time.Duration, err error) {
	if err != nil {
		s.Refused.Add(1)
		return
	}
	s.Writes.Add(1)
	s.WriteTime.Add(int64(took))
}

// Stats are the counters.
func (s *Service) Stats() *Stats { return &s.stats }

// Coordinator says how the partitions of __share_group_state are coordinated.
func (s *Service) Coordinator() coordinator.Figures { return s.rt.Figures() }

// Seen is a share partition as the metrics see it.
type Seen struct {
	share.Key
	Summary
}

// keysATurn bounds how many share partitions are shown in one turn.
const keysATurn = 4096

// Walk shows visit every share partition that is kept here, in no order, a few at
// a time. Partitions of the topic that are loading, or wait for a disk, are left
// out.
func (s *Service) Walk(visit func(*Seen)) {
	glance := s.rt.Glance()
	for _, p := range s.rt.Owned() {
		var keys []share.Key
		if glance.Read(p, func(sh *shard) error {
			keys = make([]share.Key, 0, len(sh.kept))
			for k := range sh.kept { //house:maporder what is seen has no order
				keys = append(keys, k)
			}
			return nil
		}) != nil {
			continue
		}
		for len(keys) > 0 {
			now := keys[:min(keysATurn, len(keys))]
			keys = keys[len(now):]
			var seen []Seen
			_ = glance.Read(p, func(sh *shard) error { // one that has moved, or waits for a disk, has nothing to tell
				for _, k := range now {
					if one := sh.kept[k]; one != nil {
						seen = append(seen, Seen{k, one.summary()})
					}
				}
				return nil
			})
			for i := range seen {
				visit(&seen[i])
			}
		}
	}
}

func (k *kept) summary() Summary {
	return Summary{StateEpoch: k.stateEpoch, LeaderEpoch: k.leaderEpoch, StartOffset: k.start, DeliveryComplete: k.complete}
}

// Len is how many share partitions are kept here, in the same partitions.
func (s *Service) Len() (n int) {
	glance := s.rt.Glance()
	for _, p := range s.rt.Owned() {
		_ = glance.Read(p, func(sh *shard) error { // one that is loading keeps nothing yet, one that waits for a disk says nothing
			n += len(sh.kept)
			return nil
		})
	}
	return n
}
