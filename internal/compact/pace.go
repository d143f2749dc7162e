package compact

import (
	"context"
	"math"
	"sync"
	"time"
)

// slack is for how long work may run ahead of its rate: short enough that a
// disk sees no bursts, long enough that a timer is worth its cost.
const slack = 50 * time.Millisecond

// pace holds the bytes per second of all who share it to a limit.
type pace struct {
	now func() time.Time

	mu struct {
		sync.Mutex // memory only
		rate       float64
		paid       time.Time // up to when the work done so far may take
	}
}

// limit sets the rate, 0 is unlimited.
func (p *pace) limit(rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate >= math.MaxInt64 {
		rate = 0
	}
	p.mu.rate = rate
}

// spend accounts for bytes and waits while they are ahead of the rate.
func (p *pace) spend(ctx context.Context, bytes int) error {
	wait := p.debt(bytes)
	if wait < slack {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	//house:select ending while the time is up ends one batch later
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (p *pace) debt(bytes int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.rate <= 0 {
		return 0
	}
	now := p.now()
	if p.mu.paid.Before(now) {
		p.mu.paid = now
	}
	p.mu.paid = p.mu.paid.Add(time.Duration(float64(bytes) / p.mu.rate * float64(time.Second)))
	return p.mu.paid.Sub(now)
}
