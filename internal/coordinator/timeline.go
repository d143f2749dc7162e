package coordinator

import (
	"maps"
	"slices"
)

// Timeline orders the writes to the tables of one machine by the offset at
// which they become committed.
//
// Writes between two batches belong to the next batch's end. While the log is
// loaded everything counts as committed: it is loaded up to there.
type Timeline struct {
	loading bool
	open    []change  // of the turn at work
	pending []settled // appended, by offset
}

// change is one write that may be forgotten once it is committed.
type change interface{ settle() }

type settled struct {
	end     int64
	changes []change
}

// NewTimeline returns a timeline whose tables take every write as committed,
// until the runtime says that the log is loaded. Only tests need to call it.
func NewTimeline() *Timeline { return &Timeline{loading: true} }

// add notes a write of the turn at work.
func (tl *Timeline) add(c change) { tl.open = append(tl.open, c) }

// seal gives the writes since the last call the offset that commits them.
func (tl *Timeline) seal(end int64) {
	if len(tl.open) == 0 {
		return
	}
	tl.pending = append(tl.pending, settled{end, tl.open})
	tl.open = nil
}

// commit forgets what was before the writes up to offset end.
func (tl *Timeline) commit(end int64) {
	n := 0
	for n < len(tl.pending) && tl.pending[n].end <= end {
		for _, c := range tl.pending[n].changes {
			c.settle()
		}
		n++
	}
	tl.pending = slices.Delete(tl.pending, 0, n)
}

// Table is a map that remembers, beside the newest value of a key, the committed
// one for as long as the two differ. It costs no more than a map when nothing is
// in flight.
//
// The zero value is not usable; see [NewTable].
type Table[K comparable, V any] struct {
	tl     *Timeline
	newest map[K]V
	older  map[K]older[V] // keys with writes in flight; nil before the first
	order  func(a, b K) int
}

// older is the committed value of a key, and how many writes of the key are not
// committed yet.
type older[V any] struct {
	value   V
	present bool
	writes  int
}

// write is one change of a table in flight.
type write[K comparable, V any] struct {
	table   *Table[K, V]
	key     K
	value   V
	present bool
}

// NewTable returns an empty table on the timeline. order sorts its keys.
func NewTable[K comparable, V any](tl *Timeline, order func(a, b K) int) *Table[K, V] {
	return &Table[K, V]{tl: tl, newest: map[K]V{}, order: order}
}

// Get is the newest value.
func (t *Table[K, V]) Get(k K) (V, bool) {
	v, ok := t.newest[k]
	return v, ok
}

// Committed is the committed value.
func (t *Table[K, V]) Committed(k K) (V, bool) {
	if o, ok := t.older[k]; ok {
		return o.value, o.present
	}
	return t.Get(k)
}

// Put sets the newest value.
func (t *Table[K, V]) Put(k K, v V) {
	t.note(k, v, true)
	t.newest[k] = v
}

// Delete removes the key from the newest state.
func (t *Table[K, V]) Delete(k K) {
	var none V
	t.note(k, none, false)
	delete(t.newest, k)
	if len(t.newest) == 0 { // a map gives nothing back that it ever had
		t.newest = map[K]V{}
	}
}

// Len is the number of keys in the newest state.
func (t *Table[K, V]) Len() int { return len(t.newest) }

// Idle says that the table is empty and no write is in flight: it may be
// dropped.
func (t *Table[K, V]) Idle() bool { return len(t.newest) == 0 && len(t.older) == 0 }

// Each shows every key of the newest state, in no order: for what adds up only.
func (t *Table[K, V]) Each(visit func(K)) {
	for k := range t.newest {
		visit(k)
	}
}

// Keys are the keys of the newest state in order.
func (t *Table[K, V]) Keys() []K {
	return slices.SortedFunc(maps.Keys(t.newest), t.order)
}

// CommittedKeys are the keys of the committed state in order.
func (t *Table[K, V]) CommittedKeys() []K {
	keys := make([]K, 0, len(t.newest))
	for k := range t.newest {
		if _, ok := t.Committed(k); ok {
			keys = append(keys, k)
		}
	}
	for k, o := range t.older {
		if _, ok := t.newest[k]; !ok && o.present {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, t.order)
	return keys
}

// note keeps what is committed before the key changes.
func (t *Table[K, V]) note(k K, v V, present bool) {
	if t.tl.loading {
		return
	}
	o, ok := t.older[k]
	if !ok {
		o.value, o.present = t.Get(k)
	}
	o.writes++
	if t.older == nil {
		t.older = map[K]older[V]{}
	}
	t.older[k] = o
	t.tl.add(&write[K, V]{t, k, v, present})
}

// settle makes one write the committed version of its key.
func (w *write[K, V]) settle() {
	o := w.table.older[w.key]
	if o.writes--; o.writes == 0 {
		delete(w.table.older, w.key)
		return
	}
	o.value, o.present = w.value, w.present
	w.table.older[w.key] = o
}
