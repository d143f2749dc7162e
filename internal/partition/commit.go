package partition

import (
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/invariant"
)

// Written notes that the leader's log now ends at next; the batches from base
// on are new. durable says that they must not be seen before they are flushed
// on the whole ISR (acks=all, transactions, coordinators).
func (p *Partition) Written(base, next int64, durable bool) Effects {
	p.local.written = next
	if p.role == Leader && durable {
		p.demands.add(base, next)
	}
	return p.advance(Effects{})
}

// Demand asks that everything below next be durable though it may have been
// written without that wish: a duplicate sent with acks=all of a batch sent
// with acks=1. What is committed stays committed; [Partition.Durable] tells
// when it is flushed. It reports whether a flush is still due here.
func (p *Partition) Demand(next int64) bool { return p.local.flushed < next }

// Flushed notes that this replica's log is on stable storage up to end.
func (p *Partition) Flushed(end int64) Effects {
	p.local.flushed = max(p.local.flushed, end)
	return p.advance(Effects{})
}

// Truncated notes that the log was cut, by a follower that met a diverging epoch
// or fell behind its leader's start: it now goes from start to end, and is on
// stable storage up to flushed.
func (p *Partition) Truncated(start, end, flushed int64) {
	if invariant.Planted("partition/cut") {
		flushed = p.local.flushed
	}
	p.local.written, p.local.flushed = end, flushed
	p.hw = max(start, min(p.hw, end))
	p.safe = min(p.safe, end)
}

// LeaderHW takes the high watermark that the leader told its follower, and up
// to where it says that the whole ISR has flushed; both hold as far as the
// follower's own log goes.
func (p *Partition) LeaderHW(hw, durable int64) Effects {
	if p.role != Follower {
		return Effects{}
	}
	hw = min(hw, p.local.written)
	p.safe = max(p.safe, min(hw, durable))
	if hw <= p.hw {
		return Effects{}
	}
	p.hw = hw
	return Effects{Advanced: true}
}

// Safe is the offset below which everything was committed and on stable storage
// of the whole ISR, as far as this replica knows. Whoever is elected cleanly has
// it, so a follower that is told to cut it off must not: one of the two is wrong.
// Above it may lie what was seen and is lost with its leader, under acks=1.
func (p *Partition) Safe() int64 {
	if p.role == Leader {
		return max(p.safe, min(p.hw, p.durable))
	}
	return min(p.safe, p.local.flushed)
}

// LogStart notes that the log begins at start: what is gone counts as
// committed.
func (p *Partition) LogStart(start int64) Effects {
	if start <= p.hw {
		return Effects{}
	}
	p.hw = start
	return Effects{Advanced: true}
}

// advance moves the leader's high watermark as far as the rules let it:
//
//	not beyond the smallest written end in the maximal ISR
//	not into a batch that must be durable and is not flushed on all of it
//	not at all while fewer than min.insync.replicas are in sync (KIP-966)
//	never back
func (p *Partition) advance(fx Effects) Effects {
	if p.role != Leader {
		return fx
	}
	written, flushed := p.local.written, p.local.flushed
	for i := range p.remote {
		if r := &p.remote[i]; p.counts(r.id) {
			written, flushed = min(written, r.end), min(flushed, r.end)
		}
	}
	if flushed > p.durable {
		p.durable = flushed
		fx.Durable = true
	}
	p.demands.met(flushed)
	if len(p.at.ISR) < p.minISR() && !invariant.Planted("partition/min-isr") {
		return fx
	}
	if hw := min(written, p.demands.first(flushed)); hw > p.hw {
		p.hw = hw
		fx.Advanced = true
	}
	return fx
}

// counts says whether a follower is in the maximal ISR.
func (p *Partition) counts(id int32) bool {
	switch {
	case invariant.Planted("partition/stranger"):
		return id == p.remote[0].id
	case invariant.Planted("partition/early") && p.pending != nil:
		return slices.Contains(p.pending.isr, id)
	case invariant.Planted("partition/pending"):
		return slices.Contains(p.at.ISR, id)
	}
	return slices.Contains(p.at.ISR, id) || p.pending != nil && slices.Contains(p.pending.isr, id)
}

// queue holds the ranges of offsets that must be durable, in order. Neighbours
// are one range, so under one kind of acks it has one entry.
type queue struct {
	ranges []span
	head   int
}

type span struct{ base, next int64 }

func (q *queue) add(base, next int64) {
	if n := len(q.ranges); n > q.head && q.ranges[n-1].next == base {
		q.ranges[n-1].next = next
		return
	}
	if q.head > 0 && len(q.ranges) == cap(q.ranges) {
		q.ranges = q.ranges[:copy(q.ranges, q.ranges[q.head:])]
		q.head = 0
	}
	q.ranges = append(q.ranges, span{base, next})
}

// met drops what is flushed everywhere.
func (q *queue) met(flushed int64) {
	for q.head < len(q.ranges) && q.ranges[q.head].next <= flushed {
		q.head++
	}
	if q.head == len(q.ranges) {
		q.ranges, q.head = q.ranges[:0], 0
	}
}

// first is the first offset that waits for a flush.
func (q *queue) first(flushed int64) int64 {
	if q.head == len(q.ranges) {
		return math.MaxInt64
	}
	return max(q.ranges[q.head].base, flushed)
}
