package assign

import (
	"cmp"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// rounds is how often [mixed] goes over all topics at most.
const rounds = 16

// mixed is [Uniform] for members whose subscriptions differ.
//
//	keep     each member keeps what it had and still subscribes to
//	fill     what nobody has goes to the subscriber with the fewest partitions,
//	         topics with many partitions for each subscriber first
//	balance  topic by topic, in the same order, partitions move from the
//	         subscriber with the most to the one with the fewest while they
//	         differ by two or more, until a whole round moves nothing
//
// A topic's balance depends on that of all others with which it shares
// subscribers; so this is a search, which ends after [rounds] at the latest.
func mixed(g *Group) []Set {
	subscribers := map[kafka.UUID][]int32{}
	for m := range g.Members {
		for _, t := range g.Members[m].Topics {
			subscribers[t] = append(subscribers[t], int32(m))
		}
	}
	topics := make([]kafka.UUID, 0, len(subscribers))
	for t := range subscribers {
		topics = append(topics, t)
	}
	slices.SortFunc(topics, Compare)
	b := &balancer{board: newBoard(g, topics), sizes: make([]int, len(g.Members))}
	for m := range g.Members {
		b.had(m, func(t int, p int32) { b.give(t, p, int32(m)) })
	}
	b.subscribers = make([][]int32, len(topics))
	order := make([]int, len(topics))
	for t, id := range topics {
		b.subscribers[t], order[t] = subscribers[id], t
	}
	slices.SortStableFunc(order, func(x, y int) int {
		nx, ny := len(b.subscribers[x]), len(b.subscribers[y])
		return cmp.Or(
			cmp.Compare(float64(len(b.owners[y]))/float64(ny), float64(len(b.owners[x]))/float64(nx)),
			cmp.Compare(nx, ny),
		)
	})
	b.fill(order)
	b.balance(order)
	return b.sets()
}

// balancer is a [board] that counts.
type balancer struct {
	*board
	subscribers [][]int32 // by topic: the members, in order
	sizes       []int     // by member: partitions
}

// give makes a member the owner of a partition.
func (b *balancer) give(t int, partition, member int32) {
	if old := b.owners[t][partition]; old != nobody {
		b.sizes[old]--
	}
	b.owners[t][partition] = member
	b.sizes[member]++
}

// fill assigns what nobody has.
func (b *balancer) fill(order []int) {
	for _, t := range order {
		free := slices.Contains(b.owners[t], nobody)
		if !free {
			continue
		}
		r := b.rank(t)
		for p, owner := range b.owners[t] {
			if owner == nobody {
				b.give(t, int32(p), r.least())
			}
		}
	}
}

// balance moves partitions until that does no good any more.
func (b *balancer) balance(order []int) {
	order = slices.DeleteFunc(slices.Clone(order), func(t int) bool { return len(b.subscribers[t]) < 2 })
	last := -1 // the topic of the last move, or the first one of all
	for range rounds {
		for i, t := range order {
			if i == last {
				return
			}
			if moved := b.balanceTopic(t); moved || last == -1 {
				last = i
			}
		}
	}
}

// balanceTopic moves partitions of one topic.
func (b *balancer) balanceTopic(t int) (moved bool) {
	r := b.rank(t)
	if r.high-r.low <= 3 { // one beyond either end, so that the ends differ by one at most
		return false
	}
	// Each member's partitions of this topic, the last of which goes first.
	owned := map[int32][]int32{}
	for p, m := range b.owners[t] {
		owned[m] = append(owned[m], int32(p))
	}
	for !r.even() {
		from := r.most()
		if from == nobody {
			return moved
		}
		parts := owned[from]
		if len(parts) == 0 {
			r.exclude()
			continue
		}
		owned[from] = parts[:len(parts)-1]
		to := r.least()
		if r.even() {
			return moved
		}
		b.give(t, parts[len(parts)-1], to)
		moved = true
	}
	return moved
}
