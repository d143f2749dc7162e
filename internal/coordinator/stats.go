package coordinator

import (
	"sync/atomic"
	"time"
)

// stats count what a runtime does.
type stats struct {
	loads    atomic.Int64
	failures atomic.Int64
	loadTime atomic.Int64 // ns
	longest  atomic.Int64 // ns
	batches  atomic.Int64
	records  atomic.Int64
	waiting  atomic.Int64
	leftOut  atomic.Int64
}

// Figures are what a runtime did since it was made, and how it is now.
type Figures struct {
	Active, Loading int           // partitions
	Waiting         int64         // requests and alarms that wait for their turn
	Loads           int64         // partitions loaded
	Failures        int64         // tries to load that failed
	LoadTime        time.Duration // of all loads
	LongestLoad     time.Duration
	Batches         int64 // appended
	Records         int64 // in them, markers included
	LeftOut         int64 // partitions that a Glance did not see
}

// Figures reads the counters. It waits for nobody's turn.
func (r *Runtime[M]) Figures() Figures {
	s := &r.stats
	f := Figures{Waiting: s.waiting.Load(), Loads: s.loads.Load(), Failures: s.failures.Load(),
		LoadTime: time.Duration(s.loadTime.Load()), LongestLoad: time.Duration(s.longest.Load()),
		Batches: s.batches.Load(), Records: s.records.Load(), LeftOut: s.leftOut.Load()}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.mu.partitions {
		if p.active.Load() {
			f.Active++
		} else {
			f.Loading++
		}
	}
	return f
}

// loaded counts a partition that took so long to load.
func (s *stats) loaded(took time.Duration) {
	s.loads.Add(1)
	s.loadTime.Add(int64(took))
	for was := s.longest.Load(); int64(took) > was; was = s.longest.Load() {
		if s.longest.CompareAndSwap(was, int64(took)) {
			return
		}
	}
}

// appended counts a turn's batch.
func (s *stats) appended(t *Turn) {
	s.batches.Add(1)
	s.records.Add(int64(max(1, len(t.records))))
}
