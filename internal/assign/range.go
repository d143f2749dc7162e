package assign

import (
	"cmp"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Range gives each subscriber of a topic a range of its partitions, in the order
// of the members: static members by their instance ids, then the others by their
// member ids. The first ones get a partition more when it does not come out even.
//
// Members that subscribe to the same topics, which have the same number of
// partitions, get the same ranges of all of them: a join of the topics finds
// both sides at one member. A static member that returns under a new id keeps
// its place, and with it its partitions.
func Range(g *Group) []Set {
	order := make([]int, len(g.Members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareMembers(&g.Members[a], &g.Members[b]) })

	subscribers := map[kafka.UUID]int32{}
	for i := range g.Members {
		for _, t := range g.Members[i].Topics {
			subscribers[t]++
		}
	}
	next := make(map[kafka.UUID]int32, len(subscribers)) // first partition that is not given out
	sets := make([]Set, len(g.Members))
	for _, m := range order {
		topics := g.Members[m].Topics
		set := make(Set, 0, len(topics))
		for _, t := range topics {
			from, n := next[t], g.Partitions(t)
			// What remains is shared by those who remain, the larger parts first.
			to := from + (n-from+subscribers[t]-1)/subscribers[t]
			subscribers[t]--
			next[t] = to
			if to > from {
				set = append(set, TopicPartitions{t, sequence(from, to)})
			}
		}
		sets[m] = set
	}
	return sets
}

// compareMembers is the order in which members get their ranges.
func compareMembers(a, b *Member) int {
	switch {
	case a.Instance != "" && b.Instance != "":
		return cmp.Compare(a.Instance, b.Instance)
	case a.Instance != "":
		return -1
	case b.Instance != "":
		return 1
	}
	return cmp.Compare(a.ID, b.ID)
}

// sequence is from, from+1, ... to-1.
func sequence(from, to int32) []int32 {
	s := make([]int32, to-from)
	for i := range s {
		s[i] = from + int32(i)
	}
	return s
}
