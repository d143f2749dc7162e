package replica

// Waiter waits until an offset is committed. It is part of what its owner keeps
// anyway, so that waiting allocates nothing. Set the exported fields, hand it to
// [Replica.AwaitCommitted], and leave it alone until Done was called or
// [Replica.Forget] returned true.
type Waiter struct {
	// Offset is what the high watermark must reach: the last record's plus one.
	Offset int64
	// Durable: everything below Offset must also be on stable storage of the
	// whole ISR (acks=all), unless the topic has write.caching. For a batch that
	// was appended so it follows from the high watermark; for a duplicate of one
	// that was not, it does not.
	Durable bool
	// Done is called exactly once, never under a lock, by whoever moved the
	// high watermark: nil when the offset is committed, else NOT_LEADER_OR_FOLLOWER
	// when leadership was lost, KAFKA_STORAGE_ERROR when the disk failed. It must
	// not block: other waiters are behind it.
	Done func(error)

	list       *waitList
	prev, next *Waiter
}

// waitList holds waiters in the order of their offsets.
type waitList struct{ head, tail *Waiter }

// add puts w in its place, which is nearly always the end: who appended later
// waits for more.
func (l *waitList) add(w *Waiter) {
	after := l.tail
	for after != nil && after.Offset > w.Offset {
		after = after.prev
	}
	w.list, w.prev = l, after
	if after == nil {
		w.next, l.head = l.head, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		l.tail = w
	} else {
		w.next.prev = w
	}
}

// remove takes w out, wherever it is.
func (l *waitList) remove(w *Waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.list, w.prev, w.next = nil, nil, nil
}

// cut takes out all that wait for no more than offset, in order.
func (l *waitList) cut(offset int64) (first *Waiter) {
	if l.head == nil || l.head.Offset > offset {
		return nil
	}
	first = l.head
	w := first
	for ; w != nil && w.Offset <= offset; w = w.next {
		w.list = nil
	}
	l.head = w
	if w == nil {
		l.tail = nil
		return first
	}
	w.prev.next, w.prev = nil, nil
	return first
}

// finish calls Done of each in a chain that cut gave.
func finish(first *Waiter, err error) {
	for w := first; w != nil; {
		next := w.next
		w.prev, w.next = nil, nil
		w.Done(err)
		w = next
	}
}
