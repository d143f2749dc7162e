package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every primitive, as bytes and as a value, both ways.
func TestPrimitives(t *testing.T) {
	text := "a"
	for _, c := range []struct {
		name, bytes string
		write       func(b []byte) []byte
		read        func(r *Reader) bool
	}{
		{"bool", "01", func(b []byte) []byte { return AppendBool(b, true) }, func(r *Reader) bool { return r.Bool() }},
		{"int8", "fe", func(b []byte) []byte { return AppendInt8(b, -2) }, func(r *Reader) bool { return r.Int8() == -2 }},
		{"int16", "fffe", func(b []byte) []byte { return AppendInt16(b, -2) }, func(r *Reader) bool { return r.Int16() == -2 }},
		{"uint16", "ffff", func(b []byte) []byte { return AppendUint16(b, 65535) }, func(r *Reader) bool { return r.Uint16() == 65535 }},
		{"int32", "80000000", func(b []byte) []byte { return AppendInt32(b, math.MinInt32) }, func(r *Reader) bool { return r.Int32() == math.MinInt32 }},
		{"uint32", "ffffffff", func(b []byte) []byte { return AppendUint32(b, math.MaxUint32) }, func(r *Reader) bool { return r.Uint32() == math.MaxUint32 }},
		{"int64", "0000000000000100", func(b []byte) []byte { return AppendInt64(b, 256) }, func(r *Reader) bool { return r.Int64() == 256 }},
		{"float64", "3ff0000000000000", func(b []byte) []byte { return AppendFloat64(b, 1) }, func(r *Reader) bool { return r.Float64() == 1 }},
		{"uvarint", "ac02", func(b []byte) []byte { return AppendUvarint(b, 300) }, func(r *Reader) bool { return r.Uvarint() == 300 }},
		{"uvarint max", "ffffffff0f", func(b []byte) []byte { return AppendUvarint(b, math.MaxUint32) }, func(r *Reader) bool { return r.Uvarint() == math.MaxUint32 }},
		{"varint", "01", func(b []byte) []byte { return AppendVarint(b, -1) }, func(r *Reader) bool { return r.Varint() == -1 }},
		{"varint min", "ffffffff0f", func(b []byte) []byte { return AppendVarint(b, math.MinInt32) }, func(r *Reader) bool { return r.Varint() == math.MinInt32 }},
		{"varlong", "ffffffffffffffffff01", func(b []byte) []byte { return AppendVarlong(b, math.MinInt64) }, func(r *Reader) bool { return r.Varlong() == math.MinInt64 }},
		{"uuid", "01000000000000000000000000000002", func(b []byte) []byte { return AppendUUID(b, kafka.UUID{0: 1, 15: 2}) }, func(r *Reader) bool { return r.UUID() == kafka.UUID{0: 1, 15: 2} }},
		{"string", "0001 61", func(b []byte) []byte { return AppendString(b, "a", false) }, func(r *Reader) bool { return r.String("", false) == "a" }},
		{"compact string", "02 61", func(b []byte) []byte { return AppendString(b, "a", true) }, func(r *Reader) bool { return r.String("", true) == "a" }},
		{"nullable string", "0001 61", func(b []byte) []byte { return AppendNullableString(b, &text, false, true) }, func(r *Reader) bool { return *r.NullableString(nil, false, true) == "a" }},
		{"null string", "ffff", func(b []byte) []byte { return AppendNullableString(b, nil, false, true) }, func(r *Reader) bool { return r.NullableString(&text, false, true) == nil }},
		{"compact null string", "00", func(b []byte) []byte { return AppendNullableString(b, nil, true, true) }, func(r *Reader) bool { return r.NullableString(&text, true, true) == nil }},
		{"null where none is allowed", "01", func(b []byte) []byte { return AppendNullableString(b, nil, true, false) }, func(r *Reader) bool { return *r.NullableString(nil, true, false) == "" }},
		{"bytes", "00000002 0102", func(b []byte) []byte { return AppendBytes(b, []byte{1, 2}, false, false) }, func(r *Reader) bool { return bytes.Equal(r.Bytes(false, false), []byte{1, 2}) }},
		{"null bytes", "ffffffff", func(b []byte) []byte { return AppendBytes(b, nil, false, true) }, func(r *Reader) bool { return r.Bytes(false, true) == nil }},
		{"empty bytes", "01", func(b []byte) []byte { return AppendBytes(b, []byte{}, true, true) }, func(r *Reader) bool { v := r.Bytes(true, true); return v != nil && len(v) == 0 }},
		{"null array", "00", func(b []byte) []byte { return AppendInt32s(b, nil, true, true) }, func(r *Reader) bool { return Int32s(r, []int32{1}, true, true) == nil }},
		{"empty array", "01", func(b []byte) []byte { return AppendInt32s(b, nil, true, false) }, func(r *Reader) bool { v := Int32s(r, nil, true, true); return v != nil && len(v) == 0 }},
		{"int8s", "02 07", func(b []byte) []byte { return AppendInt8s(b, []int8{7}, true, false) }, func(r *Reader) bool { return Int8s(r, nil, true, false)[0] == 7 }},
		{"int16s", "02 0007", func(b []byte) []byte { return AppendInt16s(b, []int16{7}, true, false) }, func(r *Reader) bool { return Int16s(r, nil, true, false)[0] == 7 }},
		{"int32s", "00000001 00000007", func(b []byte) []byte { return AppendInt32s(b, []int32{7}, false, false) }, func(r *Reader) bool { return Int32s(r, nil, false, false)[0] == 7 }},
		{"int64s", "02 0000000000000007", func(b []byte) []byte { return AppendInt64s(b, []int64{7}, true, false) }, func(r *Reader) bool { return Int64s(r, nil, true, false)[0] == 7 }},
		{"uuids", "02 01000000000000000000000000000002", func(b []byte) []byte { return AppendUUIDs(b, []kafka.UUID{{0: 1, 15: 2}}, true, false) }, func(r *Reader) bool { return UUIDs(r, nil, true, false)[0][15] == 2 }},
		{"strings", "03 02 61 01", func(b []byte) []byte { return AppendStrings(b, []string{"a", ""}, true, false) }, func(r *Reader) bool { v := Strings(r, nil, true, false); return len(v) == 2 && v[0] == "a" }},
	} {
		want := unhex(t, c.bytes)
		if got := c.write(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: wrote %x, want %x", c.name, got, want)
		}
		r := NewReader(want)
		if !c.read(r) || r.Done() != nil {
			t.Errorf("%s: read something else, or %v", c.name, r.Err())
		}
		for n := range want { // cut anywhere: an error, and no panic
			r := NewReader(want[:n])
			func() {
				defer func() { _ = recover() }() // of c.read, which looks into what is not there
				c.read(r)
			}()
			if !errors.Is(r.Err(), ErrInvalid) {
				t.Errorf("%s: %d of %d bytes: %v", c.name, n, len(want), r.Err())
			}
		}
	}
}

// Bytes that a stranger might send, and why they are refused.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		read        func(r *Reader)
		want        string
	}{
		{"left over", "00 00", func(r *Reader) { r.Bool() }, "1 bytes left over"},
		{"varint of six bytes", "ffffffffff01", func(r *Reader) { r.Uvarint() }, "varint too large"},
		{"varint of 33 bits", "ffffffff1f", func(r *Reader) { r.Uvarint() }, "varint too large"},
		{"null string", "ffff", func(r *Reader) { _ = r.String("", false) }, "length -1 of a string"},
		{"negative string", "fffe", func(r *Reader) { r.NullableString(nil, false, false) }, "length -2 of a string"},
		{"long string", "818002" + strings.Repeat("61", 32768), func(r *Reader) { _ = r.String("", true) }, "string of 32768 bytes"},
		{"string beyond the end", "0010 61", func(r *Reader) { _ = r.String("", false) }, "ends early"},
		{"null bytes", "00", func(r *Reader) { r.Bytes(true, false) }, "length -1 of bytes"},
		{"negative bytes", "fffffffe", func(r *Reader) { r.Bytes(false, false) }, "length -2 of bytes"},
		{"bytes beyond the end", "7fffffff 00", func(r *Reader) { r.Bytes(false, false) }, "ends early"},
		{"null array", "ffffffff", func(r *Reader) { Int32s(r, nil, false, false) }, "count -1 of an array"},
		{"negative array", "80000000", func(r *Reader) { Int32s(r, nil, false, false) }, "count -2147483648"},
		{"array beyond the end", "00000002 00000001 000000", func(r *Reader) { Int32s(r, nil, false, false) }, "array of 2 elements in 7 bytes"},
		{"2 billion in 4 bytes", "7fffffff", func(r *Reader) { Int8s(r, nil, false, false) }, "array of 2147483647 elements in 0 bytes"},
		{"compact array too large", "ffffffff0f", func(r *Reader) { Int8s(r, nil, true, false) }, "length 4294967295 too large"},
		{"tags do not ascend", "02 01 00 00 00", func(r *Reader) { r.SkipTags() }, "tag 0 after tag 1"},
		{"tag twice", "02 00 00 00 00", func(r *Reader) { r.SkipTags() }, "tag 0 after tag 0"},
		{"tag beyond the end", "01 00 05 00", func(r *Reader) { r.SkipTags() }, "ends early"},
		{"more tags than bytes", "03 00 00 01 00", func(r *Reader) { r.SkipTags() }, "3 tags in 4 bytes"},
		{"a million tags", "c0843d" + strings.Repeat("00", 5000), func(r *Reader) { r.SkipTags() }, "1000000 tags"},
		{"1025 tags", "8108" + strings.Repeat("00", 5000), func(r *Reader) { r.SkipTags() }, "1025 tags"},
		{"tag shorter than it says", "01 00 05 0000000000", func(r *Reader) {
			for tags := r.Tags(); tags.Next(r); {
				r.Int32()
			}
		}, "tag 0 is not as long as it says"},
		{"tag longer than it says", "01 00 02 0000000000", func(r *Reader) {
			for tags := r.Tags(); tags.Next(r); {
				r.Int32()
			}
		}, "tag 0 is not as long as it says"},
		{"null struct", "ff", func(r *Reader) { r.Present(false, false) }, "null where none is allowed"},
	} {
		r := NewReader(unhex(t, c.bytes))
		c.read(r)
		err := r.Done()
		var at *Error
		if !errors.Is(err, ErrInvalid) || !errors.As(err, &at) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if r.Int64() != 0 || r.Uvarint() != 0 || r.String("", true) != "" || r.Bytes(true, true) != nil || r.Err() != err {
			t.Errorf("%s: the error does not stick", c.name)
		}
	}
}

func TestBudget(t *testing.T) {
	// 40,000 one-byte elements, each of 64 bytes of heap: 2.5 MB for 40 KB.
	frame := AppendInt8s(nil, make([]int8, 40_000), false, false)
	r := NewReader(frame)
	if s := Array(r, []struct{ a [8]int64 }(nil), false, false, 1); len(s) > 0 || r.Err() == nil {
		t.Errorf("%d elements, %v", len(s), r.Err())
	}
	if most := HeapPerByte*len(frame) + HeapFree; r.Charged() > most {
		t.Errorf("%d charged, %d allowed", r.Charged(), most)
	}
	r.Reset(frame)
	if s := Array(r, []int64(nil), false, false, 1); len(s) != 40_000 || r.Err() != nil || r.Steps() != 40_000 || r.Charged() != 320_000 {
		t.Errorf("%d elements, %d steps, %d charged, %v", len(s), r.Steps(), r.Charged(), r.Err())
	}
	r.Reset(AppendInt8s(nil, make([]int8, MaxArray+1), false, false))
	if Int8s(r, nil, false, false); r.Err() == nil {
		t.Errorf("an array of %d is read", MaxArray+1)
	}
}

func TestUnknownTags(t *testing.T) {
	r := NewReader(unhex(t, "03 00 04 00000005 01 00 8001 02 ffff"))
	got := int32(0)
	for tags := r.Tags(); tags.Next(r); {
		switch tags.Tag {
		case 0:
			got = r.Int32()
		default:
			tags.Skip(r)
		}
	}
	if got != 5 || r.Done() != nil {
		t.Errorf("%d, %v", got, r.Err())
	}
}

func TestReuse(t *testing.T) {
	frame := AppendStrings(nil, []string{"orders", "payments"}, true, false)
	r := NewReader(frame)
	first := Strings(r, nil, true, false)
	r.Reset(frame)
	again := Strings(r, first, true, false)
	if &first[0] != &again[0] || again[1] != "payments" || r.Done() != nil {
		t.Error("the slice is not used again")
	}
	r.Intern()
	for i := range 3 * maxNames { // more names than it remembers
		name := strings.Repeat("x", i)
		r.Reset(AppendString(nil, name, true))
		if got := r.String("", true); got != name {
			t.Fatalf("%q is read as %q", name, got)
		}
		if len(r.names) > maxNames {
			t.Fatalf("%d names are remembered", len(r.names))
		}
	}
}

// What the protocol has no form for is cut, and not within a character.
func TestLongString(t *testing.T) {
	long := strings.Repeat("a", MaxString-1) + "é and more"
	for _, flex := range []bool{false, true} {
		r := NewReader(AppendString(nil, long, flex))
		if got := r.String("", flex); got != long[:MaxString-1] || r.Done() != nil {
			t.Errorf("%d bytes, %v", len(got), r.Err())
		}
	}
}

func TestCloseTag(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 20_000} {
		b := AppendUvarint([]byte("before"), 3)
		start := len(b)
		b = CloseTag(append(b, make([]byte, n)...), start)
		r := NewReader(b[len("before"):])
		if tag, size := r.Uvarint(), r.Uvarint(); tag != 3 || int(size) != n || r.Remaining() != n {
			t.Errorf("tag %d of %d bytes, %d follow", tag, size, r.Remaining())
		}
	}
}

// Where null is allowed, Kafka takes any negative length for it.
func TestNegativeIsNull(t *testing.T) {
	r := NewReader(unhex(t, "fffe fffffffe 80000000"))
	if s := r.NullableString(nil, false, true); s != nil {
		t.Errorf("string %q, want null", *s)
	}
	if b := r.Bytes(false, true); b != nil {
		t.Errorf("bytes %x, want null", b)
	}
	if a := Int32s(r, nil, false, true); a != nil {
		t.Errorf("array %v, want null", a)
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}
