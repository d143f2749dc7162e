package assign

import (
	"cmp"
	"slices"
)

// rank hands out the subscribers of a topic from both ends: the one with the
// fewest partitions, and the one with the most. Who has received one waits until
// all with fewer have caught up, and who has given one until all with more have.
//
//	members, by partitions:   3 3 | 4 5 7 | 8 8
//	                     bottom ─┘         └─ top
//	low 3: its members take turns, then 4 joins in; high 8: likewise downwards
type rank struct {
	b       *balancer
	members []int32 // by the partitions they had when the rank was made

	low    int // what the members before bottom have, or are getting to
	bottom int
	taker  int // of those, who is next

	high  int // what the members from top on have, or are coming down to
	top   int
	end   int // those from here on have nothing to give
	giver int
}

func (b *balancer) rank(t int) *rank {
	r := &rank{b: b, members: slices.Clone(b.subscribers[t])}
	slices.SortStableFunc(r.members, func(x, y int32) int { return cmp.Compare(b.sizes[x], b.sizes[y]) })
	n := len(r.members)
	r.low, r.high = b.sizes[r.members[0]]-1, b.sizes[r.members[n-1]]+1
	r.top, r.end, r.giver = n, n, n-1
	return r
}

// even says that nothing can be gained by a move.
func (r *rank) even() bool { return r.high-r.low <= 1 }

// least is the member to get a partition.
func (r *rank) least() int32 {
	if r.taker >= r.bottom {
		r.low++
		for r.bottom < len(r.members) && r.b.sizes[r.members[r.bottom]] == r.low {
			r.bottom++
		}
		r.taker = 0
	}
	r.taker++
	return r.members[r.taker-1]
}

// most is the member to give a partition, or nobody.
func (r *rank) most() int32 {
	if r.giver < r.top {
		if r.end <= r.top && r.top > 0 {
			r.high = r.b.sizes[r.members[r.top-1]] // all above have nothing to give
		} else {
			r.high--
		}
		for r.top > 0 && r.b.sizes[r.members[r.top-1]] == r.high {
			r.top--
		}
		r.giver = r.end - 1
	}
	if r.giver < 0 {
		return nobody
	}
	r.giver--
	return r.members[r.giver+1]
}

// exclude takes out the member that most gave, which has nothing to give.
func (r *rank) exclude() {
	last := r.end - 1
	r.members[r.giver+1], r.members[last] = r.members[last], r.members[r.giver+1]
	r.end--
}
