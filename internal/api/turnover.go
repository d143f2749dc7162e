package api

import (
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/replica"
)

// Turnover ends the waits of followers' fetches when this broker begins to lead
// partitions: those who follow it there have a fetch out already, which does not
// ask for them, and would come for them only after it. Who learns of the new
// leader a little later finds its waits short meanwhile.
//
// The zero value is ready.
type Turnover struct {
	mu struct {
		sync.Mutex // memory only
		last       time.Time
		waiting    []*replica.Wake
	}
}

const (
	// unrest is how long after a change of leaders waits are short, and shortWait
	// how short.
	unrest    = 300 * time.Millisecond
	shortWait = 20 * time.Millisecond
)

// Turned tells that this broker began to lead a partition that others follow.
func (t *Turnover) Turned(now time.Time) {
	t.mu.Lock()
	t.mu.last = now
	list := slices.Clone(t.mu.waiting)
	t.mu.Unlock()
	for _, w := range list {
		w.Ring()
	}
}

// enter has a wait be ended.
func (t *Turnover) enter(w *replica.Wake) {
	t.mu.Lock()
	t.mu.waiting = append(t.mu.waiting, w)
	t.mu.Unlock()
}

// leave ends enter.
func (t *Turnover) leave(w *replica.Wake) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.mu.waiting, w); i >= 0 {
		t.mu.waiting = slices.Delete(t.mu.waiting, i, i+1)
	}
}

// until is when a wait ends that began at from.
func (t *Turnover) until(from, until time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mu.last.IsZero() || from.Sub(t.mu.last) > unrest:
	case t.mu.last.After(from):
		return from // it turned meanwhile
	case from.Add(shortWait).Before(until):
		return from.Add(shortWait)
	}
	return until
}
