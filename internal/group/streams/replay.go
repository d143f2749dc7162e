package streams

import (
	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Replay applies one record. A tombstone of what is not there is none.
func (g *Group) Replay(key any, value []byte) error {
	switch k := key.(type) {
	case *state.StreamsGroupMetadataKey:
		return g.replayHeader(value)
	case *state.StreamsGroupTopologyKey:
		return g.replayTopology(value)
	case *state.StreamsGroupMemberMetadataKey:
		if value == nil {
			g.remove(k.MemberID)
			return nil
		}
		return g.change(k.MemberID, value, parseMember)
	case *state.StreamsGroupCurrentMemberAssignmentKey:
		if value == nil {
			g.dropAssignment(k.MemberID)
			return nil
		}
		return g.change(k.MemberID, value, parseCurrent)
	case *state.StreamsGroupTargetAssignmentMemberKey:
		if value == nil {
			delete(g.targets, k.MemberID)
			return nil
		}
		target, err := parseTarget(value)
		if err == nil {
			g.targets[k.MemberID] = target
		}
		return err
	case *state.StreamsGroupTargetAssignmentMetadataKey:
		return g.replayTargetEpoch(value)
	}
	return nil
}

func (g *Group) replayHeader(value []byte) error {
	if value == nil {
		g.kept = false
		return nil
	}
	h, err := parseHeader(value)
	if err == nil {
		g.header, g.kept = h, true
	}
	return err
}

func (g *Group) replayTopology(value []byte) error {
	if value == nil {
		g.topology = nil
		return nil
	}
	v := state.NewStreamsGroupTopologyValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	g.topology = newTopology(&v)
	return nil
}

func (g *Group) replayTargetEpoch(value []byte) error {
	if value == nil {
		g.assignment, g.assigned = -1, 0
		return nil
	}
	v := state.NewStreamsGroupTargetAssignmentMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	g.assignment, g.assigned = v.AssignmentEpoch, v.AssignmentTimestamp
	return nil
}

// change replaces a member, which a record perhaps makes.
func (g *Group) change(id string, value []byte, parse func(*member, []byte) error) error {
	next := newMember(id)
	old := g.members[id]
	if old != nil {
		*next = *old
	}
	if err := parse(next, value); err != nil {
		return err
	}
	g.replace(old, next)
	return nil
}

// dropAssignment is the first half of the end of a member.
func (g *Group) dropAssignment(id string) {
	if old := g.members[id]; old != nil {
		next := *old
		next.epoch, next.previous = leaves, leaves
		next.assigned, next.revoking, next.since = roles{}, roles{}, nil
		g.replace(old, &next)
	}
}

func (g *Group) replace(old, next *member) {
	if old != nil {
		g.holders.drop(old)
		g.dropStatic(old)
	}
	g.members[next.id] = next
	g.holders.take(next)
	if next.instance != nil {
		g.statics[*next.instance] = next.id
	}
}

func (g *Group) dropStatic(m *member) {
	if m.instance != nil && g.statics[*m.instance] == m.id {
		delete(g.statics, *m.instance)
	}
}

func (g *Group) remove(id string) {
	m := g.members[id]
	if m == nil {
		return
	}
	g.holders.drop(m)
	g.dropStatic(m)
	delete(g.members, id)
	delete(g.offsets, id)
	delete(g.sessions, id)
	delete(g.deadlines, id)
	if len(g.members) == 0 {
		g.shutdown = ""
	}
}

// holders knows who has which task, counting what members were told to give up.
type holders struct {
	active          map[tasks.Task][]string // members; one, unless a newer version wrote it
	standby, warmup map[tasks.Task][]string
}

func newHolders() holders {
	return holders{map[tasks.Task][]string{}, map[tasks.Task][]string{}, map[tasks.Task][]string{}}
}

func (h *holders) take(m *member) {
	for _, r := range []*roles{&m.assigned, &m.revoking} {
		add(h.active, r.active, m.id)
		add(h.standby, r.standby, m.id)
		add(h.warmup, r.warmup, m.id)
	}
}

func (h *holders) drop(m *member) {
	for _, r := range []*roles{&m.assigned, &m.revoking} {
		cut(h.active, r.active, m.id)
		cut(h.standby, r.standby, m.id)
		cut(h.warmup, r.warmup, m.id)
	}
}

func add(to map[tasks.Task][]string, s set, id string) {
	for _, t := range s {
		to[t] = append(to[t], id)
	}
}

// cut takes a member off the holders of tasks, once for each.
func cut(from map[tasks.Task][]string, s set, id string) {
	for _, t := range s {
		var rest []string
		found := false
		for _, other := range from[t] {
			if other == id && !found {
				found = true
				continue
			}
			rest = append(rest, other)
		}
		if rest == nil {
			delete(from, t)
		} else {
			from[t] = rest
		}
	}
}
