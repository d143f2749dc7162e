package memnet

import (
	"context"
	"time"
)

// lock is a mutual exclusion that a synctest bubble sees as durably blocking.
// It must be made inside the bubble, and is never held while waiting.
type lock chan struct{}

func newLock() lock  { return make(lock, 1) }
func (l lock) take() { l <- struct{}{} }
func (l lock) give() { <-l }

// bell wakes all who wait for a change. The lock of the network guards it; who
// has been woken takes the lock and looks again.
type bell struct{ waiting chan struct{} }

// wait gives a channel that the next ring closes.
func (b *bell) wait() <-chan struct{} {
	if b.waiting == nil {
		b.waiting = make(chan struct{})
	}
	return b.waiting
}

func (b *bell) ring() {
	if b.waiting != nil {
		close(b.waiting)
		b.waiting = nil
	}
}

// await waits for a bell, or until a time if that is not zero.
func await(rung <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-rung
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	//house:select both only end the wait; the state is looked at again
	select {
	case <-rung:
	case <-timer.C:
	}
}

// wait lets d pass, unless ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	//house:select a tie of the two ends a dial that could as well have ended the other way
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// earlier gives the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
