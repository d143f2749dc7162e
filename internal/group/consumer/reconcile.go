package consumer

import (
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// goal is what a member is brought closer to.
type goal struct {
	epoch   int32 // the assignment's
	target  assign.Set
	changed bool // the member subscribes to something else than before
	owned   []msg.ConsumerGroupHeartbeatRequestTopicPartition
}

// reconcile takes a member one step closer to its target, and makes the record of
// that. See the package comment for the steps.
func (c *change) reconcile(m *member, to *goal) (*member, error) {
	if !to.changed && m.reconciled(to.epoch) {
		return m, nil
	}
	n := m
	switch m.state {
	case stable:
		switch {
		case m.epoch != to.epoch:
			n = c.next(m, m.epoch, to)
		case to.changed:
			n = c.drop(m, to)
		}
	case unrevoked:
		switch {
		case !m.revoking.has(to.owned):
			n = c.next(m, m.epoch, to)
		case to.changed:
			n = c.drop(m, to)
		}
	case unreleased:
		n = c.next(m, m.epoch, to)
	default: // a newer version stored a state that is not known here
		if to.owned == nil || len(to.owned) > 0 {
			return nil, kind.Refuse(kafka.FencedMemberEpoch, "The consumer group member is in a unknown state. "+
				"The member must abandon all its partitions and rejoin.")
		}
		n = c.next(m, to.epoch, to)
	}
	if m.samePlace(n) {
		return m, nil
	}
	c.put(c.g.placeRecord(n))
	if n.classic == nil {
		if n.state == unrevoked {
			c.g.revoke(c.now, n)
		} else if k := c.g.clocks[n.id]; k != nil {
			k.rebalance = time.Time{}
		}
	}
	return n, nil
}

// next compares what a member holds with its target.
//
//	has to give up something            UnrevokedPartitions, at the epoch it is at
//	lacks what others hold              UnreleasedPartitions, at the target's epoch
//	has it all                          Stable, at the target's epoch
//
// It gets what nobody holds at once, unless it has to give up something first.
func (c *change) next(m *member, epoch int32, to *goal) *member {
	subscribes := c.g.subscribes(m, c.topics)
	var keep, revoke, full held
	waits := false
	for _, topic := range topicsOf(m.assigned, to.target) {
		has, target := m.assigned.of(topic), to.target.Of(topic)
		if !subscribes(topic) {
			target = nil
		}
		kept, gone := split(has, target)
		if len(kept.partitions) > 0 {
			keep = append(keep, kept)
		}
		if len(gone.partitions) > 0 {
			revoke = append(revoke, gone)
		}
		all := heldTopic{topic: topic}
		revoking := m.revoking.of(topic).partitions
		for _, p := range target {
			if i, ok := slices.BinarySearch(kept.partitions, p); ok {
				all.add(p, kept.epochs[i])
				continue
			}
			if _, own := slices.BinarySearch(revoking, p); c.g.held(topic, p) && !own {
				waits = true
				continue
			}
			all.add(p, to.epoch)
		}
		if len(all.partitions) > 0 {
			full = append(full, all)
		}
	}
	switch {
	case len(revoke) > 0 && revoke.has(to.owned):
		return m.advance(epoch, unrevoked, keep, revoke)
	case waits:
		return m.advance(to.epoch, unreleased, full, nil)
	default:
		return m.advance(to.epoch, stable, full, nil)
	}
}

// drop takes from a member that is at its epoch what it does not subscribe to any
// more, without waiting for a new assignment.
func (c *change) drop(m *member, to *goal) *member {
	subscribes := c.g.subscribes(m, c.topics)
	var keep, gone held
	for _, t := range m.assigned {
		if subscribes(t.topic) {
			keep = append(keep, t)
		} else {
			gone = append(gone, t)
		}
	}
	if len(gone) == 0 {
		return m
	}
	revoke := union(m.revoking, gone)
	if revoke.has(to.owned) {
		return m.advance(m.epoch, unrevoked, keep, revoke)
	}
	return m.advance(m.epoch, m.state, keep, m.revoking)
}

// topicsOf are the topics of both, in order.
func topicsOf(h held, s assign.Set) []kafka.UUID {
	ids := make([]kafka.UUID, 0, len(h)+len(s))
	for i := range h {
		ids = append(ids, h[i].topic)
	}
	for i := range s {
		ids = append(ids, s[i].Topic)
	}
	slices.SortFunc(ids, assign.Compare)
	return slices.Compact(ids)
}

// split parts what is held of a topic into what the target has too and the rest.
func split(has heldTopic, target []int32) (kept, gone heldTopic) {
	kept.topic, gone.topic = has.topic, has.topic
	for i, p := range has.partitions {
		if _, ok := slices.BinarySearch(target, p); ok {
			kept.add(p, has.epochs[i])
		} else {
			gone.add(p, has.epochs[i])
		}
	}
	return kept, gone
}
