package record

import (
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// FuzzBatch gives strangers' bytes to everything that takes them before they
// are trusted. What passes the checks must then behave.
func FuzzBatch(f *testing.F) {
	for _, c := range codecs {
		f.Add(slices.Clone(sample(c, 3)), uint8(c))
	}
	f.Add(EndTxnMarker(Producer{ID: 1}, Abort, 2, 3), uint8(0))
	f.Add([]byte{}, uint8(9))
	p := NewPool(PoolConfig{Limit: 1 << 20})
	f.Fuzz(func(t *testing.T, b []byte, mode uint8) {
		if len(b) >= HeaderSize && mode&0x80 != 0 { // let it past the CRC
			put32(b, posLength, int32(len(b)-Overhead))
			b[posMagic] = Magic
			seal(b)
		}
		if h, err := Check(b); err == nil && (h.Size() != len(b) || h.NextOffset() < 0 && h.BaseOffset < 1<<62) {
			t.Fatalf("accepted %+v", h)
		}
		h, err := CheckClient(b)
		if err != nil {
			if kafka.CodeOf(err) == kafka.None {
				t.Fatal("refused without a code")
			}
			return
		}
		b = b[:h.Size()]
		rules := free()
		rules.Recode, rules.Codec, rules.Compacted, rules.After = mode&1 != 0, Codec(mode>>1&3), mode&8 != 0, hour
		out, oh, err := p.Inspect(b, h, &rules, now)
		if err != nil {
			return
		}
		if again, err := CheckClient(out); err != nil || again != oh || again.Count != h.Count {
			t.Fatalf("inspected into %+v, said %+v: %v", again, oh, err)
		}
	})
}

// FuzzDecompress expands arbitrary streams of each codec within a limit.
func FuzzDecompress(f *testing.F) {
	plain := sample(None, 5)[HeaderSize:]
	for _, c := range codecs[1:] {
		f.Add((&encoders{}).append(nil, c, 0, plain), uint8(c), uint16(5))
	}
	f.Add(rawSnappy(plain), uint8(Snappy), uint16(5))
	f.Fuzz(func(t *testing.T, body []byte, codec uint8, count uint16) {
		b := append(slices.Clone(sample(None, 1)[:HeaderSize]), body...)
		b[posAttributes+1] = codec % 5
		put32(b, posLength, int32(len(b)-Overhead))
		put32(b, posCount, int32(count))
		const limit = 1 << 20
		var r Reader
		for _, shapes := range []bool{false, true} {
			r.Reset(b, limit)
			r.shapes = shapes
			total := 0
			for r.Next() {
				total += len(r.Record().Key) + len(r.Record().Value)
			}
			if total > max(limit, len(b)) || cap(r.win.own) > 4*limit || cap(r.dec.snappy.buf) > 2*limit {
				t.Fatalf("%d bytes came out, %d and %d are held", total, cap(r.win.own), cap(r.dec.snappy.buf))
			}
			r.Release()
		}
	})
}
