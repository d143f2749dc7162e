package metadata

import (
	"context"
	"sync"
)

// applied lets callers wait for what was decided to act on this node.
type applied struct {
	mu struct {
		sync.Mutex // memory only
		index      int64
		waiting    []arrival
	}
}

// arrival is somebody who waits for a place in the log.
type arrival struct {
	index int64
	done  chan struct{}
}

// at notes that the image has come to a place in the log.
func (a *applied) at(index int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.index = index
	rest := a.mu.waiting[:0]
	for _, w := range a.mu.waiting {
		if w.index <= index {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	clear(a.mu.waiting[len(rest):])
	a.mu.waiting = rest
}

// await waits until the image is at a place in the log, or ctx ends.
func (a *applied) await(ctx context.Context, index int64) {
	a.mu.Lock()
	if index <= a.mu.index {
		a.mu.Unlock()
		return
	}
	w := arrival{index, make(chan struct{})}
	a.mu.waiting = append(a.mu.waiting, w)
	a.mu.Unlock()
	//house:select who gives up may find it applied all the same
	select {
	case <-w.done:
	case <-ctx.Done():
		a.leave(w)
	}
}

func (a *applied) leave(w arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.mu.waiting {
		if a.mu.waiting[i].done == w.done {
			a.mu.waiting = append(a.mu.waiting[:i], a.mu.waiting[i+1:]...)
			return
		}
	}
}
