package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Snapshot is what of a group outlives a change of coordinator: a generation
// with its members and what they were assigned.
type Snapshot struct {
	ProtocolType string
	Generation   int32
	Protocol     *string
	Leader       *string
	Since        time.Time // of the group's state
	Members      []MemberSnapshot
}

// Due marks a snapshot of which members are gone that the others' assignments do
// not make up for: the group is rebalanced when it is restored. Without the mark
// nobody would know of it, since who is gone is not in it. It names no leader,
// which no other snapshot with members does; Apache Kafka reads it, takes the
// first member, and does not know that a rebalance is due.
func (s *Snapshot) Due() { s.Leader = nil }

// MemberSnapshot is one member of a snapshot.
type MemberSnapshot struct {
	ID           string
	Instance     *string
	ClientID     string
	ClientHost   string
	Rebalance    time.Duration
	Session      time.Duration
	Subscription []byte // what it says in the snapshot's protocol
	Assignment   []byte

	// Protocols is all that it supports. It is not stored: nil is the snapshot's
	// protocol alone.
	Protocols []Protocol
}

// Snapshot is the group as it is to be stored.
func (g *Group) Snapshot() Snapshot {
	return g.snapshot(func(m *member) []byte { return m.assignment })
}

func (g *Group) snapshot(assignment func(*member) []byte) Snapshot {
	s := Snapshot{ProtocolType: g.protocolType, Generation: g.generation, Protocol: g.protocol, Since: g.since}
	if g.leader != "" {
		leader := g.leader
		s.Leader = &leader
	}
	for _, m := range g.members {
		ms := MemberSnapshot{
			ID: m.id, Instance: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
			Rebalance: m.rebalance, Session: m.session, Assignment: assignment(m), Protocols: m.protocols,
		}
		if g.protocol != nil {
			ms.Subscription = m.metadata(*g.protocol)
		}
		s.Members = append(s.Members, ms)
	}
	return s
}

// Restore makes a group of what was stored. With members it is stable, and their
// sessions start at now: the group goes on where the last coordinator left it.
// One that has become too large by a new limit is rebalanced, and so is one
// without a leader: it was to be when it was stored, see [Snapshot.Due].
func Restore(id string, limits *Limits, now time.Time, s *Snapshot) (*Group, Step) {
	g := New(id, limits, now)
	g.protocolType, g.generation, g.protocol, g.since = s.ProtocolType, s.Generation, s.Protocol, s.Since
	for i := range s.Members {
		ms := &s.Members[i]
		m := &member{
			id: ms.ID, instance: ms.Instance, clientID: ms.ClientID, clientHost: ms.ClientHost,
			session: ms.Session, rebalance: ms.Rebalance, assignment: ms.Assignment,
		}
		if m.rebalance < 0 { // stored before there was one
			m.rebalance = m.session
		}
		if ms.Protocols != nil {
			m.protocols = ms.Protocols
		} else if s.Protocol != nil {
			m.protocols = []Protocol{{*s.Protocol, ms.Subscription}}
		}
		g.add(m)
		g.keepAlive(now, m)
	}
	if s.Leader != nil {
		g.leader = *s.Leader
	}
	g.subscribe()
	if len(g.members) > 0 {
		g.state = Stable
		g.before = CompletingRebalance
		if len(g.members) > limits.MaxSize || s.Leader == nil {
			g.prepare(now)
		}
	}
	return g, g.done()
}

// Convert makes a stable group of consumers that come from another protocol, each
// with all it supports and with its assignment. There must be a protocol that all
// support; the snapshot names none. With rebalance a new generation begins.
func Convert(id string, limits *Limits, now time.Time, s *Snapshot, rebalance bool) (*Group, Step) {
	g, _ := Restore(id, limits, now, s)
	chosen := g.choose()
	g.protocol = &chosen
	g.subscribe()
	if rebalance {
		g.rebalance(now)
	}
	return g, g.done()
}

// Description is the group as DescribeGroups shows it.
type Description struct {
	State        State
	ProtocolType string
	Protocol     string // "" unless the group is stable
	Members      []MemberSnapshot
}

// Describe is the group as others may see it. What members say and what they
// were assigned is shown only once the group is stable.
func (g *Group) Describe() Description {
	d := Description{State: g.state, ProtocolType: g.protocolType, Members: g.Snapshot().Members}
	if g.state == Stable && g.protocol != nil {
		d.Protocol = *g.protocol
		return d
	}
	for i := range d.Members {
		d.Members[i].Subscription = nil
	}
	return d
}

// Session checks a member's session timeout against the limits.
func (l *Limits) Session(d time.Duration) kafka.Code {
	if d < l.MinSession || d > l.MaxSession {
		return kafka.InvalidSessionTimeout
	}
	return kafka.None
}
