package streams

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// reconcile brings a member as near to the target of an epoch as may be now. owned
// is what it says that it has, nil if it does not say.
//
// Errors: FENCED_MEMBER_EPOCH, when nobody knows what a newer version told it.
func (g *Group) reconcile(m *member, epoch int32, target, owned *roles) (*member, error) {
	s := &step{g: g, m: m, epoch: epoch, target: target, owned: owned}
	switch m.state {
	case stable:
		if m.epoch == epoch {
			return m, nil
		}
		return s.next(m.epoch), nil
	case unrevoked:
		if !s.released(&m.revoking) {
			return m, nil
		}
		return s.next(m.epoch + 1), nil
	case unreleased:
		return s.next(m.epoch), nil
	}
	if owned == nil || !owned.empty() {
		return nil, kind.Refuse(kafka.FencedMemberEpoch, "What the member has is not known here. It must give up all its tasks and join anew.")
	}
	return s.next(epoch), nil
}

// step is a member on its way to a target.
type step struct {
	g             *Group
	m             *member
	epoch         int32 // of the target
	target, owned *roles
}

// change is what a step means for one role.
type change struct {
	keep, revoke, add set
	waits             bool // others have what is missing
}

func (s *step) compare(has, target set, free func(tasks.Task) bool) change {
	c := change{keep: has.and(target), revoke: has.minus(target)}
	wanted := target.minus(has)
	c.add = wanted.filter(free)
	c.waits = len(c.add) < len(wanted)
	return c
}

// next takes the step. epoch is the one in which the member gives things up.
//
// A task that changes its role within the member does so without a gap: an active
// one becomes a standby and a warm-up the other at once, while one that is to be
// active stays what it is until nobody else is active.
func (s *step) next(epoch int32) *member {
	has := &s.m.assigned
	active := s.compare(has.active, s.target.active, s.freeActive)
	standby := s.compare(has.standby, s.target.standby, s.freeStandby)
	warmup := s.compare(has.warmup, s.target.warmup, s.freeWarmup)

	standby.grant(has.active.and(standby.add))
	turned := has.standby.and(warmup.add)
	warmup.grant(turned)
	standby.revoke = standby.revoke.minus(turned)
	turned = has.warmup.and(standby.add)
	standby.grant(turned)
	warmup.revoke = warmup.revoke.minus(turned)

	standby.revoke = standby.revoke.minus(s.target.active)
	warmup.revoke = warmup.revoke.minus(s.target.active)
	revoking := roles{active.revoke, standby.revoke, warmup.revoke}
	blocked := !revoking.empty() && !s.released(&revoking)
	promoted := func(t tasks.Task) bool { return s.target.active.has(t) && (blocked || !active.add.has(t)) }
	standby.keep = standby.keep.plus(has.standby.filter(promoted))
	warmup.keep = warmup.keep.plus(has.warmup.filter(promoted))

	if blocked {
		return s.move(epoch, unrevoked, roles{active.keep, standby.keep, warmup.keep}, revoking)
	}
	state := stable
	if active.waits || standby.waits || warmup.waits {
		state = unreleased
	}
	now := roles{active.keep.plus(active.add), standby.keep.plus(standby.add), warmup.keep.plus(warmup.add)}
	return s.move(s.epoch, state, now, roles{})
}

// grant gives tasks that were to be added at once.
func (c *change) grant(s set) {
	c.keep, c.add = c.keep.plus(s), c.add.minus(s)
}

// move makes the member that results.
func (s *step) move(epoch int32, state memberState, assigned, revoking roles) *member {
	next := *s.m
	next.previous, next.epoch, next.state = s.m.epoch, epoch, state
	next.assigned, next.revoking = assigned, revoking
	next.since = map[tasks.Task]int32{}
	for _, t := range slices.Concat(assigned.active, revoking.active) {
		since, ok := s.m.since[t]
		if !ok || !s.m.assigned.active.has(t) {
			since = s.epoch
		}
		next.since[t] = since
	}
	return &next
}

// released says that the member has given up all that it was told to. If it does
// not say what it has, it has not.
func (s *step) released(revoking *roles) bool {
	return s.owned != nil && !s.owned.meets(revoking)
}

// here says whether a member of this one's process, itself included, is among the
// holders of a task.
func (s *step) here(holders []string) bool {
	return slices.ContainsFunc(holders, func(id string) bool {
		return id == s.m.id || s.g.members[id].process == s.m.process
	})
}

// The three below say whether a task that the member does not have in that role is
// free: that no other member is active, and that no other one of the same process
// has it at all.

func (s *step) freeActive(t tasks.Task) bool {
	return len(s.g.holders.active[t]) == 0 &&
		(!s.here(s.g.holders.standby[t]) || s.m.assigned.standby.has(t)) &&
		(!s.here(s.g.holders.warmup[t]) || s.m.assigned.warmup.has(t))
}

func (s *step) freeStandby(t tasks.Task) bool {
	return (!s.here(s.g.holders.active[t]) || s.m.assigned.active.has(t)) &&
		!s.here(s.g.holders.standby[t]) &&
		(!s.here(s.g.holders.warmup[t]) || s.m.assigned.warmup.has(t))
}

func (s *step) freeWarmup(t tasks.Task) bool {
	return !s.here(s.g.holders.active[t]) &&
		(!s.here(s.g.holders.standby[t]) || s.m.assigned.standby.has(t)) &&
		!s.here(s.g.holders.warmup[t])
}
