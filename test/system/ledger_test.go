//go:build system

package system

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ledger is what one reader has seen: for each partition the next offset, and
// for each producer there the offsets of its records, by number.
type ledger struct {
	mu   sync.Mutex
	next []int64     // by partition
	seen [][][]int64 // by partition, producer and number: offset
}

func (l *load) newLedger(producers int) *ledger {
	g := &ledger{next: make([]int64, l.partitions), seen: make([][][]int64, l.partitions)}
	for p := range g.seen {
		g.seen[p] = make([][]int64, producers)
	}
	return g
}

// skip begins at the offsets low, and takes what lies below from another reader.
func (g *ledger) skip(from *ledger, low []int64) {
	from.mu.Lock()
	defer from.mu.Unlock()
	copy(g.next, low)
	for part := range g.seen {
		for id, seen := range from.seen[part] {
			n := 0
			for n < len(seen) && seen[n] < low[part] {
				n++
			}
			g.seen[part][id] = append([]int64(nil), seen[:n]...)
		}
	}
}

// follow reads until ctx ends. Offsets have no gaps, since nothing here makes
// one; each producer's numbers rise by one. Anything else is a fault.
func (l *load) follow(ctx context.Context, cl *kgo.Client, g *ledger) {
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(_ string, p int32, err error) {
			if l.replicas > 1 && (errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition)) {
				return // a broker that has not heard of the topic yet, though another one has
			}
			l.fault("reading partition %d at %d: %v", p, g.at()[p], err)
		})
		fetches.EachRecord(func(r *kgo.Record) { g.take(l, r) })
	}
}

func (g *ledger) take(l *load, r *kgo.Record) {
	id, part, seq, err := decode(r.Value)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err != nil:
		l.fault("partition %d offset %d: %v", r.Partition, r.Offset, err)
		return
	case part != r.Partition || int(id) >= len(g.seen[part]):
		l.fault("partition %d offset %d holds a record of producer %d for partition %d", r.Partition, r.Offset, id, part)
		return
	case r.Offset != g.next[part]:
		l.fault("partition %d: offset %d follows %d", part, r.Offset, g.next[part]-1)
	}
	g.next[part] = r.Offset + 1
	want := uint64(len(g.seen[part][id]))
	switch {
	case seq < want:
		l.fault("partition %d offset %d: record %d of producer %d is there twice or out of order, also at %d", part, r.Offset, seq, id, g.seen[part][id][seq])
		return
	case seq > want:
		l.fault("partition %d offset %d: records %d to %d of producer %d are lost", part, r.Offset, want, seq-1, id)
	}
	for uint64(len(g.seen[part][id])) < seq {
		g.seen[part][id] = append(g.seen[part][id], -1)
	}
	g.seen[part][id] = append(g.seen[part][id], r.Offset)
}

// reached tells whether every partition was read to its end.
func (g *ledger) reached(ends []int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p, end := range ends {
		if g.next[p] < end {
			return false
		}
	}
	return true
}

func (g *ledger) at() []int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int64(nil), g.next...)
}

// settle compares what a reader saw with what was acknowledged.
func (g *ledger) settle(l *load, who string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range l.producers {
		p.mu.Lock()
		for part, acked := range p.acked {
			seen := g.seen[part][p.id]
			for seq, offset := range acked {
				switch {
				case offset < 0: // no answer: it may be there or not
				case seq >= len(seen) || seen[seq] < 0:
					l.fault("LOST: %s misses record %d of producer %d in partition %d, acknowledged at offset %d", who, seq, p.id, part, offset)
				case seen[seq] != offset:
					l.fault("%s saw record %d of producer %d in partition %d at offset %d, acknowledged at %d", who, seq, p.id, part, seen[seq], offset)
				}
			}
			if len(seen) > len(acked) {
				l.fault("%s saw %d records of producer %d in partition %d, which sent %d", who, len(seen), p.id, part, len(acked))
			}
		}
		p.mu.Unlock()
	}
}
