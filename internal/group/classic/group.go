package classic

import (
	"slices"
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

	// Wake is when to call Tick; zero if there is nothing to wait for. Earlier
	// calls do no harm.
	Wake time.Time
}

// Store is a snapshot on its way to the log.
type Store struct {
	Snapshot Snapshot
	then     pending
}

// Group is one group. Its methods must be called one at a time.
type Group struct {
	id     string
	limits *Limits
	state  State
	before State     // the state before this one
	since  time.Time // of this state

	protocolType string // "" until the first member
	protocol     *string
	generation   int32
	leader       string
	topics       map[string]bool // that the members subscribe to; nil if unknown

	members  []*member // in the order of joining
	byID     map[string]*member
	statics  map[string]string // instance id -> member id
	supports map[string]int    // protocol -> members that support it
	pendings []pendingMember
	joining  int // members parked in JoinGroup

	newcomers bool          // somebody joined during the initial delay
	remaining time.Duration // by which the initial delay may still grow
	initial   bool          // joinAt is the end of the initial delay
	joinAt    time.Time     // zero: not set
	syncAt    time.Time     // when those that owe a sync are removed; zero: not set

	wake time.Time // the earliest of all deadlines, or before it
	step Step
}

// pendingMember was told its id and has not come again.
type pendingMember struct {
	id    string
	until time.Time
}

// New is a group without members, at generation 0.
func New(id string, limits *Limits, now time.Time) *Group {
	return &Group{
		id: id, limits: limits, since: now,
		topics: map[string]bool{}, byID: map[string]*member{}, statics: map[string]string{}, supports: map[string]int{},
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

// Generation is the number of the last generation.
func (g *Group) Generation() int32 { return g.generation }

// Size is the number of members.
func (g *Group) Size() int { return len(g.members) }

// Subscribed says whether the members of a consumer group subscribe to the
// topic. If their metadata cannot be read they might.
func (g *Group) Subscribed(topic string) bool {
	if g.topics == nil {
		return g.protocolType == ConsumerType
	}
	return g.topics[topic]
}

// Kill ends the group; it must have no members.
func (g *Group) Kill() { g.before, g.state = g.state, Dead }

// Close ends the group because its coordinator moves: every request that waits
// is answered with code.
func (g *Group) Close(code kafka.Code) Step {
	for _, m := range g.members {
		g.answerJoin(m, failed(code))
		g.answerSync(m, Synced{Code: code})
	}
	return g.done()
}

// done hands over what the step has gathered.
func (g *Group) done() Step {
	s := g.step
	g.step = Step{}
	s.Wake = g.wake
	return s
}

func (g *Group) enter(now time.Time, s State) {
	g.before, g.state, g.since = g.state, s, now
}

// arm makes sure that Tick is called at t.
func (g *Group) arm(t time.Time) {
	if g.wake.IsZero() || t.Before(g.wake) {
		g.wake = t
	}
}

// rearm finds the earliest deadline anew.
func (g *Group) rearm() {
	g.wake = time.Time{}
	for _, m := range g.members {
		if !m.until.IsZero() {
			g.arm(m.until)
		}
	}
	for _, p := range g.pendings {
		g.arm(p.until)
	}
	for _, t := range []time.Time{g.joinAt, g.syncAt} {
		if !t.IsZero() {
			g.arm(t)
		}
	}
}

// add takes in a member, parked on its JoinGroup or not.
func (g *Group) add(m *member) {
	if len(g.members) == 0 {
		g.protocolType = m.protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instance != nil {
		g.statics[*m.instance] = m.id
	}
	for _, p := range m.protocols {
		g.supports[p.Name]++
	}
	if m.join != 0 {
		g.joining++
	}
	g.dropPending(m.id)
}

// remove takes a member out; what it waits for must be answered before.
func (g *Group) remove(m *member) {
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	delete(g.byID, m.id)
	if m.instance != nil && g.statics[*m.instance] == m.id {
		delete(g.statics, *m.instance)
	}
	g.unsupport(m)
	if m.join != 0 {
		g.joining--
	}
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

func (g *Group) unsupport(m *member) {
	for _, p := range m.protocols {
		if g.supports[p.Name]--; g.supports[p.Name] == 0 {
			delete(g.supports, p.Name)
		}
	}
}

func (g *Group) isPending(id string) bool {
	return slices.ContainsFunc(g.pendings, func(p pendingMember) bool { return p.id == id })
}

func (g *Group) dropPending(id string) {
	g.pendings = slices.DeleteFunc(g.pendings, func(p pendingMember) bool { return p.id == id })
}

// find is the member that a request names, or why it may not speak for it.
func (g *Group) find(id string, instance *string) (*member, kafka.Code) {
	if instance != nil {
		known, ok := g.statics[*instance]
		if !ok {
			return nil, kafka.UnknownMemberID
		}
		if known != id {
			return nil, kafka.FencedInstanceID
		}
	}
	m, ok := g.byID[id]
	if !ok {
		return nil, kafka.UnknownMemberID
	}
	return m, kafka.None
}

// keepAlive starts the member's session anew.
func (g *Group) keepAlive(now time.Time, m *member) {
	m.until = now.Add(m.session)
	g.arm(m.until)
}

// rebalanceTime is how long the group waits for members that do not join or
// sync: the longest that any of them asks for.
func (g *Group) rebalanceTime() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}
