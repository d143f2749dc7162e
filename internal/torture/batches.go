package torture

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/record"
)

// Who writes to a log: producers from firstIdempotent on without transactions,
// those from firstTransactional on with them.
const (
	firstIdempotent    = 100
	firstTransactional = 200
	producersOfAKind   = 3
	coordinators       = 4
)

// batch builds what somebody writes at a log's end: a plain producer, an
// idempotent one, one with transactions, or the marker that ends one. Nil if
// whoever was drawn has nothing to write.
func (s *story) batch(p *part) *batch {
	id := int64(s.rng.IntN(producersOfAKind))
	switch s.rng.IntN(6) {
	case 0:
		return s.build(p, record.Builder{})
	case 1, 2:
		return s.build(p, record.Builder{Producer: s.producer(p, firstIdempotent+id)})
	case 3, 4:
		return s.build(p, record.Builder{Producer: s.producer(p, firstTransactional+id), Flags: record.Transactional})
	}
	return s.end(p, firstTransactional+id)
}

// producer is somebody who goes on where they were, or now and then, outside a
// transaction, begins a new epoch.
func (s *story) producer(p *part, id int64) *record.Producer {
	have := p.hist.fold().producers[id]
	if have == nil {
		first := int32(0)
		if s.rng.IntN(4) == 0 {
			first = math.MaxInt32 - int32(s.rng.IntN(20)) // sequences turn over
		}
		return &record.Producer{ID: id, Sequence: first}
	}
	if have.first < 0 && s.rng.IntN(40) == 0 {
		return &record.Producer{ID: id, Epoch: have.epoch + 1}
	}
	return &record.Producer{ID: id, Epoch: have.epoch, Sequence: have.next()}
}

// build makes a batch at the log's end.
func (s *story) build(p *part, b record.Builder) *batch {
	out := &batch{}
	b.BaseOffset, b.LeaderEpoch = p.hist.end(), p.epoch
	if len(s.opt.codecs) > 0 {
		b.Codec = s.opt.codecs[s.rng.IntN(len(s.opt.codecs))]
	}
	for i := range 1 + s.rng.IntN(s.opt.batch) {
		value := fmt.Sprintf("%s@%d.%d ", p.tp, b.BaseOffset+int64(i), p.epoch) + strings.Repeat("x", s.rng.IntN(s.opt.value+1))
		r := record.Record{Timestamp: p.clock + int64(s.rng.IntN(50)) - 10, Value: []byte(value)}
		p.clock = max(p.clock, r.Timestamp) + int64(s.rng.IntN(3))
		if s.opt.keys > 0 {
			r.Key = fmt.Appendf(nil, "key %d", s.rng.IntN(s.opt.keys))
			if s.rng.IntN(20) == 0 {
				r.Value = nil
			}
		}
		b.Append(r)
	}
	out.bytes = slices.Clone(b.Bytes())
	out.read()
	return out
}

// end ends the producer's transaction, if it has one; now and then without.
func (s *story) end(p *part, id int64) *batch {
	have := p.hist.fold().producers[id]
	if have == nil || have.first < 0 && s.rng.IntN(8) > 0 {
		return nil
	}
	out := &batch{ends: record.ControlType(s.rng.IntN(2)), by: have.by}
	if out.by < coordinators {
		out.by = max(out.by, 0) + int32(s.rng.IntN(2))
	}
	out.bytes = record.EndTxnMarker(record.Producer{ID: id, Epoch: have.epoch}, out.ends, out.by, p.clock)
	record.Stamp(out.bytes, p.hist.end(), p.epoch)
	out.read()
	return out
}

// read fills in the header and the records.
func (b *batch) read() {
	var err error
	if b.head, err = record.Check(b.bytes); err == nil {
		b.entries, err = entriesOf(b.bytes)
	}
	if err != nil {
		panic(fmt.Sprintf("the story wrote a batch that is none: %v", err))
	}
}
