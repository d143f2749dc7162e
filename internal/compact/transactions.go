package compact

import (
	"cmp"
	"slices"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
)

// transactions follows the transactions of a walk over a log, as they are all
// decided below the bound: which data was rolled back, and which markers have
// data before them that is still there.
type transactions struct {
	coming    []commitlog.AbortedTxn // by first offset: not yet reached
	aborted   map[int64]*rollback    // by producer: those the walk is in
	committed map[int64]struct{}     // producers whose data of the open transaction was met
}

// rollback is a rolled back transaction that the walk is in.
type rollback struct {
	txn  commitlog.AbortedTxn
	data bool // some of it was met
}

func newTransactions() *transactions {
	return &transactions{aborted: map[int64]*rollback{}, committed: map[int64]struct{}{}}
}

// add announces rolled back transactions of what the walk comes to next.
func (t *transactions) add(list []commitlog.AbortedTxn) {
	t.coming = append(t.coming, list...)
	slices.SortStableFunc(t.coming, func(a, b commitlog.AbortedTxn) int { return cmp.Compare(a.First, b.First) })
}

// reach moves the walk up to offset.
func (t *transactions) reach(offset int64) {
	n := 0
	for ; n < len(t.coming) && t.coming[n].First <= offset; n++ {
		if id := t.coming[n].ProducerID; t.aborted[id] == nil {
			t.aborted[id] = &rollback{txn: t.coming[n]}
		}
	}
	t.coming = t.coming[n:]
}

// data takes in a data batch and tells whether it was rolled back.
func (t *transactions) data(h *record.Header) bool {
	t.reach(h.LastOffset())
	if !h.Attributes.Has(record.Transactional) {
		return false
	}
	if r := t.aborted[h.ProducerID]; r != nil {
		r.data = true
		return true
	}
	t.committed[h.ProducerID] = struct{}{}
	return false
}

// marker takes in a control batch; kind is that of its record, none says that
// there is no record. empty tells that nothing of its transaction was met, so
// that it may go in time; else txn, if its producer is not -1, is the
// rolled back transaction that it ends.
func (t *transactions) marker(h *record.Header, kind record.ControlType, none bool) (empty bool, txn commitlog.AbortedTxn) {
	t.reach(h.LastOffset())
	txn.ProducerID = -1
	switch {
	case none:
		return true, txn
	case kind == record.Abort:
		r := t.aborted[h.ProducerID]
		delete(t.aborted, h.ProducerID)
		if r == nil || !r.data {
			return true, txn
		}
		return false, r.txn
	case kind == record.Commit:
		_, data := t.committed[h.ProducerID]
		delete(t.committed, h.ProducerID)
		return !data, txn
	}
	return false, txn
}
