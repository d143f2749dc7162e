package compact

import (
	"encoding/binary"
	"math/bits"
)

// secret is the key of a hash, drawn anew for each round of cleaning: nobody can
// make two keys that collide.
type secret struct{ k0, k1 uint64 }

// sip is the state of SipHash-2-4 (Aumasson and Bernstein, 2012).
type sip struct{ a, b, c, d uint64 }

func (s *sip) round() {
	s.a += s.b
	s.b = bits.RotateLeft64(s.b, 13) ^ s.a
	s.a = bits.RotateLeft64(s.a, 32)
	s.c += s.d
	s.d = bits.RotateLeft64(s.d, 16) ^ s.c
	s.a += s.d
	s.d = bits.RotateLeft64(s.d, 21) ^ s.a
	s.c += s.b
	s.b = bits.RotateLeft64(s.b, 17) ^ s.c
	s.c = bits.RotateLeft64(s.c, 32)
}

func (s *sip) word(m uint64) {
	s.d ^= m
	s.round()
	s.round()
	s.a ^= m
}

// sum gives the 128 bits of SipHash of key.
func (k secret) sum(key []byte) (lo, hi uint64) {
	s := sip{k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d ^ 0xee, k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573}
	last := uint64(len(key)) << 56
	for len(key) >= 8 {
		s.word(binary.LittleEndian.Uint64(key))
		key = key[8:]
	}
	for i, c := range key {
		last |= uint64(c) << (8 * i)
	}
	s.word(last)
	s.c ^= 0xee
	for range 4 {
		s.round()
	}
	lo = s.a ^ s.b ^ s.c ^ s.d
	s.b ^= 0xdd
	for range 4 {
		s.round()
	}
	return lo, s.a ^ s.b ^ s.c ^ s.d
}
