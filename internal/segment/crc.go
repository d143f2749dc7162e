package segment

import "hash/crc32"

// castagnoli is the table that makes package crc32 use the processor's CRC.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hashBelow is below how many bytes hashing costs less than combining.
const hashBelow = 1 << 10

// crcPoly is CRC-32C's polynomial, bit 31 being x^0.
const crcPoly = 0x82f63b78

// crcMul multiplies two polynomials modulo the CRC's.
func crcMul(a, b uint32) uint32 {
	var p uint32
	for ; a != 0; a <<= 1 {
		p ^= b & -(a >> 31)
		b = b>>1 ^ crcPoly&-(b&1)
	}
	return p
}

// shiftTable holds x^(8·v·256^j) for each digit v of a length in bytes, to the
// base 256.
type shiftTable [4][256]uint32

// shifts appends zeros to a checksum, see [combine].
var shifts = makeShifts()

func makeShifts() *shiftTable {
	t := new(shiftTable)
	step := uint32(1) << (31 - 8) // x^8: one byte
	for j := range t {
		t[j][0] = 1 << 31
		for v := 1; v < 256; v++ {
			t[j][v] = crcMul(t[j][v-1], step)
		}
		step = crcMul(t[j][255], step)
	}
	return t
}

// combine gives the CRC-32C of two runs of bytes one after the other: a is that
// of the first, b that of the second, which has n bytes.
//
// A CRC is linear: the first run, followed by n zeros, is a·x^(8n) modulo the
// polynomial (zlib's crc32_combine).
func combine(a, b uint32, n int) uint32 {
	if a == 0 {
		return b
	}
	for j := 0; n > 0; j, n = j+1, n>>8 {
		if v := n & 0xff; v != 0 {
			a = crcMul(shifts[j][v], a)
		}
	}
	return a ^ b
}
