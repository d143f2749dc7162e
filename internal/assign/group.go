package assign

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Group is what an assignor works on.
type Group struct {
	// Members are in the order of their ids, without duplicates. No two of them
	// had the same partition.
	Members []Member

	// Partitions is how many partitions a topic has. It knows every topic that a
	// member subscribes to.
	Partitions func(topic kafka.UUID) int32
}

// Member is one member of a group.
type Member struct {
	ID       string
	Instance string // of a static member, or ""

	// Topics are the topics that the member subscribes to and that exist, in the
	// order of their ids, without duplicates.
	Topics []kafka.UUID

	// Had is what the last assignment gave the member.
	Had Set
}

// Assignor assigns the partitions of all topics that members of the group
// subscribe to. The sets are those of g.Members, in that order.
type Assignor func(g *Group) []Set

// Names of the assignors, as clients ask for them.
const (
	UniformName = "uniform"
	RangeName   = "range"
)

// Named finds an assignor by its name.
func Named(name string) (Assignor, bool) {
	switch name {
	case UniformName:
		return Uniform, true
	case RangeName:
		return Range, true
	}
	return nil, false
}

// Set is a set of partitions: topics in the order of their ids, each with at
// least one partition, in order. It is not changed once it is made.
type Set []TopicPartitions

// TopicPartitions are partitions of one topic.
type TopicPartitions struct {
	Topic      kafka.UUID
	Partitions []int32
}

// Len is the number of partitions.
func (s Set) Len() int {
	n := 0
	for i := range s {
		n += len(s[i].Partitions)
	}
	return n
}

// Of are the set's partitions of a topic.
func (s Set) Of(topic kafka.UUID) []int32 {
	if i, ok := slices.BinarySearchFunc(s, topic, func(t TopicPartitions, id kafka.UUID) int { return Compare(t.Topic, id) }); ok {
		return s[i].Partitions
	}
	return nil
}

// Equal says whether two sets have the same partitions.
func (s Set) Equal(other Set) bool {
	return slices.EqualFunc(s, other, func(a, b TopicPartitions) bool {
		return a.Topic == b.Topic && slices.Equal(a.Partitions, b.Partitions)
	})
}

// homogeneous says whether all members subscribe to the same topics.
func (g *Group) homogeneous() bool {
	for i := 1; i < len(g.Members); i++ {
		if !slices.Equal(g.Members[i].Topics, g.Members[0].Topics) {
			return false
		}
	}
	return true
}

// Compare is the order of topic ids here: Kafka's, which takes an id for two
// signed numbers.
func Compare(a, b kafka.UUID) int {
	hi := func(u kafka.UUID) int64 { return int64(binary.BigEndian.Uint64(u[:8])) }
	lo := func(u kafka.UUID) int64 { return int64(binary.BigEndian.Uint64(u[8:])) }
	return cmp.Or(cmp.Compare(hi(a), hi(b)), cmp.Compare(lo(a), lo(b)))
}
