package listen

import "sync"

// budget bounds the bytes of frames that all connections hold together.
//
// Who cannot take waits in line. A connection in the middle of a large frame
// holds a part and wants more, so several of them could wait for each other for
// ever: one at a time may therefore go over the limit, by at most the largest
// frame.
type budget struct {
	limit int64
	mu    struct {
		sync.Mutex
		used  int64
		over  *lease
		queue []*lease
	}
}

// lease is one connection's part of the budget.
type lease struct {
	held    int64 // guarded by the budget's mutex, as all of it
	want    int64
	granted bool
	wake    func() // called without the mutex
}

// take charges n bytes to l, or lines it up and returns false: l.wake is called
// when it is its turn, see settled.
func (b *budget) take(l *lease, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.queue) == 0 || l.held > 0 {
		if b.grantLocked(l, n) {
			return true
		}
	}
	l.want, l.granted = n, false
	b.mu.queue = append(b.mu.queue, l)
	return false
}

func (b *budget) grantLocked(l *lease, n int64) bool {
	switch {
	case b.mu.used+n <= b.limit:
	case l.held > 0 && (b.mu.over == nil || b.mu.over == l):
		b.mu.over = l
	default:
		return false
	}
	b.mu.used += n
	l.held += n
	return true
}

// tight says whether half of the budget is taken.
func (b *budget) tight() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.used > b.limit/2
}

// pressed says whether anyone waits in line.
func (b *budget) pressed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mu.queue) > 0
}

// settled says whether a lease that lined up has got what it wanted.
func (b *budget) settled(l *lease) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return l.granted
}

// give returns n bytes of l.
func (b *budget) give(l *lease, n int64) {
	b.mu.Lock()
	b.mu.used -= n
	l.held -= n
	if b.mu.over == l && l.held == 0 {
		b.mu.over = nil
	}
	if len(b.mu.queue) == 0 {
		b.mu.Unlock()
		return
	}
	woken := b.serveLocked()
	b.mu.Unlock()
	for _, w := range woken {
		w()
	}
}

// serveLocked grants what can be granted: those in the middle of a frame first,
// then the others in line as long as it lasts.
func (b *budget) serveLocked() (woken []func()) {
	serve := func(holding bool) {
		kept, stuck := b.mu.queue[:0], false
		for _, l := range b.mu.queue {
			if (l.held > 0) == holding && !stuck && b.grantLocked(l, l.want) {
				l.granted = true
				woken = append(woken, l.wake)
				continue
			}
			stuck = stuck || (l.held > 0) == holding
			kept = append(kept, l)
		}
		clear(b.mu.queue[len(kept):])
		b.mu.queue = kept
	}
	serve(true)
	serve(false)
	return woken
}

// leave takes l out of the line and returns all it holds.
func (b *budget) leave(l *lease) {
	b.mu.Lock()
	for i, q := range b.mu.queue {
		if q == l {
			b.mu.queue = append(b.mu.queue[:i], b.mu.queue[i+1:]...)
			break
		}
	}
	held := l.held
	b.mu.Unlock()
	b.give(l, held)
}
