package consumer

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Converted is a group with members on its way from one protocol to the other.
type Converted struct {
	Group      string
	Generation int32  // the classic one, or the group epoch
	Protocol   string // the classic group's; on the way to classic it is to be chosen
	Members    []ConvertedMember

	// Rebalance says that the group is to begin a new generation at once, since the
	// assignment is not what it ought to be. On the way to classic only.
	Rebalance bool
}

// ConvertedMember is one member of it.
type ConvertedMember struct {
	ID         string
	Instance   *string
	ClientID   string
	ClientHost string
	Rebalance  int32 // ms
	Classic    Classic
	Assignment []byte // a ConsumerProtocolAssignment with its version; empty: nothing
}

// Upgrade makes the records of a consumer group in which the members of a classic
// one go on with what they read, at the epoch of their generation. The tombstone
// of the classic group is to stand before them.
//
// GROUP_ID_NOT_FOUND says that what the members said cannot be read, or that
// their assignor keeps data of its own in assignments, which would be lost.
func Upgrade(cfg *Config, c Converted) ([]coordinator.Record, error) {
	topics := cfg.Topics()
	b := &book{id: c.Group, cfg: cfg}
	var who, targets, places []coordinator.Record
	given := map[kafka.UUID]int32{} // partitions by topic
	for i := range c.Members {
		m, err := c.Members[i].upgrade(&c, topics)
		if err != nil {
			return nil, err
		}
		who = append(who, b.memberRecord(m))
		targets = append(targets, b.targetRecord(m.id, m.assigned.set()))
		places = append(places, b.placeRecord(m))
		for _, t := range m.assigned {
			given[t.topic] += int32(len(t.partitions))
		}
		for _, t := range m.topics {
			b.use(t, uses{names: 1})
		}
	}
	names := slices.Sorted(maps.Keys(b.topics))
	hash := kind.MetadataHash(names, topics)
	for _, name := range names {
		if t, ok := topics.Named(name); ok && given[t.ID] < t.Partitions {
			hash = 0 // a rebalance was under way that the log does not know of: it is to be assigned anew
		}
	}
	return slices.Concat(who, []coordinator.Record{b.epochRecord(c.Generation, hash)}, targets,
		[]coordinator.Record{b.assignmentRecord(c.Generation, 0)}, places), nil
}

func (in *ConvertedMember) upgrade(c *Converted, topics kind.Topics) (*member, error) {
	malformed := kind.Refuse(kafka.GroupIDNotFound,
		"Cannot upgrade classic group %s to consumer group because the embedded consumer protocol is malformed.", c.Group)
	m := newMember(in.ID)
	m.epoch, m.previous, m.instance, m.rebalance = c.Generation, c.Generation, in.Instance, in.Rebalance
	m.clientID, m.clientHost, m.classic = in.ClientID, in.ClientHost, &in.Classic
	at := slices.IndexFunc(in.Classic.Protocols, func(p Protocol) bool { return p.Name == c.Protocol })
	if at < 0 {
		return nil, malformed
	}
	sub := state.NewConsumerProtocolSubscription()
	if _, err := state.ParseVersioned(in.Classic.Protocols[at].Metadata, &sub); err != nil {
		return nil, malformed
	}
	m.topics = sorted(sub.Topics)
	if sub.RackID != nil && *sub.RackID != "" {
		m.rack = sub.RackID
	}
	if len(in.Assignment) == 0 {
		return m, nil
	}
	a := state.NewConsumerProtocolAssignment()
	if _, err := state.ParseVersioned(in.Assignment, &a); err != nil {
		return nil, malformed
	}
	if len(a.UserData) > 0 {
		return nil, kind.Refuse(kafka.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because an unsupported custom "+
			"assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.", c.Group)
	}
	for _, p := range a.AssignedPartitions {
		if t, ok := topics.Named(p.Topic); ok && len(p.Partitions) > 0 {
			h := heldTopic{topic: t.ID, partitions: p.Partitions, epochs: slices.Repeat([]int32{c.Generation}, len(p.Partitions))}
			h.sort()
			m.assigned = append(m.assigned, h)
		}
	}
	slices.SortFunc(m.assigned, func(a, b heldTopic) int { return assign.Compare(a.topic, b.topic) })
	return m, nil
}

// marshalAssignment is what a member is assigned, as classic members read it.
func marshalAssignment(s assign.Set, subscription []byte, topics kind.Topics) []byte {
	sub, a := state.NewConsumerProtocolSubscription(), state.NewConsumerProtocolAssignment()
	version, err := state.ParseVersioned(subscription, &sub)
	if _, last := a.Versions(); err != nil || version > last {
		version = last
	}
	for _, tp := range s {
		if t, ok := topics.ByID(tp.Topic); ok {
			a.AssignedPartitions = append(a.AssignedPartitions,
				state.ConsumerProtocolAssignmentAssignedPartition{Topic: t.Name, Partitions: tp.Partitions})
		}
	}
	return state.MarshalVersioned(&a, version)
}

// classicBut says whether all members but these are classic.
func (b *book) classicBut(out ...*member) bool {
	classics := b.classics
	for _, m := range out {
		if m.classic != nil {
			classics--
		}
	}
	return classics == len(b.members)-len(out)
}

// downgrade makes the group classic if members remain when some are out, and all
// of them are classic.
func (g *Group) downgrade(now time.Time, out []*member) ([]coordinator.Record, bool) {
	if g.cfg.Downgrade == nil || len(out) == len(g.members) || !g.classicBut(out...) {
		return nil, false
	}
	conv := Converted{Group: g.id, Generation: g.epoch, Rebalance: true}
	parting := g.parting(out...)
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		if m := g.members[id]; !slices.Contains(out, m) {
			conv.Members = append(conv.Members, g.converted(m, g.reads(m, parting)))
		}
	}
	records, ok := g.cfg.Downgrade(now, conv)
	if !ok {
		return nil, false
	}
	return append(g.Tombstones(), records...), true
}

// parting says that a member, but for these, still reads what is not to be its any
// more. Until it has heard so another one must not be told to read that. (Kafka
// goes by the targets at once, and for a while two read the same.)
func (g *Group) parting(out ...*member) bool {
	for _, m := range g.members {
		if slices.Contains(out, m) {
			continue
		}
		for _, t := range union(m.assigned, m.revoking) {
			if _, gone := split(t, g.targetOf(m).Of(t.topic)); len(gone.partitions) > 0 {
				return true
			}
		}
	}
	return false
}

// waiting says that a member, but for this one, is of this generation and was not
// told all that it is to read, since another one held it: a consumer group tells
// it as soon as that is free, a classic group only whoever joins. (In Kafka it
// waits until somebody comes or goes.)
func waiting(g *Group, generation int32, but *member) bool {
	for _, m := range g.members {
		if m == but || m.epoch != generation {
			continue
		}
		if told := m.assigned.set(); told.Len() < g.target[m.id].Len() {
			return true
		}
	}
	return false
}

// reads is what the classic group is told that a member has: its target, or while
// some are parting what it holds.
func (g *Group) reads(m *member, parting bool) assign.Set {
	if parting {
		return union(m.assigned, m.revoking).set()
	}
	return g.target[m.id]
}

func (g *Group) converted(m *member, has assign.Set) ConvertedMember {
	return ConvertedMember{
		ID: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost, Rebalance: m.rebalance,
		Classic: *m.classic, Assignment: marshalAssignment(has, m.classic.Protocols[0].Metadata, g.cfg.Topics()),
	}
}

// joinLast lets a classic member take the place of the last one that is not, by
// which the group becomes classic; false if it does not. Nothing is assigned
// anew: the classic group does that if it is due, or somebody is parting or
// waiting.
func (c *change) joinLast(old, was, is *member) (*member, bool) {
	g := c.g
	if old == nil || old.classic != nil || g.cfg.Downgrade == nil || !g.classicBut(old) {
		return nil, false
	}
	conv := Converted{Group: g.id, Generation: g.epoch}
	if !slices.Equal(was.topics, is.topics) || !same(was.regex, is.regex) ||
		g.hash != kind.MetadataHash(g.topicsWith(was, is), c.topics) {
		conv.Generation++
	}
	n := *is
	parting := g.parting(old)
	if parting {
		conv.Generation = g.epoch + 1
	}
	conv.Rebalance = g.assigned < conv.Generation || waiting(g, conv.Generation, old)
	if !conv.Rebalance {
		n.epoch = g.assigned
	}
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		if m := g.members[id]; m != old {
			conv.Members = append(conv.Members, g.converted(m, g.reads(m, parting)))
		}
	}
	had := g.target[old.id]
	if parting {
		had = old.assigned.set()
	}
	conv.Members = append(conv.Members, g.converted(is, had))
	records, ok := g.cfg.Downgrade(c.now, conv)
	if ok {
		c.records = append(g.Tombstones(), records...)
	}
	return &n, ok
}
