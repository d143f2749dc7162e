package classic

import (
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// State is where a group stands between two generations.
type State int8

// The states, see the package comment. Dead is a group that was deleted.
const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Dead
)

var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

// String is the state's name in DescribeGroups and ListGroups.
func (s State) String() string { return stateNames[s] }

// ConsumerType is the protocol type of consumers, whose metadata names topics.
const ConsumerType = "consumer"

// newMemberWait is how long a new member may be parked, see the package comment.
const newMemberWait = 5 * time.Minute

// Limits are the broker's bounds on groups.
type Limits struct {
	MinSession   time.Duration // group.min.session.timeout.ms
	MaxSession   time.Duration // group.max.session.timeout.ms
	InitialDelay time.Duration // group.initial.rebalance.delay.ms
	MaxSize      int           // group.max.size, members
}

// Ticket stands for a request that waits; 0 is none.
type Ticket uint64

// Step is what follows from an event.
type Step struct {
	// Joins and Syncs are the answers to requests that waited, in order, among
	// them perhaps the one that caused the step.
	Joins []JoinAnswer
	Syncs []SyncAnswer

	// Store, if not nil, is to be made durable; then call Persisted.
	Store *Store

	// Gone are the members that are in the group no more, for the log.
	Gone []Gone

	// Wake is when to call Tick; zero if there is nothing to wait for. Earlier
	// calls do no harm.
	Wake time.Time
}

// Gone is a member that was removed.
type Gone struct {
	Member, ClientID string
	Why              string
	Left             int  // members that remain
	Expired          bool // it ran out of time, it did not leave
}

// Store is a snapshot on its way to the log.
type Store struct {
	Snapshot Snapshot
	then     pending
}

// Rebalanced says that it ends a rebalance: the leader's assignment is in it.
func (s *Store) Rebalanced() bool { return s.then.assignments != nil }

// Group is one group. Its methods must be called one at a time.
type Group struct {
	roster
	id     string
	limits *Limits
	state  State
	before State     // the state before this one
	since  time.Time // of this state

	protocolType string // "" until the first member
	protocol     *string
	generation   int32
	storing      int32           // the newest generation whose assignment was given to the log
	topics       map[string]bool // that the members subscribe to; nil if unknown

	newcomers bool          // somebody joined during the initial delay
	remaining time.Duration // by which the initial delay may still grow
	initial   bool          // joinAt is the end of the initial delay
	joinAt    time.Time     // zero: not set
	syncAt    time.Time     // when those that owe a sync are removed; zero: not set
}

// New is a group without members, at generation 0.
func New(id string, limits *Limits, now time.Time) *Group {
	return &Group{
		id: id, limits: limits, since: now, topics: map[string]bool{},
		roster: roster{byID: map[string]*member{}, statics: map[string]string{}, supports: map[string]int{}},
	}
}

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// State is the group's state.
func (g *Group) State() State { return g.state }

// Since is when the group came into its state.
func (g *Group) Since() time.Time { return g.since }

// ProtocolType is "consumer" for consumers, "connect" for Connect's workers, ""
// for a group that never had a member.
func (g *Group) ProtocolType() string { return g.protocolType }

// Subscribed says whether the members of a consumer group subscribe to the
// topic. If their metadata cannot be read they might.
func (g *Group) Subscribed(topic string) bool {
	if g.topics == nil {
		return g.protocolType == ConsumerType
	}
	return g.topics[topic]
}

// subscribe takes note of the topics that the members of a new generation read.
func (g *Group) subscribe() {
	switch {
	case g.protocolType != ConsumerType:
		g.topics = nil
	case g.protocol == nil: // nobody is left
		g.topics = map[string]bool{}
	default:
		g.topics = g.subscriptions(*g.protocol)
	}
}

// Kill ends the group; it must have no members.
func (g *Group) Kill() { g.before, g.state = g.state, Dead }

// Close ends the group because its coordinator moves: every request that waits
// is answered with code.
func (g *Group) Close(code kafka.Code) Step {
	for _, m := range g.members {
		g.answerJoin(m, failedAs(m.id, code))
		g.answerSync(m, Synced{Code: code})
	}
	return g.done()
}

func (g *Group) enter(now time.Time, s State) {
	g.before, g.state, g.since = g.state, s, now
}
