package replica

import "sync"

// What one turn may write at once. More than this gains nothing, and who waits
// should not wait for long.
const (
	turnBytes   = 4 << 20
	turnBatches = 256
)

// turn gives the log to one at a time, in the order of asking.
type turn struct {
	mu struct {
		sync.Mutex // memory only
		held       bool
		number     uint32 // of who holds it, for who looks whether it is still the same
		head, tail *entry
	}
}

// entry is one appender in the queue, or someone who wants the log for himself.
type entry struct {
	batch Batch
	alone bool // not an append: takes a turn of its own

	got  Appended
	err  error
	wake chan signal // holds one
	next *entry
}

// signal is what a parked entry hears.
type signal int8

const (
	yours signal = iota // the turn is yours
	done                // another wrote your batch
)

// enter takes the turn if it is free. Otherwise e is queued, and its owner
// receives from e.wake.
func (t *turn) enter(e *entry) (holds bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mu.held {
		t.mu.held = true
		t.mu.number++
		return true
	}
	if t.mu.tail == nil {
		t.mu.head = e
	} else {
		t.mu.tail.next = e
	}
	t.mu.tail = e
	return false
}

// gather appends to group the appenders that queued behind the holder, as far
// as one write should go. Behind a marker come only markers: whether a batch may
// follow the end of its producer's transaction shows only when that is written.
func (t *turn) gather(group []*entry, bytes int) []*entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.mu.head; e != nil && !e.alone && len(group) < turnBatches; e = t.mu.head {
		if group[len(group)-1].batch.Origin == Marker && e.batch.Origin != Marker {
			break
		}
		if bytes += len(e.batch.Bytes); bytes > turnBytes {
			break
		}
		t.unlinkHead()
		group = append(group, e)
	}
	return group
}

func (t *turn) unlinkHead() *entry {
	e := t.mu.head
	t.mu.head = e.next
	if t.mu.head == nil {
		t.mu.tail = nil
	}
	e.next = nil
	return e
}

// leave hands the turn to the next in the queue, or frees it.
func (t *turn) leave() {
	t.mu.Lock()
	var next *entry
	if t.mu.head == nil {
		t.mu.held = false
	} else {
		next = t.unlinkHead()
		t.mu.number++
	}
	t.mu.Unlock()
	if next != nil {
		next.wake <- yours
	}
}

// holder numbers who holds the turn; held is false while nobody does.
func (t *turn) holder() (number uint32, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.number, t.mu.held
}

// lock takes the turn for something else than an append; leave gives it back.
func (t *turn) lock() {
	e := &entry{alone: true, wake: make(chan signal, 1)}
	if !t.enter(e) {
		<-e.wake
	}
}
