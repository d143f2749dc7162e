package torture

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// remembered is how many batches of a producer must be known as duplicates.
const remembered = 5

// state is what batches in their order amount to: producers, transactions and
// epochs. It is the same that package commitlog keeps, found in the plainest way.
type state struct {
	producers map[int64]*producer
	aborted   []commitlog.AbortedTxn // by their markers
	open      []int64                // producers with an open transaction, by its first offset
	epochs    []commitlog.EpochStart
}

type producer struct {
	epoch   int16
	batches []*batch // of this epoch, the newest remembered ones
	sure    int      // how many of them must be known
	first   int64    // of the open transaction, -1 if none
	by      int32    // coordinator epoch of the last marker
}

// known are the batches that must be known for duplicates.
func (p *producer) known() []*batch { return p.batches[len(p.batches)-min(p.sure, len(p.batches)):] }

// next is the sequence that goes on.
func (p *producer) next() int32 {
	if len(p.batches) == 0 {
		return 0
	}
	return record.AddSequence(p.batches[len(p.batches)-1].head.LastSequence(), 1)
}

func newState() *state { return &state{producers: map[int64]*producer{}} }

func (s *state) take(b *batch) {
	h := &b.head
	if n := len(s.epochs); n == 0 || s.epochs[n-1].Epoch != h.LeaderEpoch {
		s.epochs = append(s.epochs, commitlog.EpochStart{Epoch: h.LeaderEpoch, Start: h.BaseOffset})
	}
	if !h.Idempotent() {
		return
	}
	p := s.producers[h.ProducerID]
	if p == nil {
		p = &producer{epoch: kafka.NoProdEpoch, first: -1, by: -1}
		s.producers[h.ProducerID] = p
	}
	if p.epoch != h.ProducerEpoch {
		p.epoch, p.batches, p.sure = h.ProducerEpoch, nil, 0
	}
	if b.marker() {
		s.finish(p, b)
		return
	}
	p.batches = append(p.batches, b)
	if len(p.batches) > remembered {
		p.batches = p.batches[1:]
	}
	p.sure = min(p.sure+1, remembered)
	if h.Attributes.Has(record.Transactional) && p.first < 0 {
		p.first = h.BaseOffset
		s.open = append(s.open, h.ProducerID)
	}
}

// lose takes in what was lost up to an offset, and gives the rest.
func (s *state) lose(losses []loss, upTo int64) []loss {
	for len(losses) > 0 && losses[0].at <= upTo {
		if p := s.producers[losses[0].producer]; p != nil {
			p.sure = max(min(p.sure, remembered-losses[0].batches), 0)
		}
		losses = losses[1:]
	}
	return losses
}

// finish ends a transaction.
func (s *state) finish(p *producer, b *batch) {
	p.by = b.by
	if p.first < 0 {
		return
	}
	first := p.first
	p.first = -1
	s.open = slices.DeleteFunc(s.open, func(id int64) bool { return id == b.head.ProducerID })
	if b.ends != record.Abort {
		return
	}
	a := commitlog.AbortedTxn{ProducerID: b.head.ProducerID, First: first, Last: b.head.LastOffset(), Stable: b.head.NextOffset()}
	if len(s.open) > 0 {
		a.Stable = s.producers[s.open[0]].first
	}
	s.aborted = append(s.aborted, a)
}

// stable is up to where a reader of committed records may read.
func (s *state) stable(end int64) int64 {
	if len(s.open) > 0 {
		return s.producers[s.open[0]].first
	}
	return end
}

// hidden tells whether a batch belongs to a transaction that was rolled back.
func (s *state) hidden(b *batch) bool {
	return b.head.Attributes.Has(record.Transactional) && !b.marker() &&
		slices.ContainsFunc(s.aborted, func(a commitlog.AbortedTxn) bool {
			return a.ProducerID == b.head.ProducerID && a.First <= b.head.BaseOffset && b.head.LastOffset() < a.Last
		})
}

// ids lists the producers in order.
func (s *state) ids() []int64 {
	out := make([]int64, 0, len(s.producers))
	for id := range s.producers {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
