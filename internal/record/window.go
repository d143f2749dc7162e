package record

import (
	"errors"
	"fmt"
	"io"
)

const (
	// windowSize is how much of an expanding batch is held at once, unless a
	// record is larger.
	windowSize = 64 << 10
	// keepSize is the largest buffer worth keeping for the next batch.
	keepSize = 1 << 20
)

// The classes of compressed data that cannot be expanded: too far, or at all.
var (
	errLimit  = errors.New("batch expands beyond the limit")
	errExpand = errors.New("compressed data is broken")
)

// window is the part of a batch's records that is in memory: all of them where
// they are not compressed (src is nil), else what the parser asked for.
type window struct {
	buf  []byte // own, when src is set
	r, w int    // buf[r:w] is there and not yet used
	src  io.Reader
	left int64 // how much more may come
	used int64 // how much was taken or skipped
	own  []byte
}

func (w *window) reset(whole []byte, src io.Reader, limit int64) {
	w.src, w.left, w.used, w.r = src, limit, 0, 0
	if src == nil {
		w.buf, w.w = whole, len(whole)
		return
	}
	if w.own == nil {
		w.own = make([]byte, windowSize)
	}
	w.buf, w.w = w.own, 0
}

func (w *window) release() {
	w.buf, w.src, w.r, w.w = nil, nil, 0, 0
	if cap(w.own) > keepSize {
		w.own = nil
	}
}

// take uses n bytes, which stay valid until the next call.
func (w *window) take(n int) ([]byte, error) {
	if err := w.need(n); err != nil {
		return nil, err
	}
	b := w.buf[w.r : w.r+n : w.r+n]
	w.r += n
	w.used += int64(n)
	return b, nil
}

// skip uses n bytes without holding them.
func (w *window) skip(n int64) error {
	w.used += n
	for n > int64(w.w-w.r) {
		if w.src == nil {
			return io.ErrUnexpectedEOF
		}
		n -= int64(w.w - w.r)
		w.r, w.w = 0, 0
		if err := w.fill(); err != nil {
			return err
		}
	}
	w.r += int(n)
	return nil
}

// need waits until n bytes are there. A record's length is a stranger's word,
// so the buffer doubles as bytes arrive instead of growing to n at once.
func (w *window) need(n int) error {
	for w.w-w.r < n {
		if w.src == nil {
			return io.ErrUnexpectedEOF
		}
		if int64(n-(w.w-w.r)) > w.left {
			return errLimit
		}
		if w.r > 0 {
			w.w = copy(w.buf, w.buf[w.r:w.w])
			w.r = 0
		}
		if w.w == len(w.buf) {
			w.own = append(w.buf, make([]byte, len(w.buf))...)
			w.own = w.own[:cap(w.own)]
			w.buf = w.own
		}
		if err := w.fill(); err != nil {
			return err
		}
	}
	return nil
}

// fill reads once into the free end of the buffer.
func (w *window) fill() error {
	for range 100 {
		n, err := w.src.Read(w.buf[w.w:])
		w.w += n
		w.left -= int64(n)
		if w.left < 0 {
			return errLimit
		}
		if n > 0 {
			return nil
		}
		switch {
		case err == io.EOF: // the end of what there is, itself in order
			return err
		case errors.Is(err, errLimit):
			return err
		case err != nil:
			return fmt.Errorf("%w: %w", errExpand, err)
		}
	}
	return io.ErrNoProgress
}

// end is an error unless nothing is left. A stream may break just there: its
// checksum comes last.
func (w *window) end() error {
	if w.r == w.w {
		if w.src == nil {
			return nil
		}
		w.r, w.w = 0, 0
		if err := w.fill(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
	return fmt.Errorf("more bytes: %w", errMalformed)
}

// varint reads a zigzag varint.
func (w *window) varint() (int64, error) {
	for {
		v, n := varint(w.buf[w.r:w.w])
		switch {
		case n > 0:
			w.r += n
			w.used += int64(n)
			return v, nil
		case n < 0:
			return 0, fmt.Errorf("varint of more than 64 bits: %w", errMalformed)
		}
		if err := w.need(w.w - w.r + 1); err != nil {
			return 0, err
		}
	}
}

// varint reads a zigzag varint off b: n is its size, 0 if b ends in it, less if
// it does not fit 64 bits.
func varint(b []byte) (v int64, n int) {
	var u uint64
	for i, c := range b {
		if i == 9 && c > 1 || i > 9 {
			return 0, -1
		}
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + 1
		}
	}
	return 0, 0
}
