package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Unclean is the setting that lets a replica lead which may miss records.
const Unclean = "unclean.leader.election.enable"

// rules are the settings of a topic on which its partitions' changes rest.
type rules struct {
	minISR  int
	unclean bool
}

func (s *State) rulesOf(t *cluster.Topic) rules {
	own := s.Image.Config(cluster.Resource{Kind: cluster.TopicResource, Name: t.Name}).Map()
	minISR, _ := s.Config.TopicValue(MinISR, own)
	unclean, _ := s.Config.TopicValue(Unclean, own)
	return rules{int(minISR.Int64()), unclean.Bool()}
}

// change is one partition on its way. Its fields begin as the partition has
// them; whoever wants something else says so in them, and [change.record] gives
// what follows from it, in these steps:
//
//	complete   a reassignment whose replicas are all in sync ends
//	eligible   who leaves a small ISR still holds all that is committed (KIP-966)
//	elect      the leader stays if it may, else the first that may takes over
//	record     what differs from the partition as it is
type change struct {
	s *State
	t *cluster.Topic
	p *cluster.Partition
	rules
	able func(id int32) bool // who is in service, with p's copy in a directory that works

	isr, replicas, adding, removing, elr []int32

	homes     map[int32]kafka.UUID // directories that replicas are put into
	stripped  int32                // came back without a clean end and may miss records, or NoBroker
	preferred bool                 // the first replica shall lead, if it may
	renew     bool                 // the leader begins a new epoch even if it stays
	recovered bool                 // the leader is over its unclean election

	leader  int32
	dirtily bool // the leader was elected though it may miss records
}

func (s *State) change(t *cluster.Topic, p *cluster.Partition) *change {
	return s.changeUnder(t, p, s.rulesOf(t))
}

func (s *State) changeUnder(t *cluster.Topic, p *cluster.Partition, r rules) *change {
	return &change{s: s, t: t, p: p, rules: r, able: s.holding(p, s.Image.Active),
		isr: p.ISR, replicas: p.Replicas, adding: p.Adding, removing: p.Removing, stripped: kafka.NoBroker}
}

// sweep makes a change of each partition that f wants one of.
func (s *State) sweep(f func(c *change) bool) Records {
	var recs Records
	for t := range s.Image.TopicsFrom("") {
		r := s.rulesOf(t)
		for i := range t.Partitions {
			c := s.changeUnder(t, &t.Partitions[i], r)
			if !f(c) {
				continue
			}
			if r := c.record(); r != nil {
				recs = append(recs, r)
			}
		}
	}
	return recs
}

// leave takes a broker out of the ISR and keeps it from leading.
func (c *change) leave(id int32) {
	c.isr = drop(c.isr, id)
	able := c.able
	c.able = func(other int32) bool { return other != id && able(other) }
}

func drop(ids []int32, id int32) []int32 {
	if !slices.Contains(ids, id) {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(other int32) bool { return other == id })
}

func without(ids, gone []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(gone, id) })
}

func contains(ids, all []int32) bool {
	return !slices.ContainsFunc(all, func(id int32) bool { return !slices.Contains(ids, id) })
}

// complete ends a reassignment (KIP-455): when all that shall stay are in sync,
// the others go.
func (c *change) complete() {
	if len(c.adding)+len(c.removing) == 0 {
		return
	}
	isr, replicas := without(c.isr, c.removing), without(c.replicas, c.removing)
	if len(isr) == 0 || !contains(isr, replicas) {
		return
	}
	c.isr, c.replicas, c.adding, c.removing = isr, replicas, nil, nil
}

// eligible finds the replicas that hold all that is committed though they are
// out of the ISR: while it is smaller than the minimum nothing can be committed
// without those that left it. At or above it nobody else needs to be known.
//
// A replica that may have lost records is not among them, unless nobody else
// is: then it knows best, and what was promised is on its disk.
func (c *change) eligible() {
	c.elr = nil
	if !c.s.elr() {
		if len(c.isr) == 0 { // the last of an ISR stays in it
			c.isr = slices.DeleteFunc(slices.Clone(c.p.ISR), func(id int32) bool { return !slices.Contains(c.replicas, id) })
		}
		return
	}
	if c.suffices() {
		return
	}
	for _, id := range c.replicas {
		if c.held(id) && id != c.stripped && !slices.Contains(c.isr, id) {
			c.elr = append(c.elr, id)
		}
	}
	if len(c.isr)+len(c.elr) == 0 && slices.Contains(c.replicas, c.stripped) && c.held(c.stripped) {
		c.elr = []int32{c.stripped}
	}
}

// held says whether a replica held all that was committed until now.
func (c *change) held(id int32) bool {
	return slices.Contains(c.p.ISR, id) || slices.Contains(c.p.ELR, id)
}

// suffices says whether the ISR is large enough to commit.
func (c *change) suffices() bool { return len(c.isr) >= max(1, min(c.minISR, len(c.replicas))) }

// may says whether a replica can lead and misses nothing.
func (c *change) may(id int32) bool {
	from := c.isr
	if len(from) == 0 {
		from = c.elr
	}
	return (slices.Contains(from, id) || invariant.Planted("controller/outside")) && c.able(id)
}

// elect chooses the leader, [kafka.NoBroker] when none may. One that comes from
// outside the ISR is the whole of it from then on.
func (c *change) elect() {
	c.leader = c.p.Leader
	if first := c.replicas[0]; c.preferred && c.may(first) {
		c.leader = first
	} else if !c.may(c.leader) {
		c.leader = c.first(c.may)
	}
	switch {
	case c.leader == kafka.NoBroker && c.unclean:
		if c.leader = c.first(c.lastLed); c.leader == kafka.NoBroker {
			c.leader = c.first(c.able)
		}
		if c.leader != kafka.NoBroker {
			c.dirtily, c.isr, c.elr = true, []int32{c.leader}, nil
		}
	case c.leader != kafka.NoBroker && len(c.isr) == 0:
		c.isr, c.elr = []int32{c.leader}, drop(c.elr, c.leader)
		if c.suffices() { // from now on it commits without the others
			c.elr = nil
		}
	}
}

func (c *change) first(fit func(int32) bool) int32 {
	if i := slices.IndexFunc(c.replicas, fit); i >= 0 {
		return c.replicas[i]
	}
	return kafka.NoBroker
}

// lastLed says whether the replica led before nobody could: of those that may
// miss records it misses the fewest.
func (c *change) lastLed(id int32) bool {
	return len(c.p.LastKnownELR) == 1 && c.p.LastKnownELR[0] == id && c.able(id)
}

// record gives what has to be written, nil when nothing differs.
func (c *change) record() *state.PartitionChangeRecord {
	c.complete()
	c.eligible()
	c.elect()
	r, p := changeOf(c.t, c.p), c.p
	same := true
	put := func(to *[]int32, was, is []int32) {
		if !slices.Equal(was, is) {
			*to, same = append([]int32{}, is...), false
		}
	}
	put(&r.ISR, p.ISR, c.isr)
	put(&r.EligibleLeaderReplicas, p.ELR, c.elr)
	put(&r.LastKnownELR, p.LastKnownELR, c.lastKnown())
	put(&r.Replicas, p.Replicas, c.replicas)
	put(&r.AddingReplicas, p.Adding, c.adding)
	put(&r.RemovingReplicas, p.Removing, c.removing)
	if c.leader != p.Leader || c.renew || !contains(c.replicas, p.Replicas) {
		r.Leader, same = c.leader, false
	}
	switch {
	case c.dirtily && !p.Recovering:
		r.LeaderRecoveryState, same = 1, false
	case c.recovered && p.Recovering:
		r.LeaderRecoveryState, same = 0, false
	}
	if r.Replicas != nil || len(c.homes) > 0 {
		if homes := c.directories(); !slices.Equal(homes, p.Directories) {
			r.Directories, same = homes, false
		}
	}
	if same {
		return nil
	}
	return r
}

// lastKnown remembers who led until nobody was in sync, for as long as nobody
// leads.
func (c *change) lastKnown() []int32 {
	switch {
	case !c.s.elr() || c.leader != kafka.NoBroker:
		return nil
	case len(c.isr) == 0 && c.p.Leader != kafka.NoBroker:
		return []int32{c.p.Leader}
	}
	return c.p.LastKnownELR
}

// directories names the log directory of each replica. A new one goes where its
// broker puts new ones.
func (c *change) directories() []kafka.UUID {
	var homes []kafka.UUID
	for _, id := range c.replicas {
		home, put := c.homes[id]
		switch b := c.s.Image.Broker(id); {
		case put:
		case c.p.HasReplica(id):
			home = c.p.DirectoryOf(id)
		case b != nil:
			home = directoryOf(b)
		default:
			home = kafka.DirUnassigned
		}
		homes = append(homes, home)
	}
	return homes
}
