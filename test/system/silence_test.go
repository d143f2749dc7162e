//go:build system

package system

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// silence measures how long partitions acknowledged nothing.
type silence struct {
	mu      sync.Mutex
	last    []time.Time // by partition
	longest time.Duration
}

// begin forgets what was.
func (s *silence) begin(partitions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.last, s.longest = make([]time.Time, partitions), 0
	for i := range s.last {
		s.last[i] = now
	}
}

func (s *silence) mark(partition int32) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest = max(s.longest, now.Sub(s.last[partition]))
	s.last[partition] = now
}

// heard tells whether every partition acknowledged something after a time.
func (s *silence) heard(since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.last, func(t time.Time) bool { return !t.After(since) })
}

// end is the longest time since begin in which one partition acknowledged nothing.
func (s *silence) end() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest, now := s.longest, time.Now()
	for _, t := range s.last {
		longest = max(longest, now.Sub(t))
	}
	return longest
}

// windows are such times, by what had happened.
type windows map[string][]time.Duration

// table shows them.
func (w windows) table() string {
	var out strings.Builder
	fmt.Fprintf(&out, "the longest time that one partition acknowledged nothing, for each fault:\n%-40s %6s %9s %9s %9s\n", "FAULT", "TIMES", "P50", "P99", "MAX")
	all := map[string][]time.Duration{"(all)": nil}
	for kind, list := range w {
		all[kind], all["(all)"] = list, append(all["(all)"], list...)
	}
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		list := slices.Sorted(slices.Values(all[kind]))
		at := func(share float64) time.Duration {
			return list[min(int(share*float64(len(list))), len(list)-1)].Round(time.Millisecond)
		}
		if len(list) > 0 {
			fmt.Fprintf(&out, "%-40s %6d %9v %9v %9v\n", kind, len(list), at(0.5), at(0.99), at(1))
		}
	}
	return out.String()
}
