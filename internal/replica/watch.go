package replica

import "sync/atomic"

// Wake rings once enough bytes have become readable for a fetch, over all the
// partitions it watches. One belongs to one fetch session and is used again for
// each of its fetches.
type Wake struct {
	need atomic.Int64
	bell chan struct{}
}

// NewWake makes one that is not armed.
func NewWake() *Wake { return &Wake{bell: make(chan struct{}, 1)} }

// Arm prepares for a fetch that still lacks so many bytes, and silences what
// rang before. No watcher of it may be watching. A ring that was on its way may
// still come: the fetch then looks once in vain.
func (w *Wake) Arm(bytes int64) {
	w.need.Store(max(bytes, 1))
	select {
	case <-w.bell:
	default:
	}
}

// Bell is where it rings.
func (w *Wake) Bell() <-chan struct{} { return w.bell }

// Ring rings at once: something changed that a fetch must look at.
func (w *Wake) Ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// count notes bytes; true if with them it became enough.
func (w *Wake) count(bytes int64) bool {
	left := w.need.Add(-bytes)
	return left <= 0 && left+bytes > 0
}

// FetchWaiter watches one partition for one fetch. It is part of the session's
// own record of the partition, so that watching allocates nothing.
type FetchWaiter struct {
	// Wake is told how many bytes become readable, and rung when the replica
	// can no longer be read as before.
	Wake *Wake
	// Seen is up to where the fetch has looked: the high watermark, LSO or log
	// end of its last read. If that has moved when watching begins, it rings at
	// once.
	Seen int64
	// Isolation says up to where the fetch reads.
	Isolation Isolation
	// ToHW has it ring as well when the high watermark passes HW: for followers,
	// who read beyond it and are to be told of it.
	ToHW bool
	HW   int64

	list       *watchList
	prev, next *FetchWaiter
}

// watchList holds watchers in no order.
type watchList struct{ head *FetchWaiter }

func (l *watchList) add(w *FetchWaiter) {
	w.list, w.prev, w.next = l, nil, l.head
	if l.head != nil {
		l.head.prev = w
	}
	l.head = w
}

func (l *watchList) remove(w *FetchWaiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	w.list, w.prev, w.next = nil, nil, nil
}

// wakes are the bells to ring once the mutex is free.
type wakes struct {
	few  [4]*Wake
	n    int
	many []*Wake
}

func (ws *wakes) add(w *Wake) {
	if ws.n < len(ws.few) {
		ws.few[ws.n] = w
		ws.n++
		return
	}
	ws.many = append(ws.many, w)
}

func (ws *wakes) ring() {
	for _, w := range ws.few[:ws.n] {
		w.Ring()
	}
	for _, w := range ws.many {
		w.Ring()
	}
}
