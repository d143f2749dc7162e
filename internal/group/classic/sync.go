package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Sync is a SyncGroup request.
type Sync struct {
	Now          time.Time
	Ticket       Ticket
	MemberID     string
	InstanceID   *string
	Generation   int32
	ProtocolType *string // nil before version 5: not compared
	Protocol     *string

	// Assignments is what the leader decided, by member id; nobody else's counts.
	Assignments map[string][]byte
}

// Synced is the answer to a Sync.
type Synced struct {
	Code         kafka.Code
	ProtocolType *string
	Protocol     *string
	Assignment   []byte
}

// SyncAnswer is an answer with the request that it is for.
type SyncAnswer struct {
	Ticket Ticket
	Synced Synced
}

// pending is what to do once a snapshot is stored, or could not be.
type pending struct {
	generation  int32
	assignments map[string][]byte // of the leader; nil if there is a replacement or nothing
	replaced    *replaced
}

// Sync parks a member until the leader's assignment is stored, and takes that
// assignment from the leader: once in each generation. A leader that asks again
// while the first one is on its way to the log waits for that. (Apache Kafka
// stores the second one too, but tells the members of the first; after a change
// of coordinator they would hear of the second.)
//
// Errors: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION,
// INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE
// from a group that was deleted.
func (g *Group) Sync(in Sync) Step {
	m, code := g.checkSync(&in)
	if code != kafka.None {
		g.step.Syncs = append(g.step.Syncs, SyncAnswer{in.Ticket, Synced{Code: code}})
		return g.done()
	}
	m.owesSync = false
	if g.state == Stable {
		g.step.Syncs = append(g.step.Syncs, SyncAnswer{in.Ticket, g.synced(m)})
		return g.done()
	}
	g.answerSync(m, Synced{Code: kafka.RebalanceInProgress}) // one that it no longer waits for
	m.sync = in.Ticket
	if m.id == g.leader && g.storing != g.generation {
		g.storing = g.generation
		// Members that the leader left out get nothing, which is an assignment.
		all := make(map[string][]byte, len(g.members))
		for _, o := range g.members {
			all[o.id] = in.Assignments[o.id]
		}
		g.step.Store = &Store{
			Snapshot: g.snapshot(func(o *member) []byte { return all[o.id] }),
			then:     pending{generation: g.generation, assignments: all},
		}
	}
	return g.done()
}

func (g *Group) checkSync(in *Sync) (*member, kafka.Code) {
	if g.state == Dead {
		return nil, kafka.CoordinatorNotAvailable
	}
	m, code := g.find(in.MemberID, in.InstanceID)
	differs := func(sent *string, own string) bool { return sent != nil && *sent != own }
	protocol := ""
	if g.protocol != nil {
		protocol = *g.protocol
	}
	switch {
	case code != kafka.None:
		return nil, code
	case in.Generation != g.generation:
		return nil, kafka.IllegalGeneration
	case differs(in.ProtocolType, g.protocolType), differs(in.Protocol, protocol):
		return nil, kafka.InconsistentGroupProtocol
	case g.state == Empty:
		return nil, kafka.UnknownMemberID
	case g.state == PreparingRebalance:
		return nil, kafka.RebalanceInProgress
	}
	return m, kafka.None
}

// Persisted tells what became of a snapshot: code is NONE when it is durable.
func (g *Group) Persisted(now time.Time, s *Store, code kafka.Code) Step {
	switch {
	case s.then.replaced != nil:
		g.replacementStored(now, s.then.replaced, code)
	case s.then.assignments == nil:
		// An empty generation: nobody waits for it.
	case g.state != CompletingRebalance || g.generation != s.then.generation:
		// Somebody came or went meanwhile; the next round is under way.
	case code != kafka.None:
		g.resetAssignments(code)
		g.rebalance(now)
	default:
		for _, m := range g.members {
			m.assignment = s.then.assignments[m.id]
		}
		g.enter(now, Stable)
		for _, m := range g.members {
			// A session that ended while the member was parked was let pass, so
			// it has to be started again.
			if g.answerSync(m, g.synced(m)) {
				g.keepAlive(now, m)
			}
		}
	}
	return g.done()
}

func (g *Group) synced(m *member) Synced {
	return Synced{ProtocolType: new(g.protocolType), Protocol: g.protocol, Assignment: m.assignment}
}
