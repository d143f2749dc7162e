package metrics

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	shards  = 4 // so that connections on different cores do not fight for a cache line
	fine    = 3 // bits: 8 buckets to a power of two
	buckets = 36 << fine
)

// shard counts durations in buckets whose bounds grow by an eighth of a power of
// two of microseconds: a quantile read from it is at most 13 % off.
type shard struct {
	count [buckets]atomic.Uint64
	sum   atomic.Int64 // nanoseconds
}

func (s *shard) observe(d time.Duration) {
	s.count[bucket(d)].Add(1)
	s.sum.Add(int64(d))
}

// bucket is the index of the bucket for d: microseconds below 8 have one each.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0)) / 1000
	if us < 1<<fine {
		return int(us)
	}
	exp := bits.Len64(us) - 1 - fine
	return min(exp<<fine+int(us>>exp), buckets-1)
}

// value is the middle of bucket i, in seconds.
func value(i int) float64 {
	if i < 1<<fine {
		return (float64(i) + 0.5) * 1e-6
	}
	exp := i>>fine - 1
	low := uint64(i-exp<<fine) << exp
	return (float64(low) + float64(uint64(1)<<exp)/2) * 1e-6
}

// Snapshot is what the shards held at one time.
type Snapshot struct {
	count [buckets]uint64
	total uint64
	sum   time.Duration
}

// add adds a shard.
func (s *Snapshot) add(p *shard) {
	for b := range p.count {
		n := p.count[b].Load()
		s.count[b] += n
		s.total += n
	}
	s.sum += time.Duration(p.sum.Load())
}

// Count is the number of durations; Sum is all of them together.
func (s *Snapshot) Count() uint64      { return s.total }
func (s *Snapshot) Sum() time.Duration { return s.sum }

// Quantile is the duration in seconds below which a share q of those lie that
// were counted since the older snapshot, which may be nil. It is 0 if there are
// none.
func (s *Snapshot) Quantile(q float64, since *Snapshot) float64 {
	total := s.total
	if since != nil {
		total -= since.total
	}
	if total == 0 {
		return 0
	}
	rank, seen := uint64(q*float64(total-1)), uint64(0)
	for i := range s.count {
		n := s.count[i]
		if since != nil {
			n -= since.count[i]
		}
		if seen += n; seen > rank {
			return value(i)
		}
	}
	return value(buckets - 1)
}
