package partition

import (
	"cmp"
	"slices"

	"github.com/myelin-stream/myelin/internal/invariant"
)

// Fetch is a follower's fetch as the leader sees it.
type Fetch struct {
	Replica     int32
	Offset      int64 // where it fetches from, which is its flushed end
	LeaderEpoch int32 // in which the offset was compared with this log
	BrokerEpoch int64 // its incarnation; -1 unknown
	// Eligible says that the image shows the broker alive under that epoch,
	// neither fenced nor shutting down: only then may it join the ISR.
	Eligible bool
}

// Fetched takes note of a follower's fetch. It may move the high watermark, and
// it may propose that the follower join the ISR: once it has all that is
// committed and all that this leader began with.
//
// What was compared in another epoch says nothing: this log may have been cut
// since. Neither does what an earlier incarnation of the broker says, whose
// request was held up on its way. A replica that is not assigned is not noted;
// see [Partition.Assigned].
func (p *Partition) Fetched(f Fetch, now int64) Effects {
	r := p.find(f.Replica)
	if p.role != Leader || r == nil || f.LeaderEpoch != p.at.LeaderEpoch || f.BrokerEpoch < r.brokerEpoch {
		return Effects{}
	}
	end := p.local.written
	switch {
	case f.Offset >= end:
		r.caughtUp = now
	case f.Offset >= r.lastEnd:
		r.caughtUp = max(r.caughtUp, r.lastFetch)
	}
	if f.Offset != r.end || f.Offset >= end {
		r.moved = now
	}
	r.end, r.brokerEpoch, r.eligible = f.Offset, f.BrokerEpoch, f.Eligible
	r.lastFetch, r.lastEnd = now, end

	var fx Effects
	if p.pending == nil && f.Eligible && !slices.Contains(p.at.ISR, f.Replica) &&
		(f.Offset >= p.hw && f.Offset >= p.epochStart || invariant.Planted("partition/joins")) {
		fx.Propose = p.propose(append(slices.Clone(p.at.ISR), f.Replica))
	}
	return p.advance(fx)
}

// Tick proposes to drop followers that lag. Call it some times within LagMax
// and StallMax.
func (p *Partition) Tick(now int64) Effects {
	if p.role != Leader || p.pending != nil {
		return Effects{}
	}
	isr := slices.Clone(p.at.ISR)
	for i := range p.remote {
		r := &p.remote[i]
		if r.end < p.local.written && now-r.caughtUp > p.cfg.LagMax {
			isr = without(isr, r.id)
		}
	}
	for i := range p.remote {
		r := &p.remote[i]
		stalled := p.cfg.StallMax > 0 && r.end < p.local.written && now-max(r.moved, r.caughtUp) > p.cfg.StallMax
		if stalled && len(isr) > p.minISR() {
			isr = without(isr, r.id)
		}
	}
	if len(isr) == len(p.at.ISR) {
		return Effects{}
	}
	return Effects{Propose: p.propose(isr)}
}

func without(isr []int32, id int32) []int32 {
	return slices.DeleteFunc(isr, func(m int32) bool { return m == id })
}

// propose puts a change on its way. Until the controller decides, whoever is in
// the old set or the new one counts.
func (p *Partition) propose(isr []int32) *ISRChange {
	p.pending = &proposal{isr: isr}
	c := &ISRChange{LeaderEpoch: p.at.LeaderEpoch, PartitionEpoch: p.at.PartitionEpoch}
	for _, id := range isr {
		m := Member{Broker: id, Epoch: -1}
		if r := p.find(id); r != nil {
			m.Epoch = r.brokerEpoch
		}
		c.ISR = append(c.ISR, m)
	}
	return c
}

// ISRRefused takes back the proposal made at that partition epoch. Call it only
// when the controller certainly did not and will not accept it: a member that
// it counts and the leader does not would miss what is committed. While the
// outcome is unknown ask again, or wait for an assignment. A later fetch or
// tick proposes anew.
func (p *Partition) ISRRefused(partitionEpoch int32) Effects {
	if p.pending == nil || p.at.PartitionEpoch != partitionEpoch {
		return Effects{}
	}
	p.pending = nil
	return p.advance(Effects{})
}

// Assigned says whether a broker follows this leader.
func (p *Partition) Assigned(broker int32) bool { return p.find(broker) != nil }

// Holding lists the others in the ISR that have a record at offset, who has most
// of the log first: from any of them a consumer may read there (KIP-392).
func (p *Partition) Holding(offset int64) []int32 {
	var list []remote
	for i := range p.remote {
		if r := &p.remote[i]; r.end >= offset && slices.Contains(p.at.ISR, r.id) {
			list = append(list, *r)
		}
	}
	slices.SortStableFunc(list, func(a, b remote) int { return cmp.Compare(b.end, a.end) })
	ids := make([]int32, len(list))
	for i := range list {
		ids[i] = list[i].id
	}
	return ids
}

// Lagging is how many assigned replicas are not in the ISR, for metrics.
func (p *Partition) Lagging() int { return max(0, len(p.at.Replicas)-len(p.at.ISR)) }

// BelowMinISR says whether acks=all is refused.
func (p *Partition) BelowMinISR() bool { return len(p.at.ISR) < p.minISR() }

// Owes says whether a batch that must be durable is not flushed here yet.
func (p *Partition) Owes() bool {
	n := len(p.demands.ranges)
	return n > p.demands.head && p.demands.ranges[n-1].next > p.local.flushed
}

// Flush is up to where this replica's own log is flushed.
func (p *Partition) Flush() int64 { return p.local.flushed }

// Dispensable says whether the others could go on without this leader, whose own
// disk hangs: as many as must be in sync are so and follow, and where this log has
// something to flush they have flushed more of it. That all are on one slow disk is
// no reason to elect another.
func (p *Partition) Dispensable(now int64) bool {
	n := 0
	for i := range p.remote {
		r := &p.remote[i]
		ahead := r.end > p.local.flushed || r.end == p.local.written && now-r.lastFetch <= p.cfg.StallMax
		if ahead && slices.Contains(p.at.ISR, r.id) {
			n++
		}
	}
	return p.role == Leader && n >= p.minISR()
}
