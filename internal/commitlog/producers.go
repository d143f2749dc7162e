package commitlog

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// remembered is how many batches of a producer can be told apart as duplicates:
// as many as a client has in flight at once.
const remembered = 5

// ProducerState knows what each producer wrote last, so that a batch sent twice
// is stored once and none is missing in between (KIP-98), and which transactions
// are open.
//
// Check and Update belong to whoever holds the replica's turn; the others may be
// called at any time.
type ProducerState struct {
	mu   sync.Mutex // memory only
	byID map[int64]*producer

	// Transactions in the order of their first offsets: open ones, and those
	// that ended but are not known to be committed, see FirstUnstable.
	open  []txn
	ended []txn
}

// Producer describes one producer, for DescribeProducers.
type Producer struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // -1 if only a marker is known
	LastTimestamp    int64 // ms
	CoordinatorEpoch int32 // of the last marker; -1 if there was none
	TxnFirst         int64 // first offset of the open transaction; -1 if none
}

// Verdict is what Check says of a batch that is in order or a duplicate. For a
// duplicate, the rest tells where the original is.
type Verdict struct {
	Duplicate bool
	Base      int64
	Last      int64
	Timestamp int64
}

type producer struct {
	id               int64
	epoch            int16
	coordinatorEpoch int32
	timestamp        int64
	txnFirst         int64 // -1: no open transaction
	batches          [remembered]batchTrace
	n                int // how many of batches count; the last is the newest
	// older is what was there before the epoch, while its first batch was taken
	// in and may not have been appended.
	older *producer
	doubt bool // it may have written more, which was lost
}

type batchTrace struct {
	lastSequence int32
	delta        int32 // last offset − first offset
	lastOffset   int64
	timestamp    int64
}

func (b *batchTrace) firstSequence() int32 {
	return int32((int64(b.lastSequence) - int64(b.delta)) & math.MaxInt32)
}

type txn struct{ producer, first, last int64 }

func newProducerState() *ProducerState {
	return &ProducerState{byID: map[int64]*producer{}}
}

// Check says whether a batch of an idempotent producer may be appended.
//
// The rules are Kafka's. A batch equal in epoch and sequences to one of the last
// five is a duplicate. A producer that is not known may begin anywhere: its
// state may have expired. Otherwise: an older epoch is INVALID_PRODUCER_EPOCH;
// a newer one begins at sequence 0, the same one goes on where it was (after
// the largest int32 comes 0), or it is OUT_OF_ORDER_SEQUENCE_NUMBER; a plain
// batch inside an open transaction is INVALID_TXN_STATE.
func (p *ProducerState) Check(h *record.Header) (Verdict, error) {
	if !h.Idempotent() {
		return Verdict{}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[h.ProducerID]
	if e == nil {
		return Verdict{}, nil
	}
	if h.ProducerEpoch < e.epoch && !invariant.Planted("replica/zombie") {
		return Verdict{}, fmt.Errorf("producer %d has epoch %d, the batch %d: %w",
			h.ProducerID, e.epoch, h.ProducerEpoch, kafka.InvalidProducerEpoch)
	}
	if h.ProducerEpoch == e.epoch {
		last := h.LastSequence()
		for i := e.n - 1; i >= 0; i-- {
			b := &e.batches[i]
			if b.lastSequence == last && b.firstSequence() == h.BaseSequence {
				return Verdict{Duplicate: true, Base: b.lastOffset - int64(b.delta), Last: b.lastOffset, Timestamp: b.timestamp}, nil
			}
		}
	}
	if want := e.nextSequence(h.ProducerEpoch); h.BaseSequence != want && (!e.doubt || h.BaseSequence < want) {
		return Verdict{}, fmt.Errorf("producer %d, epoch %d: sequence %d, expected %d: %w",
			h.ProducerID, h.ProducerEpoch, h.BaseSequence, want, kafka.OutOfOrderSequenceNumber)
	}
	if e.txnFirst >= 0 && h.ProducerEpoch == e.epoch && !h.Attributes.Has(record.Transactional) {
		return Verdict{}, fmt.Errorf("producer %d writes outside its open transaction: %w", h.ProducerID, kafka.InvalidTxnState)
	}
	return Verdict{}, nil
}

func (e *producer) nextSequence(epoch int16) int32 {
	if epoch != e.epoch || e.n == 0 {
		return 0
	}
	return record.AddSequence(e.batches[e.n-1].lastSequence, 1)
}

// CheckEpoch says whether a coordinator may write in the name of a producer: its
// epoch must not be older than the one seen (INVALID_PRODUCER_EPOCH).
func (p *ProducerState) CheckEpoch(id int64, epoch int16) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byID[id]; e != nil && epoch < e.epoch {
		return fmt.Errorf("producer %d has epoch %d, the batch %d: %w", id, e.epoch, epoch, kafka.InvalidProducerEpoch)
	}
	return nil
}

// Inside says whether a producer has a transaction open in this epoch.
func (p *ProducerState) Inside(id int64, epoch int16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[id]
	return e != nil && e.txnFirst >= 0 && e.epoch == epoch
}

// Knows says whether anything is known of a producer.
func (p *ProducerState) Knows(id int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id] != nil
}

// CheckMarker says whether a coordinator may end a producer's transaction: its
// epochs must not be older than those seen (INVALID_PRODUCER_EPOCH,
// TRANSACTION_COORDINATOR_FENCED).
func (p *ProducerState) CheckMarker(id int64, epoch int16, coordinatorEpoch int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[id]
	switch {
	case e == nil:
		return nil
	case epoch < e.epoch:
		return fmt.Errorf("producer %d has epoch %d, the marker %d: %w", id, e.epoch, epoch, kafka.InvalidProducerEpoch)
	case coordinatorEpoch < e.coordinatorEpoch:
		return fmt.Errorf("producer %d was ended by coordinator epoch %d, the marker has %d: %w",
			id, e.coordinatorEpoch, coordinatorEpoch, kafka.TransactionCoordinatorFenced)
	}
	return nil
}

// Update takes a data batch in that was, or is about to be, appended; h has its
// final base offset. A batch that is in already changes nothing.
func (p *ProducerState) Update(h *record.Header) {
	if !h.Idempotent() || h.Attributes.Has(record.Control) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entryLocked(h.ProducerID)
	if o := e.older; o != nil && o.epoch == h.ProducerEpoch && o.n > 0 && o.batches[o.n-1].lastOffset >= h.LastOffset() {
		return // it is in, and a batch of the next epoch is appended together with it
	}
	if e.n == 0 || h.ProducerEpoch != e.epoch || e.batches[e.n-1].lastOffset < h.LastOffset() {
		if h.ProducerEpoch != e.epoch && e.epoch != kafka.NoProdEpoch {
			older := *e
			older.older, e.older = nil, &older
		}
		e.setEpoch(h.ProducerEpoch)
		e.doubt = false
		e.remember(batchTrace{
			lastSequence: h.LastSequence(), delta: h.LastOffsetDelta, lastOffset: h.LastOffset(), timestamp: h.MaxTimestamp,
		})
		e.timestamp = h.MaxTimestamp
	} else {
		e.older = nil // it has been appended
	}
	// Also for one that is in already: the marker of the transaction before
	// may have been appended together with it, after it was taken in.
	if h.Attributes.Has(record.Transactional) && e.txnFirst < 0 {
		e.txnFirst = h.BaseOffset
		n := len(p.open)
		for n > 0 && p.open[n-1].first > h.BaseOffset {
			n--
		}
		p.open = slices.Insert(p.open, n, txn{producer: e.id, first: h.BaseOffset})
	}
}

func (p *ProducerState) entryLocked(id int64) *producer {
	e := p.byID[id]
	if e == nil {
		e = &producer{id: id, epoch: kafka.NoProdEpoch, coordinatorEpoch: -1, txnFirst: -1, timestamp: kafka.NoTimestamp}
		p.byID[id] = e
	}
	return e
}

// remember adds the newest batch.
func (e *producer) remember(t batchTrace) {
	if e.n == remembered {
		copy(e.batches[:], e.batches[1:])
		e.n--
	}
	e.batches[e.n] = t
	e.n++
}

// asOf is the producer as it was before an offset, nil if it was not there.
func (e *producer) asOf(at int64) *producer {
	if e != nil && e.n > 0 && e.batches[0].lastOffset >= at {
		return e.older.asOf(at)
	}
	return e
}

// setEpoch begins a new epoch, which knows no batches yet.
func (e *producer) setEpoch(epoch int16) {
	if epoch != e.epoch {
		e.epoch, e.n = epoch, 0
	}
}

// end takes a marker in. If it rolls an open transaction back, that comes back.
func (p *ProducerState) end(h *record.Header, t record.ControlType, coordinatorEpoch int32) (AbortedTxn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entryLocked(h.ProducerID)
	e.coordinatorEpoch = coordinatorEpoch
	if older := e.older; older != nil && older.epoch == h.ProducerEpoch {
		// A batch of the next epoch is appended together with it.
		older.coordinatorEpoch, older.timestamp, older.txnFirst = coordinatorEpoch, h.MaxTimestamp, -1
	} else {
		e.setEpoch(h.ProducerEpoch)
		e.timestamp = h.MaxTimestamp
	}
	first := e.txnFirst
	if first < 0 || first > h.BaseOffset {
		// An empty transaction, or the marker came twice; what is open may
		// be the next one, of a batch that is appended together with it.
		return AbortedTxn{}, false
	}
	e.txnFirst = -1
	p.open = slices.DeleteFunc(p.open, func(t txn) bool { return t.producer == e.id })
	p.ended = append(p.ended, txn{producer: e.id, first: first, last: h.LastOffset()})
	stable := h.LastOffset() + 1
	if len(p.open) > 0 {
		stable = min(stable, p.open[0].first) // it may lie behind, see Update
	}
	return AbortedTxn{ProducerID: e.id, First: first, Last: h.LastOffset(), Stable: stable}, t == record.Abort
}

// doubt says that batches were lost here: any producer may have written some, so
// it may go on at a later sequence than its next. What is known of its last
// batches still tells duplicates.
func (p *ProducerState) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.byID {
		e.doubt = true
	}
}

// lost ends a transaction whose abort marker lies in damage.
func (p *ProducerState) lost(a AbortedTxn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.byID[a.ProducerID]; e != nil && e.txnFirst == a.First {
		e.txnFirst = -1
		p.open = slices.DeleteFunc(p.open, func(t txn) bool { return t.producer == e.id })
	}
}

// FirstUnstable gives the first offset that a read_committed reader may not pass
// while the high watermark is hw: the begin of a transaction that is open, or of
// one whose marker is not below hw. hw must never be less than in a call before.
func (p *ProducerState) FirstUnstable(hw int64) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = slices.DeleteFunc(p.ended, func(t txn) bool { return t.last < hw })
	first := int64(math.MaxInt64)
	if len(p.open) > 0 {
		first = p.open[0].first
	}
	for _, t := range p.ended {
		first = min(first, t.first)
	}
	return first, first != math.MaxInt64
}

// Describe lists the producers by id.
func (p *ProducerState) Describe() []Producer {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Producer, 0, len(p.byID))
	for _, e := range p.byID {
		d := Producer{ID: e.id, Epoch: e.epoch, LastSequence: kafka.NoSequence, LastTimestamp: e.timestamp,
			CoordinatorEpoch: e.coordinatorEpoch, TxnFirst: e.txnFirst}
		if e.n > 0 {
			d.LastSequence = e.batches[e.n-1].lastSequence
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Producer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// expire forgets producers that wrote nothing since before (ms) and have no open
// transaction.
func (p *ProducerState) expire(before int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, e := range p.byID {
		if e.txnFirst < 0 && e.timestamp < before {
			delete(p.byID, id)
		}
	}
	if len(p.byID) == 0 { // a map gives nothing back that it ever had
		p.byID = map[int64]*producer{}
	}
}

// any tells whether a producer is known.
func (p *ProducerState) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byID) > 0
}

// reset forgets everything.
func (p *ProducerState) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID, p.open, p.ended = map[int64]*producer{}, nil, nil
}

// startMoved drops ended transactions that lie below the log's new start.
func (p *ProducerState) startMoved(start int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = slices.DeleteFunc(p.ended, func(t txn) bool { return t.last < start })
}
