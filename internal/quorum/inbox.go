package quorum

import (
	"sync"

	pb "go.etcd.io/raft/v3/raftpb"
)

// inbox takes in what other goroutines have for the one of Run. There is one
// queue and one wake-up, and no select between them, so that the order of
// things is that of their arrival.
type inbox struct {
	mu     sync.Mutex
	items  []item
	ticks  int
	closed bool

	wake chan struct{} // one slot: something is there
}

// item is one thing to do; exactly one of its fields is set, and from.
type item struct {
	proposal *proposal
	message  *pb.Message
	from     Member // of message
	change   *change
	snapshot *finished
	report   *report

	unreachable uint64 // a member that a message did not reach
	gone        *int32 // a node at which nobody listens
	confirm     func(error)
}

// proposal waits for its entry to be applied.
type proposal struct {
	data  []byte
	done  func(error)
	index uint64 // 0 until raft gave it one
}

// finished is a snapshot that was written, or the error.
type finished struct {
	at   mark
	conf *pb.ConfState
	err  error
}

// report says how a snapshot's journey to a member ended.
type report struct {
	to uint64
	ok bool
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put adds an item; false when Run has ended.
func (b *inbox) put(it item) bool {
	b.mu.Lock()
	ok := !b.closed
	if ok {
		b.items = append(b.items, it)
	}
	b.mu.Unlock()
	b.poke()
	return ok
}

// tick notes that an interval has passed. Several that Run was too busy to see
// count as one: raft's clock may be slow, not hasty.
func (b *inbox) tick() {
	b.mu.Lock()
	b.ticks = 1
	b.mu.Unlock()
	b.poke()
}

func (b *inbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default: // Run is woken already
	}
}

// take empties the inbox; into is reused for the next items.
func (b *inbox) take(into []item) (items []item, ticks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	items, ticks = b.items, b.ticks
	b.items, b.ticks = into[:0], 0
	return items, ticks
}

// close lets nothing more in and gives what nobody took.
func (b *inbox) close() []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	items := b.items
	b.items = nil
	return items
}
