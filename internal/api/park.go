package api

import (
	"sync/atomic"
	"time"
)

// Parker makes one goroutine wait for what others tell it, or for time to pass.
//
// There is one channel, whoever wakes: the waiter then looks itself at what it
// waits for. So nothing is ever chosen at random among several ready channels,
// and waiting allocates nothing.
//
//	for !ready() {
//		if !p.Wait(deadline) { ... too late ... }
//	}
//
// A Wake before Wait is kept: Wait then returns at once.
type Parker struct {
	wake  chan struct{}
	timer *time.Timer
	also  atomic.Pointer[func()]
}

// Init makes p ready. It must come first, and p must not be copied.
func (p *Parker) Init() { p.wake = make(chan struct{}, 1) }

// Wake lets Wait return. Anyone may call it, at any time; it never blocks.
func (p *Parker) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if f := p.also.Load(); f != nil {
		(*f)()
	}
}

// Forward has Wake call f too, for a goroutine that waits elsewhere; nil ends
// it. What was woken before is not told.
func (p *Parker) Forward(f *func()) { p.also.Store(f) }

// Wait returns after Wake. The caller looks at its condition and may Wait again.
func (p *Parker) Wait() { <-p.wake }

// WaitFor is Wait for at most d. It does not say which it was: a wake may be one
// meant for an earlier wait, so the caller has to look anyway.
func (p *Parker) WaitFor(d time.Duration) {
	if d <= 0 {
		return
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.Wake)
	} else {
		p.timer.Reset(d)
	}
	<-p.wake
	p.timer.Stop()
}
