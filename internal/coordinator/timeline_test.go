package coordinator

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever is written and whenever it is committed, a table tells the newest
// state and that of the last commit, and keeps nothing once all is committed.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tl := NewTimeline()
		table := NewTable[string, int](tl, strings.Compare)
		newest := map[string]int{}
		history := []map[string]int{{}} // by offset
		change := func(n int) {
			for range n {
				k := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				if rapid.Bool().Draw(t, "delete") {
					table.Delete(k)
					delete(newest, k)
				} else {
					v := rapid.IntRange(0, 9).Draw(t, "value")
					table.Put(k, v)
					newest[k] = v
				}
			}
		}
		change(rapid.IntRange(0, 4).Draw(t, "loaded"))
		history[0] = maps.Clone(newest)
		tl.loading = false
		committed := 0
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "write") {
				change(rapid.IntRange(0, 3).Draw(t, "changes"))
				history = append(history, maps.Clone(newest))
				tl.seal(int64(len(history) - 1))
			} else {
				committed = rapid.IntRange(committed, len(history)-1).Draw(t, "commit")
				tl.commit(int64(committed))
			}
			same(t, "newest", newest, table.Keys(), table.Get)
			same(t, "committed", history[committed], table.CommittedKeys(), table.Committed)
		}
		tl.commit(int64(len(history)))
		if len(table.older) != 0 || len(tl.pending) != 0 {
			t.Fatalf("%d keys and %d batches are kept after the last commit", len(table.older), len(tl.pending))
		}
	})
}

func same(t *rapid.T, what string, want map[string]int, keys []string, get func(string) (int, bool)) {
	if !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("%s keys are %v, want %v", what, keys, want)
	}
	for _, k := range []string{"a", "b", "c"} {
		v, ok := get(k)
		if w, there := want[k]; ok != there || v != w {
			t.Fatalf("%s %s is %d, %v, want %d, %v", what, k, v, ok, w, there)
		}
	}
}

func TestAlarms(t *testing.T) {
	var a alarms
	start := time.Unix(0, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	a.set("late", at(9))
	a.set("first", at(3))
	a.set("second", at(3))
	a.set("moved", at(1))
	a.set("moved", at(5))
	a.set("dropped", at(2))
	a.drop("dropped")
	a.drop("never")
	if next, ok := a.next(); !ok || !next.Equal(at(3)) {
		t.Fatalf("the next alarm is at %v", next)
	}
	var rang []string
	for s := range 10 {
		for name, ok := a.due(at(s)); ok; name, ok = a.due(at(s)) {
			rang = append(rang, name)
		}
	}
	if want := []string{"first", "second", "moved", "late"}; !slices.Equal(rang, want) {
		t.Fatalf("rang %v, want %v", rang, want)
	}
	if _, ok := a.next(); ok {
		t.Fatal("an alarm is left")
	}
}
