package cluster

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// A sorted map behaves like a Go map with sorted keys through random edits, and
// no edit changes a map that was made before it.
func TestSortedAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := newSorted[int, int](cmp.Compare[int])
	model := map[int]int{}
	type version struct {
		m     sorted[int, int]
		model map[int]int
	}
	var kept []version
	for round := range 300 {
		e := m.edit()
		for range rng.IntN(200) {
			k := rng.IntN(2000)
			if rng.IntN(3) == 0 || round > 200 {
				e.remove(k)
				delete(model, k)
			} else {
				v := rng.Int()
				e.put(k, v)
				model[k] = v
			}
			if got, ok := e.get(k); ok != (func() bool { _, ok := model[k]; return ok })() || got != model[k] {
				t.Fatalf("round %d: key %d is %d, %v within the edit", round, k, got, ok)
			}
		}
		m = e.done()
		kept = append(kept, version{m, maps.Clone(model)})
	}
	for i, v := range kept {
		same(t, i, v.m, v.model)
	}
}

func same(t *testing.T, round int, m sorted[int, int], model map[int]int) {
	t.Helper()
	if m.size != len(model) {
		t.Fatalf("round %d: size %d, want %d", round, m.size, len(model))
	}
	keys := slices.Sorted(maps.Keys(model))
	i := 0
	for k, v := range m.all() {
		if i >= len(keys) || k != keys[i] || v != model[k] {
			t.Fatalf("round %d: pair %d is %d=%d", round, i, k, v)
		}
		i++
	}
	if i != len(keys) {
		t.Fatalf("round %d: %d pairs, want %d", round, i, len(keys))
	}
	for _, start := range []int{-1, 0, 777, 1999, 2001} {
		at, _ := slices.BinarySearch(keys, start)
		for k := range m.from(start) {
			if at >= len(keys) || k != keys[at] {
				t.Fatalf("round %d: from %d gives %d", round, start, k)
			}
			at++
		}
		if at != len(keys) {
			t.Fatalf("round %d: from %d ends early", round, start)
		}
	}
}

// One change of one topic among 100,000 copies little.
func BenchmarkChangeAmong100k(b *testing.B) {
	m := newSorted[int, int](cmp.Compare[int])
	e := m.edit()
	for i := range 100_000 {
		e.put(i, i)
	}
	m = e.done()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := m.edit()
		e.put(i%100_000, i)
		m = e.done()
	}
}
