package share

import (
	"maps"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// states says how far the share coordinator is with the partitions of a group.
// Its maps are not changed but by replay.
type states struct {
	initializing map[kafka.UUID]topicState
	initialized  map[kafka.UUID]topicState
	deleting     map[kafka.UUID]string // names by id
}

// topicState are partitions of one topic, in order.
type topicState struct {
	name       string
	partitions []int32
}

func newStates() states {
	return states{map[kafka.UUID]topicState{}, map[kafka.UUID]topicState{}, map[kafka.UUID]string{}}
}

// copy may be changed; the lists in it may not.
func (s *states) copy() states {
	return states{maps.Clone(s.initializing), maps.Clone(s.initialized), maps.Clone(s.deleting)}
}

func (s *states) empty() bool {
	return len(s.initializing) == 0 && len(s.initialized) == 0 && len(s.deleting) == 0
}

func (s *states) replay(value []byte) error {
	if value == nil {
		*s = newStates()
		return nil
	}
	v := state.NewShareGroupStatePartitionMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	next := newStates()
	fill := func(into map[kafka.UUID]topicState, list []state.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo) {
		for _, t := range list {
			into[t.TopicID] = topicState{t.TopicName, slices.Compact(slices.Sorted(slices.Values(t.Partitions)))}
		}
	}
	fill(next.initializing, v.InitializingTopics)
	fill(next.initialized, v.InitializedTopics)
	for _, t := range v.DeletingTopics {
		next.deleting[t.TopicID] = t.TopicName
	}
	*s = next
	return nil
}

// putStates appends s as it is.
func (r *records) putStates(group string, s *states) {
	v := state.NewShareGroupStatePartitionMetadataValue()
	list := func(from map[kafka.UUID]topicState) []state.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo {
		out := []state.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo{}
		for _, id := range inOrder(from) {
			out = append(out, state.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo{
				TopicID: id, TopicName: from[id].name, Partitions: from[id].partitions})
		}
		return out
	}
	v.InitializingTopics, v.InitializedTopics = list(s.initializing), list(s.initialized)
	v.DeletingTopics = []state.ShareGroupStatePartitionMetadataValueTopicInfo{}
	for _, id := range inOrder(s.deleting) {
		v.DeletingTopics = append(v.DeletingTopics, state.ShareGroupStatePartitionMetadataValueTopicInfo{TopicID: id, TopicName: s.deleting[id]})
	}
	r.put(statesKey(group), &v)
}

// add puts partitions of a topic into one of the maps.
func add(into map[kafka.UUID]topicState, id kafka.UUID, t topicState) {
	all := slices.Concat(into[id].partitions, t.partitions)
	slices.Sort(all)
	into[id] = topicState{t.name, slices.Compact(all)}
}

// take takes partitions of a topic out of one of the maps.
func take(from map[kafka.UUID]topicState, id kafka.UUID, partitions []int32) {
	t, ok := from[id]
	if !ok {
		return
	}
	rest := minus(t.partitions, partitions)
	if len(rest) == 0 {
		delete(from, id)
		return
	}
	from[id] = topicState{t.name, rest}
}

// minus are those of a, which is in order, that are not in b.
func minus(a, b []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(a), func(p int32) bool { return slices.Contains(b, p) })
}

func inOrder[V any](m map[kafka.UUID]V) []kafka.UUID {
	return slices.SortedFunc(maps.Keys(m), assign.Compare)
}

// upTo are the partitions of a topic that has n.
func upTo(n int32) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}
