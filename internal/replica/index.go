package replica

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// index finds slots without a lock. A change costs what the changed topics have
// partitions, however many others there are. The table's mutex is held by who
// changes it.
type index struct {
	byName sync.Map // string to *members
	byID   sync.Map // kafka.UUID to *members

	sorted atomic.Pointer[[]*slot] // all of them; nil: to be made anew
}

// members are the slots of one topic by partition number.
type members struct {
	slots []*slot // replaced, never changed, once it can be found
	count int     // that are not nil
}

// find gives a topic's slots, nil if it has none.
func (ix *index) find(topic string) []*slot {
	if m, ok := ix.byName.Load(topic); ok {
		return m.(*members).slots
	}
	return nil
}

// findID is find by topic id.
func (ix *index) findID(id kafka.UUID) []*slot {
	if m, ok := ix.byID.Load(id); ok {
		return m.(*members).slots
	}
	return nil
}

// all gives every slot, sorted by topic and partition. The slice is not to be
// changed.
func (ix *index) all(slots map[kafka.TopicPartition]*slot) []*slot {
	list := make([]*slot, 0, len(slots))
	for _, s := range slots {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *slot) int { return a.tp.Compare(b.tp) })
	ix.sorted.Store(&list)
	return list
}

// changes collect what one Apply does to the index: nil stands for a slot that
// goes.
type changes struct {
	byName map[string]map[int32]*slot
	byID   map[kafka.UUID]map[int32]*slot
}

func newChanges() *changes {
	return &changes{byName: map[string]map[int32]*slot{}, byID: map[kafka.UUID]map[int32]*slot{}}
}

func put[K comparable](in map[K]map[int32]*slot, key K, p int32, s *slot) {
	m := in[key]
	if m == nil {
		m = map[int32]*slot{}
		in[key] = m
	}
	m[p] = s
}

func (c *changes) remove(s *slot) {
	put(c.byName, s.tp.Topic, s.tp.Partition, nil)
	put(c.byID, s.id, s.tp.Partition, nil)
}

func (c *changes) add(s *slot) {
	put(c.byName, s.tp.Topic, s.tp.Partition, s)
	put(c.byID, s.id, s.tp.Partition, s)
}

// publish lets readers see the changes.
func (ix *index) publish(c *changes) {
	if len(c.byName) == 0 {
		return
	}
	for topic, m := range c.byName {
		change(&ix.byName, topic, m)
	}
	for id, m := range c.byID {
		change(&ix.byID, id, m)
	}
	ix.sorted.Store(nil)
}

// change replaces the members of one topic.
func change(in *sync.Map, key any, with map[int32]*slot) {
	next := &members{}
	if old, ok := in.Load(key); ok {
		next.slots, next.count = old.(*members).slots, old.(*members).count
	}
	top := int32(len(next.slots)) - 1
	for p := range with {
		top = max(top, p)
	}
	fresh := make([]*slot, top+1)
	copy(fresh, next.slots)
	for p, s := range with {
		if fresh[p] != nil {
			next.count--
		}
		if s != nil {
			next.count++
		}
		fresh[p] = s
	}
	next.slots = fresh
	if next.count == 0 {
		in.Delete(key)
		return
	}
	in.Store(key, next)
}
