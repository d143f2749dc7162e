package record

import (
	"encoding/binary"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Thinner takes records out of batches, for compaction. The zero value is ready;
// its buffers are kept from one batch to the next.
//
//	err := t.Thin(batch, keep)
//	if t.Whole() { the batch is as it was } else { use(t.Batch(-1)) }
//
// What stays is the same to the bit: offsets, timestamps, headers and codec, the
// batch's last offset, its producer and sequences, its leader epoch and its kind
// of timestamp. Length, count, largest timestamp and CRC follow from what stays.
type Thinner struct {
	reader Reader
	enc    encoders
	batch  []byte
	head   Header
	runs   []run  // where those that stay lie in the batch, if it is not compressed
	body   []byte // the records that stay, as they were
	moved  []byte // and with timestamps from another base
	out    []byte

	kept       int32
	newest     int64
	tombstones bool
}

// run is a part of a batch.
type run struct{ from, to int }

// Thin opens a checked batch and asks for each record whether it stays. The
// record's headers are not filled in, and it is good until keep returns. The
// batch must stay untouched until the last call of Batch.
func (t *Thinner) Thin(batch []byte, keep func(*Record) bool) error {
	t.batch, t.body, t.runs, t.kept, t.tombstones, t.newest = batch, t.body[:0], t.runs[:0], 0, false, kafka.NoTimestamp
	r := &t.reader
	r.Reset(batch, DefaultLimit)
	r.Bare()
	t.head = r.head
	for at := r.win.r; r.Next(); at = r.win.r {
		rec := &r.rec
		if !keep(rec) {
			continue
		}
		t.kept++
		t.newest = max(t.newest, rec.Timestamp)
		t.tombstones = t.tombstones || rec.Value == nil
		if t.head.Attributes.Codec() == None {
			t.extend(HeaderSize+at, HeaderSize+r.win.r)
			continue
		}
		t.body = binary.AppendVarint(t.body, int64(len(r.raw)))
		t.body = append(t.body, r.raw...)
	}
	return r.err
}

func (t *Thinner) extend(from, to int) {
	if n := len(t.runs); n > 0 && t.runs[n-1].to == from {
		t.runs[n-1].to = to
		return
	}
	t.runs = append(t.runs, run{from, to})
}

// gather collects the runs.
func (t *Thinner) gather() {
	for _, r := range t.runs {
		t.body = append(t.body, t.batch[r.from:r.to]...)
	}
	t.runs = t.runs[:0]
}

// Kept is how many records stay.
func (t *Thinner) Kept() int { return int(t.kept) }

// Whole tells that all stay.
func (t *Thinner) Whole() bool { return t.kept == t.head.Count }

// Tombstones tells that a record without a value stays.
func (t *Thinner) Tombstones() bool { return t.tombstones }

// Batch builds the batch of what stays; good until the next call of the thinner.
// With horizon ≥ 0 (ms) it becomes the batch's delete horizon (KIP-534), which
// takes the place of the base timestamp: the records' deltas change with it.
func (t *Thinner) Batch(horizon int64) ([]byte, error) {
	t.gather()
	body, attributes, base := t.body, t.head.Attributes, t.head.BaseTimestamp
	if horizon >= 0 {
		var err error
		if body, err = t.rebase(horizon); err != nil {
			return nil, err
		}
		attributes, base = attributes|DeleteHorizon, horizon
	} else if t.kept == 0 {
		return Empty(&t.head), nil
	}
	newest := t.newest
	if attributes.Has(AppendTime) {
		newest = t.head.MaxTimestamp
	}
	t.out = append(t.out[:0], t.batch[:HeaderSize]...)
	t.out = t.enc.append(t.out, attributes.Codec(), DefaultLevel, body)
	be := binary.BigEndian
	be.PutUint32(t.out[posLength:], uint32(len(t.out)-Overhead))
	be.PutUint16(t.out[posAttributes:], uint16(attributes))
	be.PutUint64(t.out[posBaseTimestamp:], uint64(base))
	be.PutUint64(t.out[posMaxTimestamp:], uint64(newest))
	be.PutUint32(t.out[posCount:], uint32(t.kept))
	seal(t.out)
	return t.out, nil
}

// rebase writes the records' timestamps as from another base.
func (t *Thinner) rebase(base int64) ([]byte, error) {
	t.moved = t.moved[:0]
	p := parser{b: t.body}
	for len(p.b) > 0 && !p.bad {
		n := p.varint()
		if p.bad || n < 1 || n > int64(len(p.b)) {
			break
		}
		rec := parser{b: p.b[:n]}
		attributes := rec.b[0]
		rec.skip(1)
		delta := rec.varint() + t.head.BaseTimestamp - base
		if rec.bad {
			break
		}
		t.moved = binary.AppendVarint(t.moved, int64(1+varintSize(delta)+len(rec.b)))
		t.moved = append(t.moved, attributes)
		t.moved = binary.AppendVarint(t.moved, delta)
		t.moved = append(t.moved, rec.b...)
		p.skip(int(n))
	}
	if len(p.b) > 0 || p.bad {
		return nil, fmt.Errorf("batch at offset %d: %w: %w", t.head.BaseOffset, errMalformed, kafka.CorruptMessage)
	}
	return t.moved, nil
}

// Release drops what refers to batches, and buffers too large to keep.
func (t *Thinner) Release() {
	t.reader.Release()
	t.batch = nil
	for _, b := range []*[]byte{&t.body, &t.moved, &t.out} {
		if cap(*b) > keepSize {
			*b = nil
		}
	}
}
