package wire

import (
	"math"
	"unsafe"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// length reads the length of a string: two bytes, or a varint of it plus one.
// -1 is null, and so is every other negative one, as Kafka reads it.
func (r *Reader) length(flex bool) int {
	if flex {
		return r.compact()
	}
	return int(r.Int16())
}

// size reads the length of bytes or the count of an array: four bytes, or a
// varint of it plus one. Negative is null, as for [Reader.length].
func (r *Reader) size(flex bool) int {
	if flex {
		return r.compact()
	}
	return int(r.Int32())
}

// compact reads a varint less one. After an error it is -1, a null.
func (r *Reader) compact() int {
	n := r.Uvarint()
	if n > math.MaxInt32 {
		r.Fail("length %d too large", n)
		return -1
	}
	return int(n) - 1
}

// text returns the bytes of a string of n bytes and charges a copy of it.
func (r *Reader) text(n int) []byte {
	switch {
	case n < 0:
		r.Fail("length %d of a string that may not be null", n)
		return nil
	case n > MaxString:
		r.Fail("string of %d bytes", n)
		return nil
	}
	b := r.take(n)
	if !r.charge(round(len(b))) {
		return nil
	}
	return b
}

// round gives what the allocator takes for n bytes of a string, about.
func round(n int) int { return (n + 7) &^ 7 }

// String reads a string that may not be null. If it equals old, old is
// returned, which saves the copy when a message is decoded again and again.
func (r *Reader) String(old string, flex bool) string {
	b := r.text(r.length(flex))
	if string(b) == old {
		return old
	}
	return r.names.copy(b)
}

// NullableString reads a string of which nil is the null, which is refused if
// null is not true. If it equals *old, old is returned.
func (r *Reader) NullableString(old *string, flex, null bool) *string {
	n := r.length(flex)
	if n < 0 && (null || r.err != nil) {
		return nil
	}
	b := r.text(n)
	if r.err != nil || !r.charge(int(unsafe.Sizeof(""))) {
		return nil
	}
	if old != nil && string(b) == *old {
		return old
	}
	s := r.names.copy(b)
	return &s
}

// Bytes reads bytes or records, which alias the frame. nil is the null, which
// is refused if null is not true; empty bytes are not nil.
func (r *Reader) Bytes(flex, null bool) []byte {
	n := r.size(flex)
	if n < 0 {
		if !null {
			r.Fail("length %d of bytes that may not be null", n)
		}
		return nil
	}
	return r.take(n)
}

// Count reads the count of an array whose elements take at least least bytes
// each and size bytes of heap, which it charges. It gives -1 for the null, which
// is refused (and 0) if null is not true.
func (r *Reader) Count(flex, null bool, least, size int) int {
	n := r.size(flex)
	switch {
	case n < 0 && null && r.err == nil:
		return -1
	case n < 0:
		r.Fail("count %d of an array that may not be null", n)
		return 0
	case n > MaxArray || n > r.Remaining()/max(least, 1):
		r.Fail("array of %d elements in %d bytes", n, r.Remaining())
		return 0
	case !r.charge(n * size):
		return 0
	}
	r.steps += n
	return n
}

// Array reads the count of an array and returns a slice of as many elements:
// old, if it has room, or a larger one that begins with the elements of old, so
// that the caller can decode into what these hold. nil is the null.
func Array[T any](r *Reader, old []T, flex, null bool, least int) []T {
	var zero T
	n := r.Count(flex, null, least, int(unsafe.Sizeof(zero)))
	switch {
	case n < 0:
		return nil
	case n <= cap(old) && old != nil:
		return old[:n]
	}
	larger := make([]T, n)
	copy(larger, old[:cap(old)])
	return larger
}

// Int8s reads an array of int8 into old.
func Int8s(r *Reader, old []int8, flex, null bool) []int8 {
	s := Array(r, old, flex, null, 1)
	for i := range s {
		s[i] = r.Int8()
	}
	return s
}

// Int16s reads an array of int16 into old.
func Int16s(r *Reader, old []int16, flex, null bool) []int16 {
	s := Array(r, old, flex, null, 2)
	for i := range s {
		s[i] = r.Int16()
	}
	return s
}

// Int32s reads an array of int32 into old.
func Int32s(r *Reader, old []int32, flex, null bool) []int32 {
	s := Array(r, old, flex, null, 4)
	for i := range s {
		s[i] = r.Int32()
	}
	return s
}

// Int64s reads an array of int64 into old.
func Int64s(r *Reader, old []int64, flex, null bool) []int64 {
	s := Array(r, old, flex, null, 8)
	for i := range s {
		s[i] = r.Int64()
	}
	return s
}

// UUIDs reads an array of UUIDs into old.
func UUIDs(r *Reader, old []kafka.UUID, flex, null bool) []kafka.UUID {
	s := Array(r, old, flex, null, 16)
	for i := range s {
		s[i] = r.UUID()
	}
	return s
}

// Strings reads an array of strings, none of them null, into old.
func Strings(r *Reader, old []string, flex, null bool) []string {
	least := 2
	if flex {
		least = 1
	}
	s := Array(r, old, flex, null, least)
	for i := range s {
		if s[i] = r.String(s[i], flex); r.err != nil {
			return s[:i]
		}
	}
	return s
}

// Skip goes past n bytes.
func (r *Reader) Skip(n int) { r.take(n) }

// Tags walks the tags at the end of a struct of a flexible version:
//
//	for t := r.Tags(); t.Next(r); {
//		switch t.Tag {
//		case 0:
//			m.X = r.Int32()
//		default:
//			t.Skip(r)
//		}
//	}
type Tags struct {
	Tag  uint32 // the number of the present one
	left int
	end  int // where the present one ends; 0 before the first
}

// Tags reads the number of tags.
func (r *Reader) Tags() Tags {
	n := int(r.Uvarint())
	if n == 0 {
		return Tags{}
	}
	if n > MaxTags || n > r.Remaining()/2 {
		r.Fail("%d tags in %d bytes", n, r.Remaining())
		return Tags{}
	}
	r.steps += n
	return Tags{left: n}
}

// Next goes to the next tag and says whether there is one. It refuses tags
// that do not ascend and the one before if that was not read to its end.
func (t *Tags) Next(r *Reader) bool {
	if t.end > 0 && r.off != t.end && r.err == nil {
		r.Fail("tag %d is not as long as it says", t.Tag)
	}
	if t.left == 0 || r.err != nil {
		return false
	}
	t.left--
	tag, n := r.Uvarint(), r.Uvarint()
	switch {
	case int64(n) > int64(r.Remaining()):
		r.short()
	case t.end > 0 && tag <= t.Tag:
		r.Fail("tag %d after tag %d", tag, t.Tag)
	}
	t.Tag, t.end = tag, r.off+int(n)
	return r.err == nil
}

// Skip goes past the present tag, of which nothing is kept.
func (t *Tags) Skip(r *Reader) { r.off = max(r.off, t.end) }

// SkipTags goes past the tags of a struct that knows none.
func (r *Reader) SkipTags() {
	if r.off < len(r.buf) && r.buf[r.off] == 0 {
		r.off++
		return
	}
	for t := r.Tags(); t.Next(r); {
		t.Skip(r)
	}
}

// Present reads what stands before a struct that may be null: a byte, -1 if it
// is null, or, in a tag, a varint, 0 if it is null.
func (r *Reader) Present(tag, null bool) bool {
	present := false
	if tag {
		present = r.Uvarint() > 0
	} else {
		present = r.Int8() >= 0
	}
	if !present && !null {
		r.Fail("null where none is allowed")
	}
	return present && r.err == nil
}

// New returns a new T, charged to the heap budget of r.
func New[T any](r *Reader) *T {
	t := new(T)
	r.charge(int(unsafe.Sizeof(*t)))
	return t
}
