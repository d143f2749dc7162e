package consumer

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// leave takes a member out of the group, or lets a static member go for a while:
// then it goes on holding its partitions until its session ends.
func (g *Group) leave(now time.Time, req *msg.ConsumerGroupHeartbeatRequest) (
	*msg.ConsumerGroupHeartbeatResponse, kind.Step, error,
) {
	resp := msg.NewConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &req.MemberID, req.MemberEpoch
	if req.InstanceID == nil {
		m := g.members[req.MemberID]
		if m == nil {
			return nil, kind.Step{}, g.noMember(req.MemberID)
		}
		return &resp, g.out(now, m, "it left"), nil
	}
	m, err := g.ownStatic(req.MemberID, *req.InstanceID)
	if err != nil {
		return nil, kind.Step{}, err
	}
	if req.MemberEpoch == leaving {
		return &resp, g.out(now, m, "it left"), nil
	}
	n := *m
	n.epoch, n.assigned, n.revoking = leavingAway, m.assigned.zeroed(), nil
	return &resp, g.step([]coordinator.Record{g.placeRecord(&n)}), nil
}

func (g *Group) out(now time.Time, m *member, why string) kind.Step {
	step := g.step(g.fence(now, []*member{m}))
	step.Gone = []kind.Gone{{Member: m.id, ClientID: m.clientID, Why: why}}
	return step
}

// fence removes members and begins a new epoch.
func (g *Group) fence(now time.Time, out []*member) []coordinator.Record {
	if records, ok := g.downgrade(now, out); ok {
		return records
	}
	var records []coordinator.Record
	left := maps.Clone(g.topics)
	drop := func(topics []string, less uses) {
		for _, t := range topics {
			left[t] = uses{left[t].names - less.names, left[t].regexes - less.regexes}
		}
	}
	patterns := map[string]int{}
	for _, m := range out {
		records = append(records, g.memberTombstones(m.id)...)
		drop(m.topics, uses{names: 1})
		if p := m.pattern(); p != "" {
			patterns[p]++
		}
	}
	for _, p := range slices.Sorted(maps.Keys(patterns)) {
		if g.patterns[p] == patterns[p] {
			records = append(records, g.regexTombstone(p))
			drop(g.matched(p), uses{regexes: 1})
		}
	}
	maps.DeleteFunc(left, func(_ string, u uses) bool { return u.names <= 0 && u.regexes <= 0 })
	records = append(records, g.epochRecord(g.epoch+1, kind.MetadataHash(slices.Sorted(maps.Keys(left)), g.cfg.Topics())))
	if len(out) == len(g.members) {
		records = append(records, g.assignmentRecord(g.epoch+1, 0))
	}
	return records
}
