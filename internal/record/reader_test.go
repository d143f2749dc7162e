package record

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// readAll reads a batch and keeps clones.
func readAll(t *testing.T, b []byte) []Record {
	t.Helper()
	var r Reader
	var out []Record
	for r.Reset(b, DefaultLimit); r.Next(); {
		rec := *r.Record()
		rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
		rec.Headers = slices.Clone(rec.Headers)
		for i := range rec.Headers {
			rec.Headers[i].Value = bytes.Clone(rec.Headers[i].Value)
		}
		out = append(out, rec)
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRoundTrip writes batches of every codec and level, reads them back, and
// uses one builder and one reader for all, as the pool does.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var b Builder
	for _, codec := range codecs {
		for _, level := range []int{0, 1, 3, 9, 12, 22, -5, DefaultLevel} {
			want := randomRecords(rng, 1+rng.IntN(200))
			b.Reset()
			b.Codec, b.Level, b.BaseOffset, b.Producer = codec, level, 1000, &Producer{ID: 9, Epoch: 2, Sequence: 30}
			for i := range want {
				want[i].Offset = 1000 + int64(i)
				b.Append(want[i])
			}
			h, err := Check(b.Bytes())
			if err != nil || h.Attributes.Codec() != codec || h.Count != int32(len(want)) || h.ProducerID != 9 || h.BaseSequence != 30 {
				t.Fatalf("%s level %d: %+v, %v", codec, level, h, err)
			}
			if got := readAll(t, b.Bytes()); !slices.EqualFunc(got, want, equalRecords) {
				t.Fatalf("%s level %d: records differ", codec, level)
			}
		}
	}
}

func randomRecords(rng *rand.Rand, n int) []Record {
	blob := func(most int) []byte {
		switch rng.IntN(5) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		return []byte(strings.Repeat(fmt.Sprint(rng.IntN(1000)), 1+rng.IntN(most)))
	}
	out := make([]Record, n)
	for i := range out {
		out[i] = Record{Timestamp: 1e12 + rng.Int64N(1e6) - 5e5, Key: blob(10), Value: blob(3000)}
		for range rng.IntN(3) {
			out[i].Headers = append(out[i].Headers, RecordHeader{Key: fmt.Sprint("h", rng.IntN(9)), Value: blob(5)})
		}
	}
	return out
}

func equalRecords(a, b Record) bool {
	same := func(x, y []byte) bool { return bytes.Equal(x, y) && (x == nil) == (y == nil) }
	return a.Offset == b.Offset && a.Timestamp == b.Timestamp && same(a.Key, b.Key) && same(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y RecordHeader) bool { return x.Key == y.Key && same(x.Value, y.Value) })
}

// TestReaderRefuses damages the records under a right CRC.
func TestReaderRefuses(t *testing.T) {
	for name, do := range map[string]func([]byte) []byte{
		"one record too many declared": func(b []byte) []byte { put32(b, posCount, 4); put32(b, posLastDelta, 3); return b },
		"one record too few declared":  func(b []byte) []byte { put32(b, posCount, 2); put32(b, posLastDelta, 1); return b },
		"record longer than the batch": func(b []byte) []byte { b[HeaderSize] = 0x7e; return b[:HeaderSize+20] },
		"negative record length":       func(b []byte) []byte { b[HeaderSize] = 1; return b },
		"endless varint": func(b []byte) []byte {
			copy(b[HeaderSize:], bytes.Repeat([]byte{0xff}, 12))
			return b
		},
		"no records at all": func(b []byte) []byte { return b[:HeaderSize] },
		"byte after":        func(b []byte) []byte { return append(b, 0) },
	} {
		b := do(slices.Clone(sample(None, 3)))
		put32(b, posLength, int32(len(b)-Overhead))
		seal(b)
		for _, shapes := range []bool{false, true} {
			var r Reader
			r.Reset(b, DefaultLimit)
			r.shapes = shapes
			for r.Next() {
			}
			if kafka.CodeOf(r.Err()) != kafka.CorruptMessage {
				t.Errorf("%s, shapes %v: %v", name, shapes, r.Err())
			}
		}
	}
}

// TestExpansionIsBounded opens batches that expand to far more than they may,
// and one whose length field lies.
func TestExpansionIsBounded(t *testing.T) {
	for _, codec := range codecs[1:] {
		var b Builder
		b.Codec = codec
		batch := b.Append(Record{Value: make([]byte, 8<<20)}).Append(Record{Value: make([]byte, 1<<20)}).Bytes()
		for _, shapes := range []bool{false, true} {
			var r Reader
			r.Reset(batch, 4<<20)
			r.shapes = shapes
			for r.Next() {
			}
			if kafka.CodeOf(r.Err()) != kafka.CorruptMessage || !strings.Contains(r.Err().Error(), "limit") {
				t.Errorf("%s: %v", codec, r.Err())
			}
			if cap(r.win.own) > 8<<20 || cap(r.dec.snappy.buf) > 4<<20 {
				t.Errorf("%s: holds %d and %d bytes", codec, cap(r.win.own), cap(r.dec.snappy.buf))
			}
		}
	}
	lie := append(make([]byte, HeaderSize), 0xff, 0xff, 0xff, 0xff, 0x03, 0) // a raw snappy block of "1 GiB"
	copy(lie, sample(None, 1)[:HeaderSize])
	lie[posAttributes+1] = byte(Snappy)
	var r Reader
	r.Reset(lie, 2<<30)
	if r.Next() || cap(r.dec.snappy.buf) != 0 {
		t.Errorf("a snappy length was believed: %d bytes", cap(r.dec.snappy.buf))
	}
}

// TestForeignFrames opens what other clients send: one raw snappy block, and
// lz4 frames that Kafka refuses.
func TestForeignFrames(t *testing.T) {
	plain := sample(None, 3)
	as := func(codec Codec, body []byte) []byte {
		b := append(slices.Clone(plain[:HeaderSize]), body...)
		b[posAttributes+1] = byte(codec)
		put32(b, posLength, int32(len(b)-Overhead))
		seal(b)
		return b
	}
	raw := rawSnappy(plain[HeaderSize:])
	if got := readAll(t, as(Snappy, raw)); len(got) != 3 {
		t.Errorf("raw snappy: %d records", len(got))
	}
	frame := (&encoders{}).append(nil, LZ4, 0, plain[HeaderSize:])
	for name, flags := range map[string]byte{"dependent blocks": frame[4] &^ 0x20, "dictionary": frame[4] | 1, "version 2": 0xa0} {
		bad := slices.Clone(frame)
		bad[4] = flags
		var r Reader
		if r.Reset(as(LZ4, bad), DefaultLimit); r.Next() || r.Err() == nil {
			t.Errorf("lz4 with %s was read", name)
		}
	}
	var r Reader
	if r.Reset(as(5, frame), DefaultLimit); r.Next() || r.Err() == nil {
		t.Error("codec 5 was read")
	}
}

func TestMarkers(t *testing.T) {
	for _, want := range []ControlType{Abort, Commit} {
		b := EndTxnMarker(Producer{ID: 5, Epoch: 3}, want, 17, 123)
		h, err := Check(b)
		if err != nil || !h.Attributes.Has(Control|Transactional) || h.BaseSequence != kafka.NoSequence || h.ProducerID != 5 || h.ProducerEpoch != 3 {
			t.Fatalf("%+v, %v", h, err)
		}
		r := readAll(t, b)
		got, epoch, err := ParseEndTxnMarker(&r[0])
		if err != nil || got != want || epoch != 17 || len(r) != 1 {
			t.Errorf("marker %v: %v, %d, %v", want, got, epoch, err)
		}
	}
	for _, r := range []Record{{}, {Key: []byte{0, 0}}, {Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0}}, {Key: []byte{255, 0, 0, 1}}} {
		if _, _, err := ParseEndTxnMarker(&r); err == nil {
			t.Errorf("marker %v was read", r)
		}
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	var r Reader
	for _, codec := range []Codec{None, Snappy, LZ4} {
		b := slices.Clone(sample(codec, 50))
		n := testing.AllocsPerRun(50, func() {
			for r.Reset(b, DefaultLimit); r.Next(); {
			}
			if r.Err() != nil {
				t.Fatal(r.Err())
			}
		})
		if codec == None && n != 0 || n > 3 {
			t.Errorf("%s: %v allocations", codec, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, codec := range codecs {
		batch := slices.Clone(sample(codec, 160))
		b.Run(codec.String(), func(b *testing.B) {
			var r Reader
			b.ReportAllocs()
			for b.Loop() {
				for r.Reset(batch, DefaultLimit); r.Next(); {
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/160, "ns/record")
		})
	}
}
