package consumer

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// retarget computes a new assignment if the group's epoch asks for one, not too
// soon after the last one. It returns the newest assignment's epoch and what it
// gives to the member that is changing.
func (c *change) retarget(was, is *member) (int32, assign.Set) {
	g := c.g
	if g.assigned >= c.epoch || c.soon() {
		return g.assigned, g.targetOf(is)
	}
	members := make(map[string]*member, len(g.members)+1)
	maps.Copy(members, g.members)
	had := g.target[is.id]
	if is.instance != nil {
		if old, ok := g.statics[*is.instance]; ok {
			had = g.target[old]
			delete(members, old)
		}
	}
	members[is.id] = is

	ids := slices.Sorted(maps.Keys(members))
	work := assign.Group{Members: make([]assign.Member, len(ids)), Partitions: func(id kafka.UUID) int32 {
		t, _ := c.topics.ByID(id)
		return t.Partitions
	}}
	var last *member
	for i, id := range ids {
		m := members[id]
		work.Members[i] = assign.Member{ID: id, Had: g.target[id]}
		if id == is.id {
			work.Members[i].Had = had
		}
		if m.instance != nil {
			work.Members[i].Instance = *m.instance
		}
		if last != nil && slices.Equal(last.topics, m.topics) && last.pattern() == m.pattern() {
			work.Members[i].Topics = work.Members[i-1].Topics
		} else {
			work.Members[i].Topics = g.topicIDs(m, c.topics)
		}
		last = m
	}
	assignor, _ := assign.Named(g.preferred(was, is))
	sets := assignor(&work)
	var mine assign.Set
	for i, id := range ids {
		before, known := work.Members[i].Had, id == is.id && c.replaced
		if _, ok := g.target[id]; ok {
			known = true
		}
		if !known || !sets[i].Equal(before) {
			c.put(g.targetRecord(id, sets[i]))
		}
		if id == is.id {
			mine = sets[i]
		}
	}
	c.put(g.assignmentRecord(c.epoch, c.now.UnixMilli()))
	return c.epoch, mine
}

// soon says that the last assignment is too young for another.
func (c *change) soon() bool {
	if c.g.assignedAt == 0 {
		return false
	}
	pause := c.g.cfg.settings(c.g.id).Assignment
	return pause > 0 && c.now.Before(time.UnixMilli(c.g.assignedAt).Add(pause))
}

// topicIDs are the topics that a member subscribes to and that exist, in the
// order of their ids.
func (b *book) topicIDs(m *member, topics kind.Topics) []kafka.UUID {
	names := m.topics
	if matched := b.matched(m.pattern()); len(matched) > 0 {
		names = sorted(slices.Concat(names, matched))
	}
	ids := make([]kafka.UUID, 0, len(names))
	for _, name := range names {
		if t, ok := topics.Named(name); ok {
			ids = append(ids, t.ID)
		}
	}
	slices.SortFunc(ids, assign.Compare)
	return ids
}
