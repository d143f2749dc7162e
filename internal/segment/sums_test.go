package segment

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// FuzzSums: whatever the file holds, parsing ends, and what it gives rises, lies
// within the segment and does not overlap.
func FuzzSums(f *testing.F) {
	blocks := []block{{0, 70_000, 1, 5}, {70_000, 140_000, 2, 9}, {150_000, 160_000, 3, 12}}
	whole := encodeBlocks(7, blocks)
	f.Add(whole, int64(160_000))
	f.Add(append(whole, (&seal{size: 160_000, next: 99}).encode(7)...), int64(160_000))
	f.Add(whole[3:], int64(1<<40))
	f.Fuzz(func(t *testing.T, data []byte, size int64) {
		got, end, bad := parseSums(data, 7, size)
		at := int64(0)
		for _, b := range got {
			if int64(b.begin) < at || b.end <= b.begin || int64(b.end) > size {
				t.Fatalf("%+v after %d, size %d", b, at, size)
			}
			at = int64(b.end)
		}
		if bad < 0 || bad > len(data) || end != nil && end.size != size {
			t.Fatal(bad, end)
		}
	})
}

// TestSumsSurvive damages a file of many pieces: every piece that is left counts.
func TestSumsSurvive(t *testing.T) {
	var data []byte
	for i := range uint32(20) {
		data = append(data, encodeBlocks(7, []block{{i * 100, i*100 + 100, i, i}})...)
	}
	data = append(data, (&seal{size: 2000, next: 20}).encode(7)...)
	dice := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		b := append([]byte(nil), data...)
		at := dice.IntN(len(b))
		b[at] ^= 1 << dice.IntN(8)
		got, end, bad := parseSums(b, 7, 2000)
		inSeal := at >= len(data)-sealSize
		if inSeal && (len(got) != 20 || end != nil) || !inSeal && (len(got) != 19 || end == nil) || bad == 0 {
			t.Fatalf("byte %d: %d blocks, seal %v, %d bad", at, len(got), end, bad)
		}
	}
}

// BenchmarkAppend is what sums add to writing: 64 KiB and 1 MiB at once.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		for _, sums := range []bool{false, true} {
			b.Run(fmt.Sprintf("bytes=%d/sums=%v", size, sums), func(b *testing.B) {
				disk := vfs.OS()
				cfg := config(disk, NewCache(1<<20), 0)
				cfg.Dir, cfg.NoSums, cfg.IndexInterval, cfg.IndexBytes = b.TempDir(), !sums, 4096, 1<<30
				cfg.Pool = vfs.NewPool(disk, 4)
				s, err := Create(cfg)
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				buf, m := batch(0, 1000, size)
				m.Head, m.CRC = 21, crc32.Checksum(buf[21:], castagnoli)
				b.SetBytes(int64(size))
				for b.Loop() {
					if s.Size() > 512<<20 {
						b.StopTimer()
						if err := s.Truncate(0); err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
					}
					m.LastOffset++
					if err := s.Write([][]byte{buf}, []Mark{m}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkVerified is what a verified block costs who reads it.
func BenchmarkVerified(b *testing.B) {
	disk := vfs.NewMem(vfs.MemConfig{})
	s, err := Create(config(disk, NewCache(1<<20), 0))
	if err != nil {
		b.Fatal(err)
	}
	buf, m := batch(0, 1000, 64<<10)
	if err := s.Write([][]byte{buf}, []Mark{m}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !s.free(0, 64<<10) {
			b.Fatal("not free")
		}
	}
}
