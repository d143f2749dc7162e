package cluster

import (
	"iter"
	"slices"
)

// runMax is the most pairs a run holds. A change copies one run and the list of
// runs, so with n pairs it costs about runMax + n/runMax.
const runMax = 128

// sorted is an immutable map in key order: a list of short sorted runs.
// Changes go through [sorted.edit]; the new map shares all untouched runs.
type sorted[K, V any] struct {
	order func(a, b K) int
	runs  []*run[K, V] // none empty; keys ascend within and across runs
	size  int
}

type run[K, V any] struct {
	owner *owner // the edit that may still change the run in place
	keys  []K
	vals  []V
}

// owner is a mark of identity; it must not be of size zero, or two could be one.
type owner struct{ _ byte }

func newSorted[K, V any](order func(a, b K) int) sorted[K, V] {
	return sorted[K, V]{order: order}
}

// seek gives the first position whose key is not below k, and whether it is k.
// Past the end, r is len(runs).
func (m sorted[K, V]) seek(k K) (r, i int, found bool) {
	r, _ = slices.BinarySearchFunc(m.runs, k, func(r *run[K, V], k K) int {
		return m.order(r.keys[len(r.keys)-1], k)
	})
	if r == len(m.runs) {
		return r, 0, false
	}
	i, found = slices.BinarySearchFunc(m.runs[r].keys, k, m.order)
	return r, i, found
}

func (m sorted[K, V]) get(k K) (v V, ok bool) {
	r, i, ok := m.seek(k)
	if ok {
		v = m.runs[r].vals[i]
	}
	return v, ok
}

// all gives every pair in key order.
func (m sorted[K, V]) all() iter.Seq2[K, V] { return m.walk(0, 0) }

// from gives the pairs whose key is not below k, in key order.
func (m sorted[K, V]) from(k K) iter.Seq2[K, V] {
	r, i, _ := m.seek(k)
	return m.walk(r, i)
}

func (m sorted[K, V]) walk(r, i int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for i := i; r < len(m.runs); i = 0 {
			run := m.runs[r]
			r++
			for ; i < len(run.keys); i++ {
				if !yield(run.keys[i], run.vals[i]) {
					return
				}
			}
		}
	}
}

// edit begins a change. The map itself stays as it is.
func (m sorted[K, V]) edit() *edit[K, V] {
	m.runs = slices.Clone(m.runs)
	return &edit[K, V]{sorted: m, owner: &owner{}}
}

// edit is a map under change: get sees what was put. It belongs to one
// goroutine and must not be used after done.
type edit[K, V any] struct {
	sorted[K, V]
	owner *owner
}

// own makes run r the edit's own, so that it may be changed in place.
func (e *edit[K, V]) own(r int) *run[K, V] {
	old := e.runs[r]
	if old.owner == e.owner {
		return old
	}
	mine := &run[K, V]{owner: e.owner, keys: slices.Clone(old.keys), vals: slices.Clone(old.vals)}
	e.runs[r] = mine
	return mine
}

func (e *edit[K, V]) put(k K, v V) {
	r, i, found := e.seek(k)
	switch {
	case found:
		e.own(r).vals[i] = v
		return
	case len(e.runs) == 0:
		e.runs = append(e.runs, &run[K, V]{owner: e.owner, keys: []K{k}, vals: []V{v}})
	default:
		if r == len(e.runs) { // behind the last key: the last run grows
			r--
			i = len(e.runs[r].keys)
		}
		mine := e.own(r)
		mine.keys = slices.Insert(mine.keys, i, k)
		mine.vals = slices.Insert(mine.vals, i, v)
		if len(mine.keys) > runMax {
			e.split(r)
		}
	}
	e.size++
}

// split halves run r, which the edit owns.
func (e *edit[K, V]) split(r int) {
	low := e.runs[r]
	mid := len(low.keys) / 2
	high := &run[K, V]{owner: e.owner, keys: slices.Clone(low.keys[mid:]), vals: slices.Clone(low.vals[mid:])}
	clear(low.vals[mid:]) // let go of what moved
	low.keys, low.vals = low.keys[:mid], low.vals[:mid]
	e.runs = slices.Insert(e.runs, r+1, high)
}

func (e *edit[K, V]) remove(k K) {
	r, i, found := e.seek(k)
	if !found {
		return
	}
	e.size--
	mine := e.own(r)
	mine.keys = slices.Delete(mine.keys, i, i+1)
	mine.vals = slices.Delete(mine.vals, i, i+1)
	switch {
	case len(mine.keys) == 0:
		e.runs = slices.Delete(e.runs, r, r+1)
	case r+1 < len(e.runs) && len(mine.keys)+len(e.runs[r+1].keys) <= runMax/2:
		next := e.runs[r+1]
		mine.keys = append(mine.keys, next.keys...)
		mine.vals = append(mine.vals, next.vals...)
		e.runs = slices.Delete(e.runs, r+1, r+2)
	}
}

// done ends the edit: from here on nobody may change its runs.
func (e *edit[K, V]) done() sorted[K, V] {
	e.owner = nil
	return e.sorted
}
