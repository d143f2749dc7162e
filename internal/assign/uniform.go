package assign

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Uniform gives every member about the same number of partitions and leaves them
// where they are as far as that allows.
//
// When all subscribe to the same topics, the numbers differ by one at most and
// no assignment like that moves fewer partitions. When subscriptions differ,
// see [mixed].
func Uniform(g *Group) []Set {
	if len(g.Members) == 0 {
		return nil
	}
	if g.homogeneous() {
		return uniform(g)
	}
	return mixed(g)
}

// uniform is [Uniform] for members that all subscribe to the same topics.
//
// A member's share is the whole part of partitions by members; some members get
// one more. Those with more than their share keep the one more first, since it
// would have to move otherwise.
func uniform(g *Group) []Set {
	topics := g.Members[0].Topics
	b := newBoard(g, topics)
	members := len(g.Members)
	share, more := b.total/members, b.total%members
	room := make([]int, members) // what a member is to get yet
	for m := range g.Members {
		quota := share
		if more > 0 {
			quota++
		}
		had := 0
		b.had(m, func(t int, partition int32) {
			if had < quota {
				had++
				b.owners[t][partition] = int32(m)
			}
		})
		if more > 0 {
			if had <= share && members-m > more {
				quota-- // it loses nothing, and enough others remain to take the one more
			} else {
				more--
			}
		}
		room[m] = quota - had
	}

	m := 0
	for t := range b.owners {
		for p, owner := range b.owners[t] {
			if owner != nobody {
				continue
			}
			for room[m] == 0 {
				m++
			}
			room[m]--
			b.owners[t][p] = int32(m)
		}
	}
	return b.sets()
}

// nobody is who owns a partition that is not assigned.
const nobody int32 = -1

// board is the assignment while it is made: the owner of each partition.
type board struct {
	g      *Group
	topics []kafka.UUID
	index  map[kafka.UUID]int // in topics
	owners [][]int32          // by topic and partition: the member, or nobody
	total  int                // partitions
}

func newBoard(g *Group, topics []kafka.UUID) *board {
	b := &board{g: g, topics: topics, index: make(map[kafka.UUID]int, len(topics)), owners: make([][]int32, len(topics))}
	for t, id := range topics {
		b.index[id] = t
		b.total += int(g.Partitions(id))
	}
	all := make([]int32, b.total)
	for i := range all {
		all[i] = nobody
	}
	for t, id := range topics {
		n := g.Partitions(id)
		b.owners[t], all = all[:n:n], all[n:]
	}
	return b
}

// had calls keep with what a member had, may still have, and nobody else took.
func (b *board) had(m int, keep func(t int, partition int32)) {
	member := &b.g.Members[m]
	for _, tp := range member.Had {
		t, ok := b.index[tp.Topic]
		if !ok || !member.subscribes(tp.Topic) {
			continue
		}
		for _, p := range tp.Partitions {
			if int(p) < len(b.owners[t]) && b.owners[t][p] == nobody {
				keep(t, p)
			}
		}
	}
}

// subscribes says whether the member subscribes to a topic.
func (m *Member) subscribes(topic kafka.UUID) bool {
	_, ok := slices.BinarySearchFunc(m.Topics, topic, Compare)
	return ok
}

// sets reads the board by members. A set that is what the member had is that
// very set, so that nothing is kept twice.
func (b *board) sets() []Set {
	sizes := make([]int32, len(b.g.Members)) // by member, of the topic at work
	sets := make([]Set, len(b.g.Members))
	for t, id := range b.topics {
		clear(sizes)
		for _, m := range b.owners[t] {
			if m != nobody {
				sizes[m]++
			}
		}
		for p, m := range b.owners[t] {
			if m == nobody {
				continue
			}
			if n := len(sets[m]); n == 0 || sets[m][n-1].Topic != id {
				sets[m] = append(sets[m], TopicPartitions{id, make([]int32, 0, sizes[m])})
			}
			last := &sets[m][len(sets[m])-1]
			last.Partitions = append(last.Partitions, int32(p))
		}
	}
	for m := range sets {
		if had := b.g.Members[m].Had; sets[m].Equal(had) {
			sets[m] = had
		}
	}
	return sets
}
