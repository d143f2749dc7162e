package wire

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendInt8 appends one byte.
func AppendInt8(b []byte, v int8) []byte { return append(b, byte(v)) }

// AppendInt16 appends two bytes, big-endian, as all fixed-size numbers.
func AppendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

// AppendUint16 appends two bytes.
func AppendUint16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendInt32 appends four bytes.
func AppendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendUint32 appends four bytes.
func AppendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendInt64 appends eight bytes.
func AppendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendFloat64 appends eight bytes.
func AppendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendUUID appends sixteen bytes.
func AppendUUID(b []byte, v kafka.UUID) []byte { return append(b, v[:]...) }

// AppendUvarint appends an unsigned varint, see [Reader.Uvarint].
func AppendUvarint(b []byte, v uint32) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	return binary.AppendUvarint(b, uint64(v))
}

// AppendVarint appends a signed varint, see [Reader.Varint].
func AppendVarint(b []byte, v int32) []byte { return AppendUvarint(b, uint32(v<<1)^uint32(v>>31)) }

// AppendVarlong appends a signed varint, see [Reader.Varlong].
func AppendVarlong(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendString appends a string, cut to [MaxString] bytes.
func AppendString(b []byte, s string, flex bool) []byte {
	if len(s) > MaxString {
		s = cut(s)
	}
	if flex {
		b = AppendUvarint(b, uint32(len(s))+1)
	} else {
		b = AppendInt16(b, int16(len(s)))
	}
	return append(b, s...)
}

// cut shortens s to what a string may hold, not within a character.
func cut(s string) string {
	n := MaxString
	for n > MaxString-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// AppendNullableString appends a string; nil is null, or empty if null is false.
func AppendNullableString(b []byte, s *string, flex, null bool) []byte {
	switch {
	case s != nil:
		return AppendString(b, *s, flex)
	case !null:
		return AppendString(b, "", flex)
	case flex:
		return append(b, 0)
	}
	return append(b, 0xff, 0xff)
}

// AppendBytes appends bytes or records; nil is null, or empty if null is false.
func AppendBytes(b, v []byte, flex, null bool) []byte {
	return append(AppendCount(b, len(v), v == nil, flex, null), v...)
}

// AppendCount appends the count of an array, or the length of bytes. A nil is
// null, or empty if null is false.
func AppendCount(b []byte, n int, isNil, flex, null bool) []byte {
	if isNil && null {
		n = -1
	}
	if flex {
		return AppendUvarint(b, uint32(n+1))
	}
	return AppendInt32(b, int32(n))
}

// AppendInt8s appends an array of int8.
func AppendInt8s(b []byte, s []int8, flex, null bool) []byte {
	b = AppendCount(b, len(s), s == nil, flex, null)
	for _, v := range s {
		b = append(b, byte(v))
	}
	return b
}

// AppendInt16s appends an array of int16.
func AppendInt16s(b []byte, s []int16, flex, null bool) []byte {
	b = AppendCount(b, len(s), s == nil, flex, null)
	for _, v := range s {
		b = AppendInt16(b, v)
	}
	return b
}

// AppendInt32s appends an array of int32.
func AppendInt32s(b []byte, s []int32, flex, null bool) []byte {
	b = AppendCount(b, len(s), s == nil, flex, null)
	for _, v := range s {
		b = AppendInt32(b, v)
	}
	return b
}

// AppendInt64s appends an array of int64.
func AppendInt64s(b []byte, s []int64, flex, null bool) []byte {
	b = AppendCount(b, len(s), s == nil, flex, null)
	for _, v := range s {
		b = AppendInt64(b, v)
	}
	return b
}

// AppendUUIDs appends an array of UUIDs.
func AppendUUIDs(b []byte, s []kafka.UUID, flex, null bool) []byte {
	b = AppendCount(b, len(s), s == nil, flex, null)
	for _, v := range s {
		b = append(b, v[:]...)
	}
	return b
}

// AppendStrings appends an array of strings.
func AppendStrings(b []byte, s []string, flex, null bool) []byte {
	b = AppendCount(b, len(s), s == nil, flex, null)
	for _, v := range s {
		b = AppendString(b, v, flex)
	}
	return b
}

// CloseTag puts the length of b[start:], which is the value of a tag, in front
// of it. The number of the tag stands before start already.
func CloseTag(b []byte, start int) []byte {
	var length [5]byte
	n := binary.PutUvarint(length[:], uint64(len(b)-start))
	return slices.Insert(b, start, length[:n]...)
}
