package consumer

import (
	"cmp"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// held are partitions that a member holds: topics in the order of their ids,
// each with at least one partition, in order. It is not changed once it is made.
type held []heldTopic

// heldTopic are partitions of one topic, and of each the epoch at which the
// member got it: an offset committed under an older one is refused.
type heldTopic struct {
	topic      kafka.UUID
	partitions []int32
	epochs     []int32
}

func (h held) equal(o held) bool {
	return slices.EqualFunc(h, o, func(a, b heldTopic) bool {
		return a.topic == b.topic && slices.Equal(a.partitions, b.partitions) && slices.Equal(a.epochs, b.epochs)
	})
}

// of are the partitions of a topic.
func (h held) of(topic kafka.UUID) heldTopic {
	if i, ok := slices.BinarySearchFunc(h, topic, func(t heldTopic, id kafka.UUID) int { return assign.Compare(t.topic, id) }); ok {
		return h[i]
	}
	return heldTopic{topic: topic}
}

// epoch is when a partition was given to the member, false if it was not.
func (h held) epoch(topic kafka.UUID, partition int32) (int32, bool) {
	t := h.of(topic)
	i, ok := slices.BinarySearch(t.partitions, partition)
	if !ok {
		return 0, false
	}
	return t.epochs[i], true
}

// add puts a partition at the end of a topic that is being built.
func (t *heldTopic) add(partition, epoch int32) {
	t.partitions = append(t.partitions, partition)
	t.epochs = append(t.epochs, epoch)
}

// sort puts partitions in order, once each.
func (t *heldTopic) sort() {
	if slices.IsSorted(t.partitions) {
		return
	}
	order := make([]int, len(t.partitions))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(t.partitions[a], t.partitions[b]) })
	n := heldTopic{topic: t.topic}
	for i, o := range order {
		if i == 0 || t.partitions[o] != n.partitions[len(n.partitions)-1] {
			n.add(t.partitions[o], t.epochs[o])
		}
	}
	*t = n
}

// zeroed are the same partitions, all given at epoch 0.
func (h held) zeroed() held {
	z := make(held, len(h))
	for i, t := range h {
		z[i] = heldTopic{topic: t.topic, partitions: t.partitions, epochs: make([]int32, len(t.partitions))}
	}
	return z
}

// union is what is in either; they have nothing in common.
func union(a, b held) held {
	if len(a) == 0 {
		return b
	}
	var u held
	for _, t := range b {
		if more := a.of(t.topic); len(more.partitions) > 0 {
			t = heldTopic{
				topic: t.topic, partitions: slices.Concat(t.partitions, more.partitions),
				epochs: slices.Concat(t.epochs, more.epochs),
			}
			t.sort()
		}
		u = append(u, t)
	}
	for _, t := range a {
		if len(b.of(t.topic).partitions) == 0 {
			u = append(u, t)
		}
	}
	slices.SortFunc(u, func(x, y heldTopic) int { return assign.Compare(x.topic, y.topic) })
	return u
}

// has says whether a member that owns these has one of the partitions; one that
// does not say what it owns might have any.
func (h held) has(owned []msg.ConsumerGroupHeartbeatRequestTopicPartition) bool {
	if owned == nil {
		return true
	}
	for i := range owned {
		t := h.of(owned[i].TopicID)
		for _, p := range owned[i].Partitions {
			if _, ok := slices.BinarySearch(t.partitions, p); ok {
				return true
			}
		}
	}
	return false
}

// covers says whether a member that owns these has nothing but the partitions.
func (h held) covers(owned []msg.ConsumerGroupHeartbeatRequestTopicPartition) bool {
	if owned == nil {
		return false
	}
	for i := range owned {
		t := h.of(owned[i].TopicID)
		if len(t.partitions) == 0 {
			return false
		}
		for _, p := range owned[i].Partitions {
			if _, ok := slices.BinarySearch(t.partitions, p); !ok {
				return false
			}
		}
	}
	return true
}

// set is the same without epochs.
func (h held) set() assign.Set {
	s := make(assign.Set, len(h))
	for i, t := range h {
		s[i] = assign.TopicPartitions{Topic: t.topic, Partitions: t.partitions}
	}
	return s
}

// answer is what the member is told to read.
func (h held) answer() *msg.ConsumerGroupHeartbeatResponseAssignment {
	a := &msg.ConsumerGroupHeartbeatResponseAssignment{}
	for _, t := range h {
		a.TopicPartitions = append(a.TopicPartitions, msg.ConsumerGroupHeartbeatResponseTopicPartition{
			TopicID: t.topic, Partitions: t.partitions,
		})
	}
	return a
}
