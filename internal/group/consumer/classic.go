package consumer

import (
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// A classic member reads with everybody else, by the same epochs, but learns of
// them in three requests: Heartbeat tells it to join again, JoinGroup takes it one
// step closer to its target, SyncGroup gives it what it holds. It never assigns:
// nobody is told to lead.

// protocolType is the only one that classic members of a consumer group may have.
const protocolType = "consumer"

// ClassicJoin is a JoinGroup request.
type ClassicJoin struct {
	Member       string // "" for one that has no id
	Instance     *string
	ProtocolType string
	Session      int32 // ms
	Rebalance    int32 // ms
	Protocols    []Protocol

	// NeedsID says that a dynamic member has to come again with the id that it is
	// given (KIP-394).
	NeedsID bool
}

// ClassicJoined is the answer; its protocol type is "consumer", and it has no
// leader and no members.
type ClassicJoined struct {
	Member     string
	Generation int32
	Protocol   string
}

// JoinClassic lets a classic member join, or take the next step. With
// MEMBER_ID_REQUIRED the answer has the id to come with.
//
// Errors: INCONSISTENT_GROUP_PROTOCOL, GROUP_MAX_SIZE_REACHED, MEMBER_ID_REQUIRED,
// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
func (g *Group) JoinClassic(now time.Time, who Who, in *ClassicJoin) (ClassicJoined, kind.Step, error) {
	id := in.Member
	if id == "" {
		id = who.NewID
	}
	out := ClassicJoined{Member: id, Generation: kafka.NoGeneration}
	if g.cfg.NoClassic {
		return out, kind.Step{}, kind.Refuse(kafka.InconsistentGroupProtocol,
			"Cannot join the consumer group %s with the classic protocol because the group migration is disabled.", g.id)
	}
	if err := g.full(id, in.Instance); err != nil {
		return out, kind.Step{}, err
	}
	sub, err := g.accepts(id, in)
	if err != nil {
		return out, kind.Step{}, err
	}
	if in.NeedsID && in.Member == "" && in.Instance == nil {
		return out, kind.Step{}, kafka.MemberIDRequired
	}
	c := &change{g: g, now: now, who: &who, topics: g.cfg.Topics()}
	old, was, err := c.findClassic(id, in)
	if err != nil {
		return out, kind.Step{}, err
	}
	is := was.joined(&who, in, sub)
	if n, ok := c.joinLast(old, was, is); ok {
		is = n
	} else if is, err = c.apply(was, is, ownedIDs(sub, c.topics)); err != nil {
		return out, kind.Step{}, err
	}
	at, sync := now.Add(is.classic.session()), now.Add(time.Duration(in.Rebalance)*time.Millisecond)
	g.clock(id, at).session = at
	k := g.clock(id, sync)
	k.join, k.sync = time.Time{}, sync
	out.Generation, out.Protocol = is.epoch, in.Protocols[0].Name
	return out, g.step(c.records), nil
}

// accepts reads the subscription of a member, whose protocols the other classic
// members have to share.
func (g *Group) accepts(id string, in *ClassicJoin) (*state.ConsumerProtocolSubscription, error) {
	shared := func(p Protocol) bool { return g.Empty() || g.protocols[p.Name] == g.classics }
	if in.ProtocolType != protocolType || !slices.ContainsFunc(in.Protocols, shared) {
		return nil, kind.Refuse(kafka.InconsistentGroupProtocol, "Member %s's protocols are not supported.", id)
	}
	sub := state.NewConsumerProtocolSubscription()
	if _, err := state.ParseVersioned(in.Protocols[0].Metadata, &sub); err != nil {
		return nil, kind.Refuse(kafka.InconsistentGroupProtocol, "Malformed embedded consumer protocol in subscription deserialization.")
	}
	return &sub, nil
}

// findClassic is the member that joins, as it is known, or a new one; old is the
// static member whose place it takes, perhaps under its own id.
func (c *change) findClassic(id string, in *ClassicJoin) (old, m *member, err error) {
	g := c.g
	if in.Instance == nil {
		return nil, g.known(id), nil
	}
	old = g.static(*in.Instance)
	switch {
	case in.Member != "":
		m, err = g.ownStatic(id, *in.Instance)
	case old != nil:
		m = c.replace(old, id)
	default:
		m = newMember(id)
	}
	return old, m, err
}

// joined is the member after a JoinGroup.
func (m *member) joined(who *Who, in *ClassicJoin, sub *state.ConsumerProtocolSubscription) *member {
	n := *m
	n.clientID, n.clientHost, n.rebalance = who.ClientID, who.Host, in.Rebalance
	if in.Instance != nil {
		n.instance = in.Instance
	}
	if sub.RackID != nil && *sub.RackID != "" {
		n.rack = sub.RackID
	}
	n.topics, n.regex = sorted(sub.Topics), new("")
	n.classic = &Classic{Session: in.Session, Protocols: slices.Clone(in.Protocols)}
	for i := range n.classic.Protocols {
		p := &n.classic.Protocols[i]
		p.Metadata = slices.Clone(p.Metadata)
	}
	return &n
}

// ownedIDs is what a classic member says it owns, by topic ids.
func ownedIDs(sub *state.ConsumerProtocolSubscription, topics kind.Topics) []msg.ConsumerGroupHeartbeatRequestTopicPartition {
	owned := []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	for _, o := range sub.OwnedPartitions {
		if t, ok := topics.Named(o.Topic); ok {
			owned = append(owned, msg.ConsumerGroupHeartbeatRequestTopicPartition{TopicID: t.ID, Partitions: o.Partitions})
		}
	}
	return owned
}

// SyncClassic gives a classic member what it holds: a ConsumerProtocolAssignment
// in the version of its subscription.
//
// Errors: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION,
// INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS.
func (g *Group) SyncClassic(now time.Time, who kind.Committer, typ, protocol *string) ([]byte, kind.Step, error) {
	m, err := g.classic(who)
	if err != nil {
		return nil, kind.Step{}, err
	}
	first := m.classic.Protocols[0]
	switch {
	case typ != nil && *typ != protocolType:
		return nil, kind.Step{}, kind.Refuse(kafka.InconsistentGroupProtocol,
			"The protocol type %s from member %s request is not equal to the group protocol type %s.", *typ, m.id, protocolType)
	case protocol != nil && *protocol != first.Name:
		return nil, kind.Step{}, kind.Refuse(kafka.InconsistentGroupProtocol,
			"The protocol name %s from member %s request is not equal to the protocol name %s returned in the join response.",
			*protocol, m.id, first.Name)
	case g.assigned > m.epoch && m.state != unrevoked:
		g.awaitJoin(now, m)
		return nil, g.step(nil), kafka.RebalanceInProgress
	}
	at := now.Add(m.classic.session())
	k := g.clock(m.id, at)
	k.sync, k.session = time.Time{}, at
	return marshalAssignment(m.assigned.set(), first.Metadata, g.cfg.Topics()), g.step(nil), nil
}

// HeartbeatClassic keeps a classic member, and tells it with
// REBALANCE_IN_PROGRESS to join again when there is a step to take.
//
// Errors: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION. The step is
// to be followed with REBALANCE_IN_PROGRESS too.
func (g *Group) HeartbeatClassic(now time.Time, who kind.Committer) (kind.Step, error) {
	m, err := g.classic(who)
	if err != nil {
		return kind.Step{}, err
	}
	at := now.Add(m.classic.session())
	g.clock(m.id, at).session = at
	if m.epoch < g.assigned || m.state == unrevoked || m.state == unreleased && !g.blocked(m) {
		g.awaitJoin(now, m)
		return g.step(nil), kafka.RebalanceInProgress
	}
	return g.step(nil), nil
}

// blocked says whether others hold what the member is to get yet.
func (g *Group) blocked(m *member) bool {
	for _, t := range g.target[m.id] {
		has := m.assigned.of(t.Topic).partitions
		for _, p := range t.Partitions {
			if _, ok := slices.BinarySearch(has, p); !ok && g.held(t.Topic, p) {
				return true
			}
		}
	}
	return false
}

// awaitJoin gives a classic member its rebalance timeout to join again.
func (g *Group) awaitJoin(now time.Time, m *member) {
	at := now.Add(time.Duration(m.rebalance) * time.Millisecond)
	if k := g.clock(m.id, at); k.join.IsZero() {
		k.join = at
	}
}

// LeaveClassic takes out those of the members that there are. The errors are
// theirs: UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID, or nil.
func (g *Group) LeaveClassic(now time.Time, who []kind.Committer) ([]error, kind.Step) {
	errs := make([]error, len(who))
	var out []*member
	var gone []kind.Gone
	for i, w := range who {
		var m *member
		switch {
		case w.Instance == nil:
			if m = g.members[w.Member]; m == nil {
				errs[i] = g.noMember(w.Member)
			}
		case w.Member == "" && g.static(*w.Instance) != nil:
			m = g.static(*w.Instance)
		default:
			m, errs[i] = g.ownStatic(w.Member, *w.Instance)
		}
		if errs[i] == nil && !slices.Contains(out, m) {
			out = append(out, m)
			gone = append(gone, kind.Gone{Member: m.id, ClientID: m.clientID, Why: "it left"})
		}
	}
	if len(out) == 0 {
		return errs, g.step(nil)
	}
	step := g.step(g.fence(now, out))
	step.Gone = gone
	return errs, step
}

// classic is the classic member that a request of a generation comes from.
func (g *Group) classic(who kind.Committer) (*member, error) {
	m := g.members[who.Member]
	if who.Instance != nil {
		var err error
		if m, err = g.ownStatic(who.Member, *who.Instance); err != nil {
			return nil, err
		}
	}
	switch {
	case m == nil:
		return nil, g.noMember(who.Member)
	case m.classic == nil:
		return nil, kind.Refuse(kafka.UnknownMemberID, "Member %s does not use the classic protocol.", m.id)
	case m.epoch != who.Epoch:
		return nil, kind.Refuse(kafka.IllegalGeneration, "The request generation id %d is not equal to the member epoch %d of member %s.",
			who.Epoch, m.epoch, m.id)
	}
	return m, nil
}

func (c *Classic) session() time.Duration { return time.Duration(c.Session) * time.Millisecond }
