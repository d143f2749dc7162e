//go:build invariants

package invariant

import (
	"maps"
	"sync"
)

const tagged = true

// counted are the marks of this process. They are of the whole program, as the
// branches are that they stand in, and exist in builds with the tag only.
var counted = newCounter()

type counter struct {
	mu struct {
		sync.Mutex
		marks map[string]int
	}
}

func newCounter() *counter {
	c := &counter{}
	c.mu.marks = map[string]int{}
	return c
}

func mark(name string) {
	counted.mu.Lock()
	defer counted.mu.Unlock()
	counted.mu.marks[name]++
}

func marks() map[string]int {
	counted.mu.Lock()
	defer counted.mu.Unlock()
	return maps.Clone(counted.mu.marks)
}
