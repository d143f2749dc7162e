package commitlog

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/record"
)

// Undo remembers what [ProducerState.Take] changed, so that batches which then
// found no room on the disk leave no trace: one that is sent again must not pass
// for a duplicate of what is not there. It is used again and again, and then
// allocates nothing. The zero value is empty.
type Undo struct{ before []producerBefore }

// producerBefore is a producer as it was before one batch.
type producerBefore struct {
	was   producer
	known bool
	last  int64 // offset of the batch
}

// Reset forgets what is remembered.
func (u *Undo) Reset() { u.before = u.before[:0] }

// Take is Update, and notes in u what it changes.
func (p *ProducerState) Take(h *record.Header, u *Undo) {
	if !h.Idempotent() || h.Attributes.Has(record.Control) {
		return
	}
	p.mu.Lock()
	b := producerBefore{was: producer{id: h.ProducerID, txnFirst: -1}, last: h.LastOffset()}
	if e := p.byID[h.ProducerID]; e != nil {
		b.was, b.known = *e, true
	}
	p.mu.Unlock()
	u.before = append(u.before, b)
	p.Update(h)
}

// Restore takes back the batches from offset end on, which were taken but are
// not in the log.
func (p *ProducerState) Restore(u *Undo, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(u.before) - 1; i >= 0 && u.before[i].last >= end; i-- {
		b := &u.before[i]
		e := p.byID[b.was.id]
		switch {
		case e == nil:
			continue
		case !b.known:
			delete(p.byID, b.was.id)
		default:
			*e = b.was
		}
		p.open = slices.DeleteFunc(p.open, func(t txn) bool { return t.producer == b.was.id && t.first != b.was.txnFirst })
	}
}
