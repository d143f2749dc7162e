package share

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Replay applies one record.
func (g *Group) Replay(key any, value []byte) error {
	switch k := key.(type) {
	case *state.ShareGroupMetadataKey:
		return g.replayGroup(value)
	case *state.ShareGroupMemberMetadataKey:
		return g.replayMember(k.MemberID, value)
	case *state.ShareGroupTargetAssignmentMetadataKey:
		return g.replayAssignment(value)
	case *state.ShareGroupTargetAssignmentMemberKey:
		return g.replayTarget(k.MemberID, value)
	case *state.ShareGroupCurrentMemberAssignmentKey:
		return g.replayCurrent(k.MemberID, value)
	case *state.ShareGroupStatePartitionMetadataKey:
		return g.states.replay(value)
	}
	return fmt.Errorf("share group %q: a record with a key %T: %w", g.id, key, kafka.UnknownServerError)
}

func (g *Group) replayGroup(value []byte) error {
	if value == nil {
		*g = *New(g.id, g.cfg)
		return nil
	}
	v := state.NewShareGroupMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	g.epoch, g.hash = v.Epoch, v.MetadataHash
	return nil
}

func (g *Group) replayAssignment(value []byte) error {
	if value == nil {
		g.assignmentEpoch, g.assignedAt = -1, 0
		return nil
	}
	v := state.NewShareGroupTargetAssignmentMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	g.assignmentEpoch, g.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	return nil
}

// change gives a member's successor, which is in the group from now on.
func (g *Group) change(id string) *member {
	m := &member{id: id, previous: -1}
	if old := g.members[id]; old != nil {
		*m = *old
	}
	g.members[id] = m
	return m
}

func (g *Group) replayMember(id string, value []byte) error {
	if value == nil {
		delete(g.members, id)
		delete(g.sessions, id)
		return nil
	}
	v := state.NewShareGroupMemberMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	m := g.change(id)
	m.rack, m.clientID, m.clientHost, m.topics = v.RackID, v.ClientID, v.ClientHost, distinct(v.SubscribedTopicNames)
	return nil
}

func (g *Group) replayTarget(id string, value []byte) error {
	if value == nil {
		delete(g.target, id)
		return nil
	}
	v := state.NewShareGroupTargetAssignmentMemberValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	set := make(assign.Set, len(v.TopicPartitions))
	for i, t := range v.TopicPartitions {
		set[i] = assign.TopicPartitions{Topic: t.TopicID, Partitions: t.Partitions}
	}
	g.target[id] = ordered(set)
	return nil
}

func (g *Group) replayCurrent(id string, value []byte) error {
	if value == nil {
		if g.members[id] != nil {
			m := g.change(id)
			m.epoch, m.previous, m.assigned = -1, -1, nil
		}
		return nil
	}
	v := state.NewShareGroupCurrentMemberAssignmentValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	m := g.change(id)
	m.epoch, m.previous, m.assigned = v.MemberEpoch, v.PreviousMemberEpoch, make(assign.Set, len(v.AssignedPartitions))
	for i, t := range v.AssignedPartitions {
		m.assigned[i] = assign.TopicPartitions{Topic: t.TopicID, Partitions: t.Partitions}
	}
	m.assigned = ordered(m.assigned)
	return nil
}

// ordered makes a set of what a record holds, in whatever order it was written.
func ordered(set assign.Set) assign.Set {
	set = slices.DeleteFunc(set, func(t assign.TopicPartitions) bool { return len(t.Partitions) == 0 })
	for i := range set {
		set[i].Partitions = slices.Compact(slices.Sorted(slices.Values(set[i].Partitions)))
	}
	slices.SortFunc(set, func(a, b assign.TopicPartitions) int { return assign.Compare(a.Topic, b.Topic) })
	return set
}

// distinct are names in order, each once.
func distinct(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}
