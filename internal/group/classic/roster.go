package classic

import (
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
)

// roster is who is in a group, who leads it, and what each waits for. It knows
// nothing of states and generations.
type roster struct {
	members  []*member // in the order of joining
	byID     map[string]*member
	statics  map[string]string // instance id -> member id
	supports map[string]int    // protocol -> members that support it
	pendings []pendingMember
	joining  int    // members parked in JoinGroup
	leader   string // "" without members

	wake time.Time // the earliest of all deadlines, or before it
	step Step      // what the step at work has gathered
}

// pendingMember was told its id and has not come again.
type pendingMember struct {
	id    string
	until time.Time
}

// add takes in a member, parked on its JoinGroup or not.
func (r *roster) add(m *member) {
	if r.leader == "" {
		r.leader = m.id
	}
	r.members = append(r.members, m)
	r.byID[m.id] = m
	if m.instance != nil {
		r.statics[*m.instance] = m.id
	}
	for _, p := range m.protocols {
		r.supports[p.Name]++
	}
	if m.join != 0 {
		r.joining++
	}
	r.dropPending(m.id)
}

// left is why a member is gone that asked to be.
const left = "left"

// Size is the number of members.
func (r *roster) Size() int { return len(r.members) }

// remove takes a member out; what it waits for must be answered before.
func (r *roster) remove(m *member, why string) {
	r.members = slices.DeleteFunc(r.members, func(o *member) bool { return o == m })
	r.step.Gone = append(r.step.Gone, Gone{m.id, m.clientID, why, len(r.members), why != left})
	delete(r.byID, m.id)
	if m.instance != nil && r.statics[*m.instance] == m.id {
		delete(r.statics, *m.instance)
	}
	r.unsupport(m)
	if m.join != 0 {
		r.joining--
	}
	if r.leader == m.id {
		r.leader = ""
		if len(r.members) > 0 {
			r.leader = r.members[0].id
		}
	}
}

// rename gives a static member another member id.
func (r *roster) rename(m *member, id string) {
	delete(r.byID, m.id)
	if r.leader == m.id {
		r.leader = id
	}
	m.id = id
	r.byID[id] = m
	r.statics[*m.instance] = id
}

func (r *roster) setProtocols(m *member, protocols []Protocol) {
	r.unsupport(m)
	m.protocols = protocols
	for _, p := range m.protocols {
		r.supports[p.Name]++
	}
}

func (r *roster) unsupport(m *member) {
	for _, p := range m.protocols {
		if r.supports[p.Name]--; r.supports[p.Name] == 0 {
			delete(r.supports, p.Name)
		}
	}
}

// choose picks the protocol: each member votes for the first in its order that
// all support. Of two with as many votes, the one voted for first wins.
func (r *roster) choose() string {
	all := func(name string) bool { return r.supports[name] == len(r.members) }
	votes := map[string]int{}
	best := ""
	for _, m := range r.members {
		votes[m.vote(all)]++
	}
	for _, m := range r.members {
		if v := m.vote(all); best == "" || votes[v] > votes[best] {
			best = v
		}
	}
	return best
}

// find is the member that a request names, or why it may not speak for it.
func (r *roster) find(id string, instance *string) (*member, kafka.Code) {
	if instance != nil {
		known, ok := r.statics[*instance]
		if !ok {
			return nil, kafka.UnknownMemberID
		}
		if known != id {
			return nil, kafka.FencedInstanceID
		}
	}
	m, ok := r.byID[id]
	if !ok {
		return nil, kafka.UnknownMemberID
	}
	return m, kafka.None
}

func (r *roster) isPending(id string) bool {
	return slices.ContainsFunc(r.pendings, func(p pendingMember) bool { return p.id == id })
}

func (r *roster) dropPending(id string) {
	r.pendings = slices.DeleteFunc(r.pendings, func(p pendingMember) bool { return p.id == id })
}

// allJoined says that every member is parked and nobody is expected.
func (r *roster) allJoined() bool { return r.joining == len(r.members) && len(r.pendings) == 0 }

// electJoined makes sure that the leader is one who joined.
func (r *roster) electJoined() bool {
	if m, ok := r.byID[r.leader]; ok && m.join != 0 {
		return true
	}
	for _, m := range r.members {
		if m.join != 0 {
			r.leader = m.id
			return true
		}
	}
	return false
}

// rebalanceTime is how long the group waits for members that do not join or
// sync: the longest that any of them asks for.
func (r *roster) rebalanceTime() time.Duration {
	var longest time.Duration
	for _, m := range r.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// clearSyncs forgets who owes a sync.
func (r *roster) clearSyncs() {
	for _, m := range r.members {
		m.owesSync = false
	}
}

// roll lists the members with what they say in the chosen protocol.
func (r *roster) roll(protocol string) []JoinedMember {
	list := make([]JoinedMember, len(r.members))
	for i, m := range r.members {
		list[i] = JoinedMember{ID: m.id, Instance: m.instance, Metadata: m.metadata(protocol)}
	}
	return list
}

// refuse answers a join at once.
func (r *roster) refuse(in *Join, memberID string, code kafka.Code) {
	j := failed(code)
	j.MemberID = memberID
	r.step.Joins = append(r.step.Joins, JoinAnswer{in.Ticket, j})
}

// answerJoin ends a member's wait in JoinGroup, if it waits.
func (r *roster) answerJoin(m *member, j Joined) bool {
	if m.join == 0 {
		return false
	}
	r.step.Joins = append(r.step.Joins, JoinAnswer{m.join, j})
	m.join = 0
	r.joining--
	return true
}

// answerSync ends a member's wait in SyncGroup, if it waits.
func (r *roster) answerSync(m *member, s Synced) bool {
	if m.sync == 0 {
		return false
	}
	r.step.Syncs = append(r.step.Syncs, SyncAnswer{m.sync, s})
	m.sync = 0
	return true
}

// resetAssignments takes back what the leader decided, and tells who waits for
// it why.
func (r *roster) resetAssignments(code kafka.Code) {
	for _, m := range r.members {
		m.assignment = nil
		r.answerSync(m, Synced{Code: code})
	}
}

// keepAlive starts the member's session anew.
func (r *roster) keepAlive(now time.Time, m *member) {
	m.until = now.Add(m.session)
	r.arm(m.until)
}

// set sets a deadline of the group.
func (r *roster) set(deadline *time.Time, t time.Time) {
	*deadline = t
	r.arm(t)
}

// arm makes sure that Tick is called at t.
func (r *roster) arm(t time.Time) {
	if r.wake.IsZero() || t.Before(r.wake) {
		r.wake = t
	}
}

// rearm finds the earliest deadline anew.
func (r *roster) rearm(others ...time.Time) {
	r.wake = time.Time{}
	for _, m := range r.members {
		if !m.until.IsZero() {
			r.arm(m.until)
		}
	}
	for _, p := range r.pendings {
		r.arm(p.until)
	}
	for _, t := range others {
		if !t.IsZero() {
			r.arm(t)
		}
	}
}

// done hands over what the step has gathered.
func (r *roster) done() Step {
	s := r.step
	r.step = Step{}
	s.Wake = r.wake
	return s
}

// subscriptions reads the topics of all members of a consumer group; nil if one
// cannot be read. The first fields of every version of a subscription are
//
//	int16 version, array of topic names
func (r *roster) subscriptions(protocol string) map[string]bool {
	topics := map[string]bool{}
	for _, m := range r.members {
		in := wire.NewReader(m.metadata(protocol))
		version, n := in.Int16(), in.Int32()
		for i := int32(0); i < n && !in.Failed(); i++ {
			topics[in.String("", false)] = true
		}
		if in.Failed() || version < 0 || n < 0 {
			return nil
		}
	}
	return topics
}
