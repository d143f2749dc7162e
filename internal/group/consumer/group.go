package consumer

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Group is one consumer group. Its methods must be called one at a time.
type Group struct {
	book

	// What is lost with the coordinator.
	clocks  map[string]*clock
	wake    time.Time // no clock ends before; zero: none runs
	seen    int64     // version of the topics that hash was checked against
	looked  bool      // seen is set
	resolve *resolve  // patterns are to be matched
	names   []string  // of the topics that they were matched against
}

// uses is by how many members, and by how many patterns, a topic is subscribed to.
type uses struct{ names, regexes int }

// matches are the topics that match a pattern.
type matches struct {
	topics  []string // in order
	version int64    // of the picture of topics that it was matched against
	at      int64    // ms
}

// resolve is the wish to match the group's patterns.
type resolve struct {
	may func(topic string) bool
}

// clock are a member's deadlines; a zero one is not set.
type clock struct {
	session   time.Time
	rebalance time.Time // to leave the epoch
	epoch     int32
	join      time.Time // of a classic member, which was told to join
	sync      time.Time // of a classic member, which has joined
}

// New is a group without members, at epoch 1.
func New(id string, cfg *Config) *Group {
	return &Group{book: book{id: id, cfg: cfg, epoch: 1, assigned: 1}}
}

var (
	_ kind.Group            = (*Group)(nil)
	_ kind.PartitionChecker = (*Group)(nil)
)

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// Type is [kind.Consumer].
func (g *Group) Type() kind.Type { return kind.Consumer }

// Empty says that the group has no members.
func (g *Group) Empty() bool { return len(g.members) == 0 }

// Size is the number of members, classic ones included.
func (g *Group) Size() int { return len(g.members) }

// State is "Empty", "Assigning" while the target is not that of the newest epoch,
// "Reconciling" while a member is not at its target, or "Stable".
func (g *Group) State() string {
	switch {
	case g.Empty():
		return "Empty"
	case g.epoch > g.assigned:
		return "Assigning"
	}
	for _, m := range g.members {
		if !m.reconciled(g.assigned) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// Subscribed says whether a member subscribes to the topic, by name or pattern.
func (g *Group) Subscribed(topic string) bool {
	_, ok := g.topics[topic]
	return ok
}

// matched are the topics that matched a pattern when it was matched last.
func (b *book) matched(pattern string) []string {
	if r := b.regexes[pattern]; r != nil {
		return r.topics
	}
	return nil
}

// held says whether somebody holds a partition.
func (b *book) held(topic kafka.UUID, partition int32) bool {
	_, ok := b.owners[topic][partition]
	return ok
}

// targetOf is what the last assignment gave a member. A static member has what
// was given to whoever had its instance id.
func (b *book) targetOf(m *member) assign.Set {
	if m.instance == nil {
		return b.target[m.id]
	}
	if id, ok := b.statics[*m.instance]; ok {
		return b.target[id]
	}
	return nil
}

// static is the member with an instance id, or nil.
func (b *book) static(instance string) *member {
	if id, ok := b.statics[instance]; ok {
		return b.members[id]
	}
	return nil
}

// step is what follows for the caller.
func (g *Group) step(records []coordinator.Record) kind.Step {
	return kind.Step{Records: records, Wake: g.wake}
}

// Loaded starts the clocks of all members that have none.
func (g *Group) Loaded(now time.Time) kind.Step {
	for id, m := range g.members {
		g.start(now, id, m)
	}
	return g.step(nil)
}

// start sets a member's clock as if it had been heard of just now.
func (g *Group) start(now time.Time, id string, m *member) {
	if g.clocks[id] != nil {
		return
	}
	session := g.cfg.settings(g.id).Session
	if m.classic != nil {
		session = m.classic.session()
	}
	at := now.Add(session)
	g.clock(id, at).session = at
	if m.state == unrevoked && m.classic == nil {
		g.revoke(now, m)
	}
}

// clock is that of a member, which is to be woken at a time.
func (g *Group) clock(id string, at time.Time) *clock {
	if g.wake.IsZero() || at.Before(g.wake) {
		g.wake = at
	}
	c := g.clocks[id]
	if c == nil {
		c = &clock{}
		if g.clocks == nil {
			g.clocks = map[string]*clock{}
		}
		g.clocks[id] = c
	}
	return c
}

// revoke starts the time that a member has to give up partitions.
func (g *Group) revoke(now time.Time, m *member) {
	at := now.Add(time.Duration(m.rebalance) * time.Millisecond)
	c := g.clock(m.id, at)
	c.rebalance, c.epoch = at, m.epoch
}

// Tick removes members whose time is up and matches patterns that wait for it.
func (g *Group) Tick(now time.Time) kind.Step {
	if g.resolve != nil {
		records := g.match(now)
		if g.wake.IsZero() || now.Before(g.wake) {
			g.wake = now // look at the clocks next
		}
		return g.step(records)
	}
	var late []*member
	var gone []kind.Gone
	g.wake = time.Time{}
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id]
		g.start(now, id, m)
		c := g.clocks[id]
		if why := c.due(now, m); why != "" {
			late = append(late, m)
			gone = append(gone, kind.Gone{Member: id, ClientID: m.clientID, Why: why, Expired: true})
			continue
		}
		if at := c.next(); g.wake.IsZero() || at.Before(g.wake) {
			g.wake = at
		}
	}
	if len(late) == 0 {
		return g.step(nil)
	}
	step := g.step(g.fence(now, late))
	step.Gone = gone
	return step
}

// due says why the member's time is up, "" if it is not. A deadline that has
// passed and does not matter any more is taken away.
func (c *clock) due(now time.Time, m *member) string {
	over := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case over(c.session):
		return "its session expired"
	case over(c.rebalance) && m.epoch == c.epoch:
		return "it did not give up its partitions in time"
	case over(c.join):
		return "it did not join again in time"
	case over(c.sync):
		return "it did not sync in time"
	}
	if over(c.rebalance) {
		c.rebalance = time.Time{}
	}
	return ""
}

// next is the first deadline.
func (c *clock) next() time.Time {
	first := c.session
	for _, t := range [...]time.Time{c.rebalance, c.join, c.sync} {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}
