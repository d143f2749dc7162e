package record

import (
	"errors"
	"fmt"
	"io"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Record is one record of a batch. What a [Reader] gives is a view of its
// buffer, good until the next call of Next; clone what must live longer.
type Record struct {
	Offset    int64
	Timestamp int64 // ms; the broker's for the whole batch under LogAppendTime
	Key       []byte
	Value     []byte
	Headers   []RecordHeader
}

// RecordHeader is a header of a record (KIP-82). The value may be null.
type RecordHeader struct {
	Key   string
	Value []byte
}

// DefaultLimit is to how many bytes a batch may expand unless said otherwise.
// Honest ratios are huge (zstd packs repeats more than 10,000 times), so the
// limit is absolute and not a ratio.
const DefaultLimit = 256 << 20

// errMalformed is the class of records that do not parse.
var errMalformed = errors.New("malformed records")

// Reader opens batches one after another and yields their records. The zero
// value is ready; its buffers and decompressors are kept from one batch to the
// next, so reuse it (see [Pool]). On an uncompressed batch without headers it
// allocates nothing.
//
//	for r.Reset(batch, record.DefaultLimit); r.Next(); {
//		use(r.Record())
//	}
//	return r.Err()
//
// It trusts the batch in nothing but that it was checked: wrong lengths, counts
// and compressed data end in an error that wraps CORRUPT_MESSAGE.
type Reader struct {
	head   Header
	win    window
	dec    decoders
	rec    Record
	seen   int32
	last   int64 // offset delta of the record before
	err    error
	shapes bool // look at shapes only: keys and values are not held
	bare   bool // leave the headers of records out
	raw    []byte
	key    int64 // their sizes then, -1 for null
	value  int64
}

// Reset begins with batch, which must be exactly one checked batch and stay
// untouched until the last Next. Expanding to more than limit bytes is an
// error. Errors show in [Reader.Err] once Next is false.
func (r *Reader) Reset(batch []byte, limit int64) {
	r.seen, r.last, r.err, r.rec, r.shapes, r.bare = 0, -1, nil, Record{Headers: r.rec.Headers[:0]}, false, false
	r.head, r.err = ParseHeader(batch)
	if r.err != nil {
		return
	}
	body := batch[HeaderSize:]
	if r.head.Attributes.Codec() == None {
		r.win.reset(body, nil, int64(len(body)))
		return
	}
	src, err := r.dec.open(r.head.Attributes.Codec(), body, limit)
	if err != nil {
		if !errors.Is(err, errLimit) {
			err = fmt.Errorf("%w: %w", errExpand, err)
		}
		r.err = r.wrap(err)
		return
	}
	r.win.reset(nil, src, limit)
}

// Bare makes the reader leave the headers of records out, which then costs
// nothing for them. Call it after Reset.
func (r *Reader) Bare() { r.bare = true }

// Header is the header of the batch that Reset was given.
func (r *Reader) Header() *Header { return &r.head }

// Next moves to the next record; false at the end or on an error.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	if r.seen == r.head.Count {
		if err := r.win.end(); err != nil {
			r.err = r.wrap(fmt.Errorf("after the last of %d records: %w", r.head.Count, err))
		}
		return false
	}
	var err error
	if r.shapes {
		err = r.shape()
	} else {
		err = r.whole()
	}
	if err != nil {
		r.err = r.wrap(err)
		return false
	}
	r.seen++
	return true
}

// Record is the record that Next moved to.
func (r *Reader) Record() *Record { return &r.rec }

// Err is what stopped Next, nil at the regular end.
func (r *Reader) Err() error { return r.err }

// Release drops what refers to the batch, and buffers too large to keep.
func (r *Reader) Release() {
	r.win.release()
	r.dec.release()
	clear(r.rec.Headers[:cap(r.rec.Headers)])
	r.rec, r.raw = Record{Headers: r.rec.Headers[:0]}, nil
	if cap(r.rec.Headers) > 1024 {
		r.rec.Headers = nil
	}
}

func (r *Reader) wrap(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("batch at offset %d, record %d: %w: %w", r.head.BaseOffset, r.seen, err, kafka.CorruptMessage)
}

// whole reads one record with all that is in it.
func (r *Reader) whole() error {
	size, err := r.win.varint()
	if err != nil {
		return err
	}
	if size < 0 || size > 1<<31-1 {
		return fmt.Errorf("record of %d bytes: %w", size, errMalformed)
	}
	b, err := r.win.take(int(size))
	if err != nil {
		return err
	}
	p := parser{b: b}
	p.skip(1) // attributes: none are defined
	r.raw = b
	r.stamp(p.varint(), p.varint())
	r.rec.Key = p.bytes()
	r.rec.Value = p.bytes()
	if r.bare && !p.bad {
		return nil
	}
	n := p.varint()
	if n < 0 || n > int64(len(p.b))/2 {
		return fmt.Errorf("%d headers in %d bytes: %w", n, len(p.b), errMalformed)
	}
	r.rec.Headers = r.rec.Headers[:0]
	for range n {
		k := p.bytes()
		if k == nil {
			p.bad = true
		}
		r.rec.Headers = append(r.rec.Headers, RecordHeader{Key: string(k), Value: p.bytes()})
	}
	if p.bad || len(p.b) != 0 {
		return fmt.Errorf("record of %d bytes does not hold its fields: %w", size, errMalformed)
	}
	return nil
}

// stamp sets time and offset of the record from its deltas.
func (r *Reader) stamp(ts, delta int64) {
	r.rec.Offset = r.head.BaseOffset + delta
	r.rec.Timestamp = r.head.BaseTimestamp + ts
	if r.head.Attributes.Has(AppendTime) {
		r.rec.Timestamp = r.head.MaxTimestamp
	}
}

// parser reads fields off the front of b; bad stays set after the first fault.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) skip(n int) {
	if len(p.b) < n {
		p.bad, n = true, len(p.b)
	}
	p.b = p.b[n:]
}

func (p *parser) varint() int64 {
	v, n := varint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

// bytes reads a length and that many bytes: nil for a negative length.
func (p *parser) bytes() []byte {
	n := p.varint()
	if n < 0 || p.bad {
		return nil
	}
	if n > int64(len(p.b)) {
		p.bad, p.b = true, nil
		return nil
	}
	v := p.b[:n:n]
	p.b = p.b[n:]
	return v
}

// shape reads one record without holding its key, value and headers: only
// their sizes and whether they are null. It serves to validate what may expand
// to anything.
func (r *Reader) shape() error {
	size, err := r.win.varint()
	if err != nil {
		return err
	}
	if size < 0 || size > 1<<31-1 {
		return fmt.Errorf("record of %d bytes: %w", size, errMalformed)
	}
	s := shaper{win: &r.win, end: r.win.used + size}
	s.skip(1)
	r.stamp(s.varint(), s.varint())
	r.key, r.value = s.bytes(), s.bytes()
	n := s.varint()
	if n < 0 || n > s.left()/2 {
		return fmt.Errorf("%d headers in %d bytes: %w", n, s.left(), errMalformed)
	}
	for ; n > 0 && s.err == nil; n-- {
		if s.bytes() < 0 {
			s.fail()
		}
		s.bytes()
	}
	if s.err == nil && s.left() != 0 {
		s.fail()
	}
	return s.err
}

// shaper walks the fields of one record, which ends at end.
type shaper struct {
	win *window
	end int64
	err error
}

func (s *shaper) left() int64 { return s.end - s.win.used }

func (s *shaper) fail() {
	if s.err == nil {
		s.err = fmt.Errorf("record does not hold its fields: %w", errMalformed)
	}
}

func (s *shaper) skip(n int64) {
	switch {
	case s.err != nil:
	case n > s.left():
		s.fail()
	default:
		s.err = s.win.skip(n)
	}
}

func (s *shaper) varint() (v int64) {
	if s.err == nil {
		v, s.err = s.win.varint()
	}
	if s.left() < 0 {
		s.fail()
	}
	return v
}

// bytes skips what follows a length and gives the length, -1 for null.
func (s *shaper) bytes() int64 {
	n := s.varint()
	if n < 0 {
		return -1
	}
	s.skip(n)
	return n
}
