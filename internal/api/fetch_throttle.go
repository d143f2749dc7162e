package api

import (
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
)

// Throttle holds what followers get of some partitions to a rate, all together
// (KIP-73, leader.replication.throttled.*). A follower that is in sync is never
// held back. What was given has to be paid for in time before any of them gets
// more.
type Throttle struct {
	// Limits gives the bytes a second, 0 for no limit, and for which of this
	// broker's replicas it is.
	Limits func() (rate int64, of func(kafka.TopicPartition) bool)

	mu struct {
		sync.Mutex           // memory only
		until      time.Time // when all that was given has been paid for
		rate       int64     // for which until is true
	}
}

// ration is what a fetch may give of throttled partitions.
type ration struct {
	known bool
	rate  int64 // 0: nothing is throttled
	of    func(kafka.TopicPartition) bool
	until time.Time // when more may be given
	room  int64     // that is left of this request
	used  bool
}

// leastRoom is the least that a request may give once all was paid for.
const leastRoom = 64 << 10

// ration looks up what may be given now.
func (t *Throttle) ration(now time.Time) ration {
	r := ration{known: true}
	if r.rate, r.of = t.Limits(); r.rate <= 0 {
		return r
	}
	t.mu.Lock()
	t.rescaleLocked(now, r.rate)
	r.until = t.mu.until
	t.mu.Unlock()
	if !r.until.After(now) {
		r.room, r.until = max(r.rate/4, leastRoom), time.Time{}
	}
	return r
}

// rescaleLocked makes what is still to be paid for cost what it does at a rate: who
// raises it does not wait for what was dear before.
func (t *Throttle) rescaleLocked(now time.Time, rate int64) {
	if left := t.mu.until.Sub(now); left > 0 && t.mu.rate > 0 && rate != t.mu.rate {
		t.mu.until = now.Add(time.Duration(float64(left) * float64(t.mu.rate) / float64(rate)))
	}
	t.mu.rate = rate
}

// gave notes bytes that go out.
func (t *Throttle) gave(bytes, rate int64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rescaleLocked(now, rate)
	if t.mu.until.Before(now) {
		t.mu.until = now
	}
	t.mu.until = t.mu.until.Add(time.Duration(float64(bytes) / float64(rate) * float64(time.Second)))
}

// throttle bounds a follower's read of a partition, if it is not in sync and the
// partition is named.
func (h *DataHandlers) throttle(c *Call, f *fetching, p *fetchPartition, q *replica.Read) {
	if h.Throttle == nil {
		return
	}
	if !f.ration.known {
		f.ration = h.Throttle.ration(c.Now())
	}
	tp := p.watched.TopicPartition()
	if f.ration.rate <= 0 || !f.ration.of(tp) {
		return
	}
	if t := h.Image().Topic(tp.Topic); t == nil || t.Partition(tp.Partition) == nil || slices.Contains(t.Partition(tp.Partition).ISR, f.who.id) {
		return
	}
	p.throttled = true
	q.MinOne = f.ration.room > 0 && (q.MinOne || !f.ration.used)
	q.MaxBytes = int(min(int64(q.MaxBytes), f.ration.room))
}

// spend takes what was read of a throttled partition off the room.
func (r *ration) spend(p *fetchPartition) {
	if n := p.res.Range.Len(); p.throttled && n > 0 {
		r.room, r.used = max(0, r.room-int64(n)), true
	}
}

// charge notes what an answer gives of throttled partitions.
func (h *DataHandlers) charge(c *Call, f *fetching) {
	if f.ration.rate <= 0 {
		return
	}
	bytes := 0
	for p := f.set.head; p != nil; p = p.next {
		if p.throttled {
			bytes += p.res.Range.Len()
		}
	}
	if bytes > 0 {
		h.Throttle.gave(int64(bytes), f.ration.rate, c.Now())
	}
}
