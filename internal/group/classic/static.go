package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// joinStatic is a join of a static member that has no member id: it is new, or
// it was restarted.
func (g *Group) joinStatic(in *Join) {
	id := *in.InstanceID + "-" + in.UUID
	if old, ok := g.statics[*in.InstanceID]; ok {
		g.replace(g.byID[old], in, id)
		return
	}
	g.admit(in, id)
}

// replaced is what it takes to undo the replacement of a static member.
type replaced struct {
	member    *member
	id, oldID string
	protocols []Protocol
	session   time.Duration
	rebalance time.Duration
	leader    string // before
	canSkip   bool
}

// replace gives a static member's place to its new incarnation. What the old
// one still waits for is answered FENCED_INSTANCE_ID.
//
// In a stable group there is no rebalance as long as the group's protocol stays
// the same: the new incarnation gets the old one's assignment once the group is
// stored under its new id.
func (g *Group) replace(m *member, in *Join, id string) {
	g.answerJoin(m, failedAs(m.id, kafka.FencedInstanceID))
	g.answerSync(m, Synced{Code: kafka.FencedInstanceID})
	r := &replaced{
		member: m, id: id, oldID: m.id, protocols: m.protocols, session: m.session, rebalance: m.rebalance,
		leader: g.leader, canSkip: in.CanSkip,
	}
	g.rename(m, id)
	g.renew(m, in)
	g.keepAlive(in.Now, m)
	switch {
	case g.state == Stable && g.protocol != nil && g.choose() == *g.protocol:
		g.step.Store = &Store{Snapshot: g.Snapshot(), then: pending{replaced: r, generation: g.generation}}
	default:
		// While the leader assigns, it does so for the old id: start again.
		g.rebalance(in.Now)
	}
}

func failedAs(id string, code kafka.Code) Joined {
	j := failed(code)
	j.MemberID = id
	return j
}

// replacementStored answers the new incarnation, or takes the replacement back.
func (g *Group) replacementStored(now time.Time, r *replaced, code kafka.Code) {
	m := r.member
	if g.byID[r.id] != m || m.join == 0 {
		return // replaced again, or gone
	}
	if code != kafka.None {
		g.answerJoin(m, failed(code))
		g.setProtocols(m, r.protocols)
		m.session, m.rebalance = r.session, r.rebalance
		g.rename(m, r.oldID)
		g.keepAlive(now, m)
		return
	}
	if g.state != Stable {
		return // a rebalance began meanwhile, for which it is parked as it should
	}
	j := g.joined(m)
	switch {
	case m.id != g.leader:
	case r.canSkip:
		j.Skip = true
	default:
		// Told that it leads, it would assign anew; an older client is made a
		// follower by naming its old id.
		j.Leader, j.Members = r.leader, nil
	}
	g.answerJoin(m, j)
	g.keepAlive(now, m)
}
