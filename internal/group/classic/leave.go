package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Identity is by what a request speaks for a member.
type Identity struct {
	MemberID   string
	InstanceID *string
	Generation int32
}

// Heartbeat keeps a member's session alive.
//
// Errors: REBALANCE_IN_PROGRESS, which tells the member to join again and keeps
// it alive all the same; UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID,
// ILLEGAL_GENERATION, COORDINATOR_NOT_AVAILABLE from a group that was deleted.
func (g *Group) Heartbeat(now time.Time, who Identity) (kafka.Code, Step) {
	if g.state == Dead {
		return kafka.CoordinatorNotAvailable, g.done()
	}
	m, code := g.find(who.MemberID, who.InstanceID)
	switch {
	case code != kafka.None:
		return code, g.done()
	case who.Generation != g.generation:
		return kafka.IllegalGeneration, g.done()
	}
	g.keepAlive(now, m)
	if g.state == PreparingRebalance {
		return kafka.RebalanceInProgress, g.done()
	}
	return kafka.None, g.done()
}

// Leave removes members at their own wish, or static ones at their operator's,
// who names the instance only. There is one code for each, in order:
// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, COORDINATOR_NOT_AVAILABLE from a group
// that was deleted.
func (g *Group) Leave(now time.Time, who []Identity) ([]kafka.Code, Step) {
	codes := make([]kafka.Code, len(who))
	gone := false
	for i, w := range who {
		var left bool
		codes[i], left = g.leave(w)
		gone = gone || left
	}
	if gone {
		g.rebalanceWithout(now)
	}
	return codes, g.done()
}

func (g *Group) leave(w Identity) (code kafka.Code, gone bool) {
	if g.state == Dead {
		return kafka.CoordinatorNotAvailable, false
	}
	if w.MemberID == "" && w.InstanceID != nil {
		id, ok := g.statics[*w.InstanceID]
		if !ok {
			return kafka.UnknownMemberID, false
		}
		w.MemberID = id
	}
	if w.InstanceID == nil && g.isPending(w.MemberID) {
		g.dropPending(w.MemberID)
		return kafka.None, true
	}
	m, code := g.find(w.MemberID, w.InstanceID)
	if code != kafka.None {
		return code, false
	}
	g.answerJoin(m, failed(kafka.UnknownMemberID))
	g.answerSync(m, Synced{Code: kafka.UnknownMemberID})
	g.remove(m, left)
	return kafka.None, true
}

// CheckCommit says whether an offset commit may come from there. A commit that
// names no member and no generation is one from outside the group, which is
// allowed while the group is empty. A member's commit keeps its session alive.
//
// A commit in a transaction may come from outside at any time, since producers
// before KIP-447 do not tell the member, and between joining and the assignment.
//
// Errors: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION,
// REBALANCE_IN_PROGRESS between joining and the assignment,
// COORDINATOR_NOT_AVAILABLE from a group that was deleted.
func (g *Group) CheckCommit(now time.Time, who Identity, txn bool) (kafka.Code, Step) {
	outside := who.Generation < 0 && who.MemberID == "" && who.InstanceID == nil
	switch {
	case g.state == Dead:
		return kafka.CoordinatorNotAvailable, g.done()
	case who.Generation < 0 && g.state == Empty, txn && outside:
		return kafka.None, g.done()
	case outside:
		return kafka.UnknownMemberID, g.done()
	}
	m, code := g.find(who.MemberID, who.InstanceID)
	switch {
	case code != kafka.None:
		return code, g.done()
	case who.Generation != g.generation:
		return kafka.IllegalGeneration, g.done()
	case g.state == CompletingRebalance && !txn:
		return kafka.RebalanceInProgress, g.done()
	}
	if !txn {
		g.keepAlive(now, m)
	}
	return kafka.None, g.done()
}
