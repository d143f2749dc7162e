package streams

import (
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// leave lets a member go: a static one perhaps for a while only, in which nobody
// gets its tasks.
func (g *Group) leave(now time.Time, req *msg.StreamsGroupHeartbeatRequest) (Beat, kind.Step, error) {
	if req.ShutdownApplication && g.shutdown == "" {
		g.shutdown = req.MemberID
	}
	m := g.members[req.MemberID]
	if req.InstanceID != nil {
		m = g.members[g.statics[*req.InstanceID]]
	}
	switch {
	case m == nil && req.InstanceID != nil:
		return Beat{}, kind.Step{}, kind.Refuse(kafka.UnknownMemberID, "Nobody has the instance id %s.", *req.InstanceID)
	case m == nil:
		return Beat{}, kind.Step{}, unknownMember(req.MemberID, g.id)
	case m.id != req.MemberID:
		return Beat{}, kind.Step{}, fencedInstance(m, req)
	}
	resp := msg.NewStreamsGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = m.id, req.MemberEpoch
	resp.Status = []msg.StreamsGroupHeartbeatResponseStatus{}
	if req.MemberEpoch == leavesAWhile && req.InstanceID != nil {
		next := *m
		next.epoch, next.revoking, next.since = leavesAWhile, roles{}, nil // epoch 0 for all it has
		delete(g.deadlines, m.id)
		return Beat{Response: &resp}, kind.Step{Records: []coordinator.Record{g.currentRecord(&next)}, Wake: g.wake()}, nil
	}
	step := g.expel([]*member{m}, "it left")
	step.Wake = g.wake()
	return Beat{Response: &resp}, step, nil
}

// expel removes members, and moves the group to a new epoch.
func (g *Group) expel(members []*member, why string) kind.Step {
	var step kind.Step
	h := g.header
	h.epoch++
	for _, m := range members {
		step.Records = append(step.Records, g.memberTombstones(m.id)...)
		step.Gone = append(step.Gone, kind.Gone{Member: m.id, ClientID: m.clientID, Why: why})
		delete(g.sessions, m.id)
		delete(g.deadlines, m.id)
	}
	step.Records = append(step.Records, g.headerRecord(h))
	if len(members) == len(g.members) {
		step.Records = append(step.Records, g.targetEpochRecord(h.epoch, 0))
	}
	return step
}

// Loaded begins all sessions anew, and the time that members have to give up what
// they were told to.
func (g *Group) Loaded(now time.Time) kind.Step {
	session := g.cfg().Session
	for id, m := range g.members {
		g.sessions[id] = now.Add(session)
		if m.state == unrevoked {
			g.deadlines[id] = deadline{now.Add(m.rebalanceTime()), m.epoch}
		}
	}
	return kind.Step{Wake: g.wake()}
}

// Tick ends sessions, removes who did not give up its tasks in time, and makes the
// first assignment when the group has waited for it.
func (g *Group) Tick(now time.Time) kind.Step {
	var late, slow []*member
	for _, id := range g.order() {
		m := g.members[id]
		d, told := g.deadlines[id]
		until, alive := g.sessions[id]
		switch {
		case alive && !until.After(now):
			late = append(late, m)
		case told && !d.at.After(now) && d.epoch == m.epoch:
			slow = append(slow, m)
		case told && !d.at.After(now):
			delete(g.deadlines, id)
		}
	}
	gathered := !g.gather.IsZero() && !g.gather.After(now)
	if gathered {
		g.gather = time.Time{}
	}
	var step kind.Step
	switch {
	case late != nil || slow != nil:
		step = g.expel(append(late, slow...), "its session timed out, or it did not give up its tasks in time")
		for i := range step.Gone {
			step.Gone[i].Expired = true
		}
	case gathered && len(g.members) > 0 && g.ready != nil:
		cfg := g.cfg()
		if g.wait(now, g.epoch, cfg.Between) == "" {
			a := &aiming{members: g.members, targets: g.targets, topology: g.topology, ready: g.ready, standbys: cfg.Standbys}
			step.Records = g.aim(now, g.epoch, a)
		}
	}
	step.Wake = g.wake()
	return step
}

// wake is when something ends next; zero if nothing does.
func (g *Group) wake() time.Time {
	at := g.gather
	first := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, until := range g.sessions {
		first(until)
	}
	for _, d := range g.deadlines {
		first(d.at)
	}
	return at
}

func unknownMember(id, group string) error {
	return kind.Refuse(kafka.UnknownMemberID, "The group %s has no member %s.", group, id)
}

func fencedInstance(held *member, req *msg.StreamsGroupHeartbeatRequest) error {
	return kind.Refuse(kafka.FencedInstanceID, "The instance id %s is that of the member %s, not of %s.", *req.InstanceID, held.id, req.MemberID)
}
