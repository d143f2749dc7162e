package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// The bounds of a [Reader], each far above what a legitimate message needs.
const (
	// HeapPerByte and HeapFree give the heap that decoding a frame of N bytes
	// may take: HeapPerByte x N + HeapFree.
	HeapPerByte = 8
	HeapFree    = 64 << 10

	// MaxArray is the longest array, Kafka's own limit.
	MaxArray = 1_000_000

	// MaxTags is the largest number of tags in one struct.
	MaxTags = 1024

	// MaxString is the longest string, in bytes.
	MaxString = math.MaxInt16
)

// ErrInvalid is the class of every error of a [Reader]: the bytes are not what
// the protocol says they should be.
var ErrInvalid = errors.New("invalid message")

// Error says where a frame stopped making sense. It is an [ErrInvalid].
type Error struct {
	Offset int    // into the frame
	Reason string // in plain words
}

func (e *Error) Error() string {
	return fmt.Sprintf("invalid message at byte %d: %s", e.Offset, e.Reason)
}

// Unwrap makes every Error an [ErrInvalid].
func (e *Error) Unwrap() error { return ErrInvalid }

// Reader reads the primitive types from a frame. The zero Reader is at the end
// of an empty frame; Reset gives it another one.
//
// The first error sticks: everything read after it is zero or empty, and Err
// tells it. So a decoder reads on without looking, and asks once at the end.
//
// Bounds. A count is checked against the bytes that remain, divided by the
// smallest form of an element, before anything is allocated; what is asked of
// the allocator, which rounds up by a quarter at most, is charged against
// 8N + 64 KiB for a frame of N bytes; and each element and tag is a step, of
// which there are no more than 2N, since each has a byte of its own and only
// the last count can fall short. Strings are copied, as sent: UTF-8 is not
// checked. Bytes and records are not copied; they alias the frame.
type Reader struct {
	buf   []byte
	off   int
	heap  int // left of the budget
	steps int
	err   error
	names names // see Intern
}

// NewReader returns a Reader at the start of frame.
func NewReader(frame []byte) *Reader {
	r := new(Reader)
	r.Reset(frame)
	return r
}

// Reset puts r at the start of frame, with no error and a fresh budget.
func (r *Reader) Reset(frame []byte) {
	*r = Reader{buf: frame, heap: HeapPerByte*len(frame) + HeapFree, names: r.names}
}

// Intern makes r remember the strings it reads, over Reset, and return the same
// one instead of a copy. It pays where the same few names come again and again,
// as on one connection; it costs up to 32 KiB.
func (r *Reader) Intern() {
	if r.names == nil {
		r.names = make(names)
	}
}

// maxNames is how many strings a Reader remembers, each of maxName bytes at most.
const (
	maxNames = 128
	maxName  = 256
)

// names are the strings that a Reader remembers; nil remembers none.
type names map[string]string

// copy returns b as a string.
func (n names) copy(b []byte) string {
	if n == nil || len(b) > maxName {
		return string(b)
	}
	if s, ok := n[string(b)]; ok {
		return s
	}
	if len(n) == maxNames {
		clear(n)
	}
	s := string(b)
	n[s] = s
	return s
}

// Err is the first error, nil if there was none.
func (r *Reader) Err() error { return r.err }

// Failed says whether there was an error.
func (r *Reader) Failed() bool { return r.err != nil }

// Done is Err, and an error as well if bytes are left over.
func (r *Reader) Done() error {
	if r.off < len(r.buf) {
		r.Fail("%d bytes left over", len(r.buf)-r.off)
	}
	return r.err
}

// Remaining counts the bytes not yet read.
func (r *Reader) Remaining() int { return len(r.buf) - r.off }

// Offset counts the bytes read. After an error it is the length of the frame.
func (r *Reader) Offset() int { return r.off }

// Charged is what of the heap budget is spent, in bytes.
func (r *Reader) Charged() int { return HeapPerByte*len(r.buf) + HeapFree - r.heap }

// Steps counts array elements and tags so far, which bounds the work.
func (r *Reader) Steps() int { return r.steps }

// Fail makes the rest of the frame unreadable, with the given reason. Only the
// first call counts.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Offset: r.off, Reason: fmt.Sprintf(format, args...)}
	}
	r.off = len(r.buf)
}

// short fails: the frame has fewer bytes than are wanted.
//
//go:noinline
func (r *Reader) short() { r.Fail("the frame ends early") }

// charge takes n bytes from the heap budget.
func (r *Reader) charge(n int) bool {
	r.heap -= n
	return r.heap >= 0 || r.broke()
}

//go:noinline
func (r *Reader) broke() bool {
	r.heap = 0
	r.Fail("more memory needed than a message of %d bytes may take", len(r.buf))
	return false
}

// take returns the next n bytes, which alias the frame. n may be anything.
func (r *Reader) take(n int) []byte {
	if n < 0 || n > len(r.buf)-r.off {
		r.short()
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// Bool reads one byte; anything but 0 is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if len(r.buf)-r.off < 1 {
		r.short()
		return 0
	}
	v := r.buf[r.off]
	r.off++
	return int8(v)
}

// Int16 reads two bytes, big-endian, as do all fixed-size numbers.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Uint16 reads two bytes.
func (r *Reader) Uint16() uint16 {
	if len(r.buf)-r.off < 2 {
		r.short()
		return 0
	}
	v := binary.BigEndian.Uint16(r.buf[r.off:])
	r.off += 2
	return v
}

// Int32 reads four bytes.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Uint32 reads four bytes.
func (r *Reader) Uint32() uint32 {
	if len(r.buf)-r.off < 4 {
		r.short()
		return 0
	}
	v := binary.BigEndian.Uint32(r.buf[r.off:])
	r.off += 4
	return v
}

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if len(r.buf)-r.off < 8 {
		r.short()
		return 0
	}
	v := binary.BigEndian.Uint64(r.buf[r.off:])
	r.off += 8
	return int64(v)
}

// Float64 reads eight bytes, IEEE 754.
func (r *Reader) Float64() float64 { return math.Float64frombits(uint64(r.Int64())) }

// UUID reads sixteen bytes.
func (r *Reader) UUID() (id kafka.UUID) {
	copy(id[:], r.take(len(id)))
	return id
}

// Uvarint reads an unsigned varint of 32 bits: seven bits a byte, the lowest
// first, in one to five bytes.
func (r *Reader) Uvarint() uint32 {
	if r.off < len(r.buf) && r.buf[r.off] < 0x80 {
		v := r.buf[r.off]
		r.off++
		return uint32(v)
	}
	return uint32(r.uvarint(math.MaxUint32))
}

// Varint reads a signed (zigzag) varint of 32 bits.
func (r *Reader) Varint() int32 {
	u := r.Uvarint()
	return int32(u>>1) ^ -int32(u&1)
}

// Varlong reads a signed (zigzag) varint of 64 bits.
func (r *Reader) Varlong() int64 {
	u := r.uvarint(math.MaxUint64)
	return int64(u>>1) ^ -int64(u&1)
}

func (r *Reader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.buf[r.off:])
	switch {
	case n == 0:
		r.short()
		return 0
	case n < 0 || v > most:
		r.Fail("varint too large")
		return 0
	}
	r.off += n
	return v
}
