package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Join is a JoinGroup request.
type Join struct {
	Now          time.Time
	Ticket       Ticket
	ClientID     string
	ClientHost   string
	MemberID     string  // "" for one that has no id
	InstanceID   *string // of a static member (KIP-345)
	Session      time.Duration
	Rebalance    time.Duration
	ProtocolType string
	Protocols    []Protocol

	// UUID is fresh randomness for a member id, should one be needed.
	UUID string
	// NeedsID says that a dynamic member has to come again with the id that it
	// is given (KIP-394, version 4).
	NeedsID bool
	// CanSkip says that a static leader understands SkipAssignment (KIP-814,
	// version 9).
	CanSkip bool
}

// Joined is the answer to a Join.
type Joined struct {
	Code         kafka.Code
	Generation   int32
	ProtocolType *string
	Protocol     *string
	Leader       string
	Skip         bool // the leader is not to assign anew
	MemberID     string
	Members      []JoinedMember // for the leader
}

// JoinedMember is what the leader learns of a member.
type JoinedMember struct {
	ID       string
	Instance *string
	Metadata []byte
}

// JoinAnswer is an answer with the request that it is for.
type JoinAnswer struct {
	Ticket Ticket
	Joined Joined
}

// failed is the answer that only says why not.
func failed(code kafka.Code) Joined { return Joined{Code: code, Generation: kafka.NoGeneration} }

// Join lets a member in, or lets it renew what it said. The answer comes with
// this step or a later one.
//
// Errors: GROUP_MAX_SIZE_REACHED, INCONSISTENT_GROUP_PROTOCOL, UNKNOWN_MEMBER_ID,
// FENCED_INSTANCE_ID, MEMBER_ID_REQUIRED, COORDINATOR_NOT_AVAILABLE from a group
// that was deleted.
func (g *Group) Join(in Join) Step {
	switch {
	case !g.accepts(in.MemberID):
		g.refuse(&in, "", kafka.GroupMaxSizeReached)
	case g.state == Dead:
		g.refuse(&in, in.MemberID, kafka.CoordinatorNotAvailable)
	case !g.agrees(&in):
		g.refuse(&in, in.MemberID, kafka.InconsistentGroupProtocol)
	case in.MemberID == "" && in.InstanceID != nil:
		g.joinStatic(&in)
	case in.MemberID == "":
		g.joinDynamic(&in)
	default:
		g.joinAgain(&in)
	}
	g.completeIfAllJoined(in.Now)
	return g.done()
}

// accepts says whether there is room. A known member always has its place; while
// the group gathers, places go to those who are parked first.
func (g *Group) accepts(id string) bool {
	m, known := g.byID[id]
	switch g.state {
	case PreparingRebalance:
		return known && m.join != 0 || g.joining < g.limits.MaxSize
	case CompletingRebalance, Stable:
		return known || len(g.members) < g.limits.MaxSize
	default:
		return true
	}
}

// agrees says whether the protocols of a join go with the group's: the same
// type, and at least one that every member supports.
func (g *Group) agrees(in *Join) bool {
	if g.state == Empty {
		return in.ProtocolType != "" && len(in.Protocols) > 0
	}
	if in.ProtocolType != g.protocolType {
		return false
	}
	for _, p := range in.Protocols {
		if g.supports[p.Name] == len(g.members) {
			return true
		}
	}
	return false
}

func (g *Group) joinDynamic(in *Join) {
	id := in.ClientID + "-" + in.UUID
	if !in.NeedsID {
		g.admit(in, id)
		return
	}
	until := in.Now.Add(in.Session)
	g.pendings = append(g.pendings, pendingMember{id, until})
	g.arm(until)
	g.refuse(in, id, kafka.MemberIDRequired)
}

// joinAgain is a join with a member id.
func (g *Group) joinAgain(in *Join) {
	if g.isPending(in.MemberID) {
		if in.InstanceID != nil { // ids are only held for dynamic members
			g.refuse(in, in.MemberID, kafka.UnknownMemberID)
			return
		}
		g.admit(in, in.MemberID)
		return
	}
	m, code := g.find(in.MemberID, in.InstanceID)
	if code != kafka.None {
		g.refuse(in, in.MemberID, code)
		return
	}
	switch {
	case g.state == Empty:
		g.refuse(in, in.MemberID, kafka.UnknownMemberID)
	case g.state == CompletingRebalance && m.matches(in.Protocols):
		// It did not hear the first answer.
		g.step.Joins = append(g.step.Joins, JoinAnswer{in.Ticket, g.joined(m)})
	case g.state == Stable && m.matches(in.Protocols) && m.id != g.leader:
		// A follower with nothing new; the leader, in contrast, joins again when
		// it sees a change that members' metadata does not show, as in topics.
		g.step.Joins = append(g.step.Joins, JoinAnswer{in.Ticket, g.joined(m)})
	default:
		g.renew(m, in)
		g.rebalance(in.Now)
	}
}

// admit takes in a new member and parks it.
func (g *Group) admit(in *Join, id string) {
	m := &member{
		id: id, instance: in.InstanceID, clientID: in.ClientID, clientHost: in.ClientHost,
		session: in.Session, rebalance: in.Rebalance, protocols: in.Protocols,
		join: in.Ticket, isNew: true, until: in.Now.Add(newMemberWait),
	}
	if g.state == PreparingRebalance && g.before == Empty {
		g.newcomers = true
	}
	if len(g.members) == 0 {
		g.protocolType = in.ProtocolType
	}
	g.add(m)
	g.arm(m.until)
	g.rebalance(in.Now)
}

// renew takes over what a known member says now, and parks it.
func (g *Group) renew(m *member, in *Join) {
	g.answerJoin(m, failed(kafka.RebalanceInProgress)) // one that it no longer waits for
	g.setProtocols(m, in.Protocols)
	m.session, m.rebalance = in.Session, in.Rebalance
	m.join = in.Ticket
	g.joining++
}

// joined is what a member is told of the generation; the leader learns the
// members.
func (g *Group) joined(m *member) Joined {
	j := Joined{
		Generation: g.generation, ProtocolType: new(g.protocolType), Protocol: g.protocol,
		Leader: g.leader, MemberID: m.id,
	}
	if m.id == g.leader {
		j.Members = g.roll(*g.protocol)
	}
	return j
}
