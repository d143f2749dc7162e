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
	}
}

// wait is how long a throttled partition has to wait.
func (p *pace) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.until.Sub(now)
}

// took notes bytes that came for a partition.
func (p *pace) took(of *part, bytes int) {
	s := &of.x.set
	if !of.behind || s.Rate <= 0 || s.Throttled == nil || !s.Throttled(of.tp) {
		return
	}
	now := of.x.f.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.until.Before(now) {
		p.mu.until = now
	}
	p.mu.until = p.mu.until.Add(time.Duration(float64(bytes) / float64(s.Rate) * float64(time.Second)))
}
