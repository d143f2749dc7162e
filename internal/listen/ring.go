package listen

import (
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/api"
)

// ringSize is how many answers of a connection can be outstanding.
const ringSize = 256

// ring keeps the slots of a connection in the order of their requests. One
// goroutine pushes, the connection's own; one pops, its writer.
//
// A slot is popped when its answer is on its way, so "empty" means that all that
// was asked before has been answered.
type ring struct {
	slots *[ringSize]atomic.Pointer[api.Slot] // made with the first push
	head  atomic.Uint64                       // next to pop
	tail  atomic.Uint64                       // next to push
}

func (r *ring) len() int    { return int(r.tail.Load() - r.head.Load()) }
func (r *ring) empty() bool { return r.tail.Load() == r.head.Load() }
func (r *ring) full() bool  { return r.len() == ringSize }

// push puts s at the end. The ring must not be full.
func (r *ring) push(s *api.Slot) {
	t := r.tail.Load()
	r.slots[t%ringSize].Store(s)
	r.tail.Store(t + 1)
}

// at is the slot i places behind the head, nil beyond the end.
func (r *ring) at(i int) *api.Slot {
	h := r.head.Load() + uint64(i)
	if h >= r.tail.Load() {
		return nil
	}
	return r.slots[h%ringSize].Load()
}

// isHead says whether s is the next to pop. Anyone may ask.
func (r *ring) isHead(s *api.Slot) bool {
	return r.slots[r.head.Load()%ringSize].Load() == s
}

// pop takes the first n slots out.
func (r *ring) pop(n int) {
	h := r.head.Load()
	for i := range uint64(n) {
		r.slots[(h+i)%ringSize].Store(nil)
	}
	r.head.Store(h + uint64(n))
}
