package segment

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestCombine splits random bytes at random and wants the plain CRC.
func TestCombine(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(dice.Uint32())
	}
	for range 2000 {
		n := dice.IntN(1 << (1 + dice.IntN(18)))
		from := dice.IntN(len(data) - n)
		b := data[from : from+n]
		sum := uint32(0)
		for rest := b; len(rest) > 0; {
			k := 1 + dice.IntN(len(rest))
			sum = combine(sum, crc32.Checksum(rest[:k], castagnoli), k)
			rest = rest[k:]
		}
		if want := crc32.Checksum(b, castagnoli); sum != want {
			t.Fatalf("%d bytes: %08x, want %08x", n, sum, want)
		}
	}
	if got, want := combine(0x12345678, 0, 1<<31-1), combine(combine(0x12345678, 0, 1<<30), 0, 1<<30-1); got != want {
		t.Fatalf("%08x, want %08x", got, want)
	}
}

func BenchmarkCombine(b *testing.B) {
	sum := uint32(1)
	for b.Loop() {
		sum = combine(sum, 0x9abcdef0, 65_536-61+21)
	}
	if sum == 0 {
		b.Fatal("a sum of nothing")
	}
}
