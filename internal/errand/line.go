package errand

import (
	"context"
	"slices"
	"sync"
)

// lines are queues of errands, one for each destination. Of those who wait in a
// line one carries, for itself and for all who came before it set out; then the
// next does. Nobody else's goroutine is needed, and a line without errands is
// nothing.
type lines[K comparable, P any] struct {
	// carry brings a load to its destination and sets err of each parcel.
	carry func(ctx context.Context, to K, load []*parcel[P])
	// most is how many parcels are carried at once.
	most int

	mu struct {
		sync.Mutex // memory only
		waiting    map[K]*queue[P]
	}
}

// queue is a line in which somebody is at work.
type queue[P any] struct {
	parcels []*parcel[P]
}

// parcel is one errand.
type parcel[P any] struct {
	is  P
	err error // what became of it, of those that have no answer of their own

	mine bool      // its owner is to carry; under the lock
	wake chan bool // true: carry; false: it was carried
}

func newLines[K comparable, P any](most int, carry func(ctx context.Context, to K, load []*parcel[P])) *lines[K, P] {
	l := &lines[K, P]{carry: carry, most: most}
	l.mu.waiting = map[K]*queue[P]{}
	return l
}

// send has a parcel carried and returns what became of it. Whose ctx ends does not
// wait for those who carry; those who are carried by it hear of the end too.
func (l *lines[K, P]) send(ctx context.Context, to K, is P) error {
	p := &parcel[P]{is: is, wake: make(chan bool, 1)}
	l.mu.Lock()
	q := l.mu.waiting[to]
	first := q == nil
	if first {
		q = &queue[P]{}
		l.mu.waiting[to] = q
	}
	q.parcels = append(q.parcels, p)
	l.mu.Unlock()
	if !first {
		//house:select who leaves does not care whether it was carried
		select {
		case carry := <-p.wake:
			if !carry {
				return p.err
			}
		case <-ctx.Done():
			l.leave(to, q, p)
			return ctx.Err()
		}
	}
	l.mu.Lock()
	n := min(len(q.parcels), l.most)
	load := slices.Clone(q.parcels[:n])
	q.parcels = slices.Delete(q.parcels, 0, n)
	l.mu.Unlock()

	l.carry(ctx, to, load)

	for _, o := range load {
		if o != p {
			o.wake <- false
		}
	}
	l.mu.Lock()
	l.passLocked(to, q)
	l.mu.Unlock()
	return p.err
}

// passLocked has the first who waits carry, who will find itself at the head.
func (l *lines[K, P]) passLocked(to K, q *queue[P]) {
	if len(q.parcels) == 0 {
		delete(l.mu.waiting, to)
		return
	}
	next := q.parcels[0]
	next.mine = true
	next.wake <- true
}

// leave takes a parcel out of its line if it is still there.
func (l *lines[K, P]) leave(to K, q *queue[P], p *parcel[P]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(q.parcels, p)
	if at < 0 {
		return // somebody carries it
	}
	q.parcels = slices.Delete(q.parcels, at, at+1)
	if p.mine {
		l.passLocked(to, q)
	}
}
