package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// rebalance begins a new round, or lets the one that gathers end early.
func (g *Group) rebalance(now time.Time) {
	switch g.state {
	case Stable, CompletingRebalance, Empty:
		g.prepare(now)
	default:
		g.completeIfAllJoined(now)
	}
}

// prepare begins to gather the members. The first ones of an empty group are
// given some time for others to come.
func (g *Group) prepare(now time.Time) {
	if g.state == CompletingRebalance {
		g.resetAssignments(kafka.RebalanceInProgress)
	}
	g.clearSyncs()
	g.syncAt = time.Time{}
	first := g.state == Empty
	g.enter(now, PreparingRebalance)
	if first {
		delay := g.limits.InitialDelay
		g.newcomers = false
		g.initial, g.remaining = true, max(g.rebalanceTime()-delay, 0)
		g.set(&g.joinAt, now.Add(delay))
		if delay <= 0 {
			g.gathered(now)
		}
		return
	}
	g.initial = false
	if g.allJoined() {
		g.complete(now)
		return
	}
	g.set(&g.joinAt, now.Add(g.rebalanceTime()))
}

// completeIfAllJoined ends the gathering early. The initial delay is always
// waited out.
func (g *Group) completeIfAllJoined(now time.Time) {
	if g.state == PreparingRebalance && g.before != Empty && g.allJoined() {
		g.complete(now)
	}
}

// gathered is the end of the time to gather. After the initial delay the group
// waits once more if somebody came during it, until the rebalance time is up.
func (g *Group) gathered(now time.Time) {
	g.joinAt = time.Time{}
	if g.state != PreparingRebalance {
		return
	}
	if g.initial && g.newcomers && g.remaining > 0 {
		delay := min(g.limits.InitialDelay, g.remaining)
		g.newcomers = false
		g.remaining = max(g.remaining-g.limits.InitialDelay, 0)
		g.set(&g.joinAt, now.Add(delay))
		return
	}
	g.complete(now)
}

// complete ends the gathering: who has not joined is out, except static
// members, which have until the end of their session. If nobody who could lead
// is there, the group waits on.
func (g *Group) complete(now time.Time) {
	g.joinAt = time.Time{}
	for _, m := range append([]*member(nil), g.members...) {
		if m.join == 0 && m.instance == nil {
			g.remove(m, "did not join again in time")
		}
	}
	if len(g.members) > 0 && !g.electJoined() {
		g.set(&g.joinAt, now.Add(g.rebalanceTime()))
		return
	}
	g.initial = false
	g.generation++
	if len(g.members) == 0 {
		g.protocol, g.leader = nil, ""
		g.subscribe()
		g.enter(now, Empty)
		g.step.Store = &Store{Snapshot: g.Snapshot()}
		return
	}
	chosen := g.choose()
	g.protocol = &chosen
	g.subscribe()
	g.enter(now, CompletingRebalance)
	for _, m := range g.members {
		g.answerJoin(m, g.joined(m))
		g.keepAlive(now, m)
		m.isNew = false
		m.owesSync = true
	}
	g.set(&g.syncAt, now.Add(g.rebalanceTime()))
}

// expelLate removes those who never synced, and begins a new round without them.
func (g *Group) expelLate(now time.Time) {
	g.syncAt = time.Time{}
	if g.state != CompletingRebalance && g.state != Stable {
		return
	}
	late := 0
	for _, m := range append([]*member(nil), g.members...) {
		if m.owesSync {
			g.answerSync(m, Synced{Code: kafka.UnknownMemberID})
			g.answerJoin(m, failed(kafka.UnknownMemberID))
			g.remove(m, "did not sync in time")
			late++
		}
	}
	if late > 0 {
		g.prepare(now)
	}
}

// Tick lets time pass: sessions end, waits are over.
func (g *Group) Tick(now time.Time) Step {
	for _, m := range append([]*member(nil), g.members...) {
		if m.until.IsZero() || m.until.After(now) || g.byID[m.id] != m {
			continue
		}
		m.until = time.Time{}
		if !m.parked() {
			g.expel(now, m)
		}
	}
	for _, p := range append([]pendingMember(nil), g.pendings...) {
		if !p.until.After(now) {
			g.dropPending(p.id)
			g.completeIfAllJoined(now)
		}
	}
	if !g.joinAt.IsZero() && !g.joinAt.After(now) {
		g.gathered(now)
	}
	if !g.syncAt.IsZero() && !g.syncAt.After(now) {
		g.expelLate(now)
	}
	g.rearm(g.joinAt, g.syncAt)
	return g.done()
}

// expel removes a member. One that is parked all the same, being new, is told
// UNKNOWN_MEMBER_ID, so that it tries again if it is still there.
func (g *Group) expel(now time.Time, m *member) {
	g.answerJoin(m, failed(kafka.UnknownMemberID))
	g.answerSync(m, Synced{Code: kafka.UnknownMemberID})
	g.remove(m, "its session timed out")
	g.rebalanceWithout(now)
}

// rebalanceWithout is what follows when members are gone.
func (g *Group) rebalanceWithout(now time.Time) {
	switch g.state {
	case Stable, CompletingRebalance:
		g.prepare(now)
	case PreparingRebalance:
		g.completeIfAllJoined(now)
	}
}
