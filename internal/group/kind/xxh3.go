package kind

import (
	"encoding/binary"
	"math/bits"
)

// xxh3 is the 64-bit XXH3 hash of b without seed or secret of one's own
// (https://github.com/Cyan4973/xxHash, the specification's algorithm of that
// name), which Kafka stores with a group to see that its topics changed.
func xxh3(b []byte) uint64 {
	switch n := len(b); {
	case n == 0:
		return avalanche64(secret(56) ^ secret(64))
	case n <= 3:
		c := uint64(b[0])<<16 | uint64(b[n>>1])<<24 | uint64(b[n-1]) | uint64(n)<<8
		return avalanche64(c ^ uint64(uint32(secret(0))^uint32(secret(0)>>32)))
	case n <= 8:
		return short(b)
	case n <= 16:
		low := le64(b) ^ secret(24) ^ secret(32)
		high := le64(b[n-8:]) ^ secret(40) ^ secret(48)
		return avalanche(uint64(n) + bits.ReverseBytes64(low) + high + fold(low, high))
	case n <= 128:
		return middle(b)
	case n <= 240:
		return long240(b)
	}
	return endless(b)
}

const (
	prime32x1 = 0x9E3779B1
	prime32x2 = 0x85EBCA77
	prime32x3 = 0xC2B2AE3D
	prime64x1 = 0x9E3779B185EBCA87
	prime64x2 = 0xC2B2AE3D27D4EB4F
	prime64x3 = 0x165667B19E3779F9
	prime64x4 = 0x85EBCA77C2B2AE63
	prime64x5 = 0x27D4EB2F165667C5
	primeMX1  = 0x165667919E3779F9
	primeMX2  = 0x9FB21C651E98DF25
)

// hashSecret is the secret that everybody has.
const hashSecret = "" +
	"\xb8\xfe\x6c\x39\x23\xa4\x4b\xbe\x7c\x01\x81\x2c\xf7\x21\xad\x1c\xde\xd4\x6d\xe9\x83\x90\x97\xdb\x72\x40\xa4\xa4\xb7\xb3\x67\x1f" +
	"\xcb\x79\xe6\x4e\xcc\xc0\xe5\x78\x82\x5a\xd0\x7d\xcc\xff\x72\x21\xb8\x08\x46\x74\xf7\x43\x24\x8e\xe0\x35\x90\xe6\x81\x3a\x26\x4c" +
	"\x3c\x28\x52\xbb\x91\xc3\x00\xcb\x88\xd0\x65\x8b\x1b\x53\x2e\xa3\x71\x64\x48\x97\xa2\x0d\xf9\x4e\x38\x19\xef\x46\xa9\xde\xac\xd8" +
	"\xa8\xfa\x76\x3f\xe3\x9c\x34\x3f\xf9\xdc\xbb\xc7\xc7\x0b\x4f\x1d\x8a\x51\xe0\x4b\xcd\xb4\x59\x31\xc8\x9f\x7e\xc9\xd9\x78\x73\x64" +
	"\xea\xc5\xac\x83\x34\xd3\xeb\xc3\xc5\x81\xa0\xff\xfa\x13\x63\xeb\x17\x0d\xdd\x51\xb7\xf0\xda\x49\xd3\x16\x55\x26\x29\xd4\x68\x9e" +
	"\x2b\x16\xbe\x58\x7d\x47\xa1\xfc\x8f\xf8\xb8\xd1\x7a\xd0\x31\xce\x45\xcb\x3a\x8f\x95\x16\x04\x28\xaf\xd7\xfb\xca\xbb\x4b\x40\x7e"

func secret(at int) uint64 { return le64([]byte(hashSecret[at : at+8])) }

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func avalanche(h uint64) uint64 {
	h = (h ^ h>>37) * primeMX1
	return h ^ h>>32
}

func avalanche64(h uint64) uint64 {
	h = (h ^ h>>33) * prime64x2
	h = (h ^ h>>29) * prime64x3
	return h ^ h>>32
}

// short hashes 4 to 8 bytes.
func short(b []byte) uint64 {
	n := uint64(len(b))
	in := uint64(binary.LittleEndian.Uint32(b[n-4:])) | uint64(binary.LittleEndian.Uint32(b))<<32
	h := in ^ secret(8) ^ secret(16)
	h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
	h *= primeMX2
	h ^= h>>35 + n
	h *= primeMX2
	return h ^ h>>28
}

// mix is the hash of 16 bytes with 16 of the secret.
func mix(b []byte, at int) uint64 { return fold(le64(b)^secret(at), le64(b[8:])^secret(at+8)) }

// middle hashes 17 to 128 bytes: pairs of 16 bytes from both ends inwards.
func middle(b []byte) uint64 {
	n := len(b)
	h := uint64(n) * prime64x1
	for i := (n - 1) / 32; i >= 0; i-- {
		h += mix(b[16*i:], 32*i) + mix(b[n-16*(i+1):], 32*i+16)
	}
	return avalanche(h)
}

// long240 hashes 129 to 240 bytes.
func long240(b []byte) uint64 {
	n := len(b)
	h := uint64(n) * prime64x1
	for i := range 8 {
		h += mix(b[16*i:], 16*i)
	}
	h = avalanche(h)
	for i := 8; i < n/16; i++ {
		h += mix(b[16*i:], 16*(i-8)+3)
	}
	return avalanche(h + mix(b[n-16:], 136-17))
}

// endless hashes more than 240 bytes: stripes of 64 bytes into eight lanes,
// sixteen stripes a block.
func endless(b []byte) uint64 {
	const stripe, block = 64, 1024
	acc := [8]uint64{prime32x3, prime64x1, prime64x2, prime64x3, prime64x4, prime32x2, prime64x5, prime32x1}
	n := len(b)
	stripes := (n - 1) / stripe // before the last one, which may overlap
	for i := range stripes {
		gather(&acc, b[i*stripe:], i*stripe%block/8)
		if i*stripe%block == block-stripe {
			for j := range acc {
				acc[j] = (acc[j] ^ acc[j]>>47 ^ secret(128+8*j)) * prime32x1
			}
		}
	}
	gather(&acc, b[n-stripe:], 192-stripe-7)
	h := uint64(n) * prime64x1
	for i := 0; i < 8; i += 2 {
		h += fold(acc[i]^secret(11+8*i), acc[i+1]^secret(19+8*i))
	}
	return avalanche(h)
}

// gather takes in a stripe.
func gather(acc *[8]uint64, b []byte, at int) {
	for i := range acc {
		v := le64(b[8*i:])
		k := v ^ secret(at+8*i)
		acc[i^1] += v
		acc[i] += uint64(uint32(k)) * (k >> 32)
	}
}
