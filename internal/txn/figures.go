package txn

import (
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
)

// Stats count what the coordinator decided since the process began, for the
// metrics. What is loaded from the log does not count. TimedOut and Expired count
// at the decision: one that the log refuses is decided, and counted, once more.
type Stats struct {
	Started   atomic.Int64 // transactions that got their first partition
	Committed atomic.Int64 // transactions that were decided so: their PREPARE is in the log
	Aborted   atomic.Int64
	TimedOut  atomic.Int64 // of the aborted, those that were open for longer than their timeout
	Expired   atomic.Int64 // ids that were forgotten
}

// Standing is what there is now.
type Standing struct {
	IDs    int       // transactional ids
	Open   int       // transactions that go on
	Ending int       // transactions whose markers are on their way
	Oldest time.Time // when the oldest of both began; zero: there is none
}

// Stats are the counters.
func (s *Service) Stats() *Stats { return &s.stats }

// Coordinator says how the partitions of __transaction_state are coordinated.
func (s *Service) Coordinator() coordinator.Figures { return s.rt.Figures() }

// Standing adds up the partitions that are loaded and do not wait for a disk. It takes a turn in each and
// looks at its open transactions, not at its ids.
func (s *Service) Standing() Standing {
	var all Standing
	oldest := int64(-1)
	glance := s.rt.Glance()
	for _, p := range s.rt.Owned() {
		_ = glance.Read(p, func(sh *shard) error { // one that is loading, or waits for a disk, has nothing to tell
			all.IDs += sh.ids.Len()
			for _, tx := range sh.open {
				if tx.status == Ongoing {
					all.Open++
				} else {
					all.Ending++
				}
				if oldest < 0 || tx.started < oldest {
					oldest = tx.started
				}
			}
			return nil
		})
	}
	if oldest >= 0 {
		all.Oldest = time.UnixMilli(oldest)
	}
	return all
}

// count notes what a record means that is about to be applied.
func (sh *shard) count(id string, next *transaction) {
	if !sh.live {
		return
	}
	was := sh.open[id]
	ongoing := was != nil && was.status == Ongoing
	stats := &sh.s.stats
	switch {
	case next.status == Ongoing && !ongoing:
		stats.Started.Add(1)
	case next.status == PrepareCommit && ongoing:
		stats.Committed.Add(1)
	case next.status == PrepareAbort && ongoing:
		stats.Aborted.Add(1)
	}
}
