package compact

import (
	"context"
	"errors"
	"fmt"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
)

// Stats are the figures of one round.
type Stats struct {
	Dirty, End               int64 // what was dirty when it began, and is clean now
	IndexedBytes             int64 // read to learn the keys
	ReadBytes, WrittenBytes  int64 // by the rewriting
	ReadRecords, KeptRecords int64
	Keyless                  int64   // records without a key, which a compacted log loses
	Fill                     float64 // of the table of keys
	Millis                   int64
}

// round is one cleaning of one log.
type round struct {
	log  commitlog.Rewriter
	plan plan
	conf commitlog.Tunables
	hw   int64
	now  int64 // ms; for delete horizons
	pace func(bytes int) error

	keys    *keys
	mapped  int64          // the keys of all records up to here are in keys
	durable int64          // producers are known by what lies below
	plain   bool           // the segment being indexed has nothing but values with keys
	intact  map[int64]bool // segments that were plain, by base
	tx      *transactions
	reader  record.Reader
	thin    record.Thinner
	batch   record.Header // the one being rewritten
	stats   Stats
}

// errFull ends the indexing where the keys have no more room.
var errFull = errors.New("no room for more keys")

// clean runs a round. The error of a log that others changed meanwhile is
// [commitlog.ErrOvertaken]: nothing is wrong, another round will do.
func (r *round) clean(ctx context.Context) error {
	defer r.reader.Release()
	defer r.thin.Release()
	if r.log.Flushed() < r.plan.bound {
		if err := r.log.Flush(); err != nil {
			return err
		}
	}
	r.durable = r.log.Flushed()
	r.stats.Dirty = r.plan.dirty
	if err := r.index(ctx); err != nil {
		return err
	}
	if err := r.rewrite(ctx); err != nil {
		return err
	}
	r.stats.End, r.stats.Fill = r.mapped+1, r.keys.fill()
	return nil
}

// walk visits the batches of a segment.
func (r *round) walk(ctx context.Context, s *commitlog.ClosedSegment, visit func(h *record.Header, batch []byte) error) error {
	aborted, err := r.log.Aborted(s.Base, s.Next)
	if err != nil {
		return err
	}
	r.tx.add(aborted)
	return r.log.Scan(s.Base, func(h *record.Header, batch []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.pace(len(batch)); err != nil {
			return err
		}
		return visit(h, batch)
	})
}

// index learns the last offset of each key of the cleanable part.
func (r *round) index(ctx context.Context) error {
	r.tx, r.mapped, r.intact = newTransactions(), r.plan.dirty-1, map[int64]bool{}
	for _, s := range r.log.Closed() {
		if s.Next <= r.plan.dirty || s.Base >= r.plan.bound {
			continue
		}
		r.plain = s.Base >= r.plan.dirty
		err := r.walk(ctx, &s, r.indexBatch)
		if errors.Is(err, errFull) {
			return nil
		}
		if err != nil {
			return err
		}
		r.mapped = max(r.mapped, s.Next-1)
		if r.plain {
			r.intact[s.Base] = true
		}
	}
	return nil
}

func (r *round) indexBatch(h *record.Header, batch []byte) error {
	r.stats.IndexedBytes += int64(len(batch))
	r.plain = r.plain && h.Count > 0 && h.Attributes&(record.Control|record.Transactional) == 0
	if h.Attributes.Has(record.Control) {
		if _, _, err := r.marker(h, batch); err != nil {
			return err
		}
	} else if !r.tx.data(h) && h.LastOffset() >= r.plan.dirty {
		if err := r.indexRecords(batch); err != nil {
			return err
		}
	}
	r.mapped = max(r.mapped, h.LastOffset())
	return nil
}

func (r *round) indexRecords(batch []byte) error {
	r.reader.Reset(batch, record.DefaultLimit)
	r.reader.Bare()
	for r.reader.Next() {
		rec := r.reader.Record()
		r.plain = r.plain && rec.Key != nil && rec.Value != nil
		if rec.Key == nil || rec.Offset < r.plan.dirty {
			continue
		}
		if rec.Offset-r.plan.dirty > spanOf || !r.keys.put(rec.Key, rec.Offset) {
			r.mapped = rec.Offset - 1
			return errFull
		}
	}
	return r.reader.Err()
}

// marker takes a control batch into the transactions.
func (r *round) marker(h *record.Header, batch []byte) (empty bool, txn commitlog.AbortedTxn, err error) {
	r.reader.Reset(batch, record.DefaultLimit)
	if !r.reader.Next() {
		empty, txn = r.tx.marker(h, 0, true)
		return empty, txn, r.reader.Err()
	}
	kind, _, err := record.ParseEndTxnMarker(r.reader.Record())
	if err != nil {
		return false, txn, err
	}
	empty, txn = r.tx.marker(h, kind, false)
	return empty, txn, nil
}

// rewrite copies what is to stay of everything below the bound, a group of
// segments at a time. A segment that would be copied as it is is left as it is.
func (r *round) rewrite(ctx context.Context) error {
	r.tx = newTransactions()
	var segs []sized
	for _, s := range r.log.Closed() {
		if s.Base > r.mapped || s.Base >= r.plan.bound {
			break
		}
		offsets, times, err := r.log.IndexBytes(s.Base)
		if err != nil {
			return err
		}
		segs = append(segs, sized{s, offsets, times})
	}
	for _, g := range group(segs, r.conf.SegmentBytes, r.conf.IndexBytes) {
		if len(g) == 1 && r.intact[g[0].Base] && r.keys.allLast(g[0].Base, g[0].Next) {
			continue // all of it would stay, and it would be alone
		}
		if err := r.rewriteGroup(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) rewriteGroup(ctx context.Context, g []sized) (err error) {
	to, err := r.log.Replace(g[0].Base, g[len(g)-1].Next)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Discard()) }()
	for i := range g {
		err := r.walk(ctx, &g[i].ClosedSegment, func(h *record.Header, batch []byte) error { return r.rewriteBatch(to, h, batch) })
		if err != nil {
			return err
		}
	}
	return to.Commit()
}

// rewriteBatch copies what stays of a batch: all of it as it is, some of it, only
// its header, or nothing.
func (r *round) rewriteBatch(to *commitlog.Replacement, h *record.Header, batch []byte) error {
	r.stats.ReadBytes += int64(len(batch))
	r.stats.ReadRecords += int64(h.Count)
	control, horizon := h.Attributes.Has(record.Control), h.Attributes.Has(record.DeleteHorizon)
	var gone, empty bool // its records go; it is the marker of a transaction without data
	txn := commitlog.AbortedTxn{ProducerID: -1}
	if control {
		var err error
		if empty, txn, err = r.marker(h, batch); err != nil {
			return err
		}
		gone = empty && horizon && h.BaseTimestamp <= r.now
	} else {
		gone = r.tx.data(h)
	}
	r.batch = *h
	keep := r.keep
	switch {
	case gone:
		keep = nobody
	case control:
		keep = everybody
	}
	if err := r.thin.Thin(batch, keep); err != nil {
		return err
	}
	until := int64(-1)
	if !horizon && (r.thin.Tombstones() || empty) && r.thin.Kept() > 0 {
		until = r.now + r.conf.Compaction.DeleteRetention.Milliseconds()
	}
	if err := r.write(to, h, batch, until); err != nil {
		return err
	}
	if txn.ProducerID >= 0 {
		return to.AppendAborted(txn)
	}
	return nil
}

func nobody(*record.Record) bool    { return false }
func everybody(*record.Record) bool { return true }

// keep tells whether a record of the batch being rewritten stays.
func (r *round) keep(rec *record.Record) bool {
	switch {
	case rec.Offset > r.mapped:
		return true // a matter of the next round
	case rec.Key == nil:
		r.stats.Keyless++
		return false
	case rec.Value == nil && r.batch.Attributes.Has(record.DeleteHorizon) && r.now >= r.batch.BaseTimestamp:
		return false
	}
	return !r.keys.superseded(rec.Key, rec.Offset)
}

// write appends what the thinner left of a batch. With until ≥ 0 that becomes its
// delete horizon.
func (r *round) write(to *commitlog.Replacement, h *record.Header, batch []byte, until int64) error {
	r.stats.KeptRecords += int64(r.thin.Kept())
	out, same := batch, false
	switch {
	case r.thin.Kept() == 0 && !r.remembered(h):
		return nil
	case r.thin.Kept() == 0:
		out = record.Empty(h)
	case until >= 0 || !r.thin.Whole():
		var err error
		if out, err = r.thin.Batch(until); err != nil {
			return err
		}
	default:
		same = true
	}
	if !same {
		changed, err := record.ParseHeader(out)
		if err != nil {
			return fmt.Errorf("batch at %d, rewritten: %w", h.BaseOffset, err)
		}
		h = &changed
	}
	if err := r.pace(len(out)); err != nil {
		return err
	}
	r.stats.WrittenBytes += int64(len(out))
	return to.Append(h, out)
}

// remembered tells whether a batch without records stays for what its header
// says: how the log knows its producer, or where what is committed ends.
func (r *round) remembered(h *record.Header) bool {
	if h.NextOffset() == r.hw {
		return true
	}
	if !h.Idempotent() {
		return false
	}
	last, epoch, ok := r.log.Producers().LastOf(h.ProducerID, r.durable)
	if ok && last < 0 {
		return h.Attributes.Has(record.Control) && h.ProducerEpoch == epoch
	}
	return ok && last == h.LastOffset()
}
