package follow

import (
	"sync"
	"time"
)

// pace holds throttled partitions to a rate, together. What
// was taken has to be paid for in time before any of them is asked for again.
type pace struct {
	mu struct {
		sync.Mutex           // memory only
		until      time.Time // when all that was taken has been paid for
		rate       int64     // for which until is true, bytes a second
	}
}

// longestPaid is for how long a fetcher rests at most until it looks at the rate
// again: who raises it does not wait for what was dear before.
const longestPaid = time.Second

// wait is how long a throttled partition has to wait before it looks again.
func (p *pace) wait(now time.Time, rate int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rescaleLocked(now, rate)
	return min(p.mu.until.Sub(now), longestPaid)
}

// rescaleLocked makes what is still to be paid for cost what it does at a rate.
func (p *pace) rescaleLocked(now time.Time, rate int64) {
	if left := p.mu.until.Sub(now); left > 0 && p.mu.rate > 0 && rate != p.mu.rate {
		p.mu.until = now.Add(time.Duration(float64(left) * float64(p.mu.rate) / float64(rate)))
	}
	p.mu.rate = rate
}

// throttled says whether a partition is held to the rate: it is named, and still
// behind. One that keeps up never is (KIP-73).
func (p *part) throttled() bool {
	s := &p.x.set
	return p.behind && s.Rate > 0 && s.Throttled != nil && s.Throttled(p.tp)
}

// leastShare is the least that a throttled partition is asked for at once.
const leastShare = 64 << 10

// ration leaves in the round only as many throttled partitions as a quarter of a
// second has room for, by turns, so that no answer is far above the rate. A batch
// that is larger comes whole, and is paid for after.
func (x *fetcher) ration() {
	if len(x.slow) == 0 {
		return
	}
	room := max(x.set.Rate/4, leastShare)
	each := min(room, int64(x.set.MaxBytes))
	n := int(min(max(1, room/max(1, each)), int64(len(x.slow))))
	for i, p := range x.slow {
		p.due = (i-x.turn%len(x.slow)+len(x.slow))%len(x.slow) < n
		p.want.PartitionMaxBytes = int32(each)
	}
	x.turn = (x.turn + n) % len(x.slow)
}

// took notes bytes that came for a partition.
func (p *pace) took(of *part, bytes int) {
	s := &of.x.set
	if !of.throttled() {
		return
	}
	now := of.x.f.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rescaleLocked(now, s.Rate)
	if p.mu.until.Before(now) {
		p.mu.until = now
	}
	p.mu.until = p.mu.until.Add(time.Duration(float64(bytes) / float64(s.Rate) * float64(time.Second)))
}
