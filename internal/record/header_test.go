package record

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// sample builds a batch of n records with keys.
func sample(codec Codec, n int) []byte {
	b := Builder{Codec: codec}
	for i := range n {
		b.Append(Record{Timestamp: 1000 + int64(i), Key: []byte{byte(i)}, Value: []byte(strings.Repeat("v", 100))})
	}
	return b.Bytes()
}

func put32(b []byte, at int, v int32) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }

func TestCheckClient(t *testing.T) {
	tests := []struct {
		name   string
		do     func(b []byte) []byte
		code   kafka.Code
		logged bool
	}{
		{"ordinary", func(b []byte) []byte { return b }, kafka.None, false},
		{"a torn rest is ignored", func(b []byte) []byte { return append(b, b[:len(b)-1]...) }, kafka.None, false},
		{"a rest of a few bytes is ignored", func(b []byte) []byte { return append(b, 1, 2, 3) }, kafka.None, false},
		{"empty", func(b []byte) []byte { return nil }, kafka.InvalidRecord, false},
		{"cut off", func(b []byte) []byte { return b[:len(b)-1] }, kafka.InvalidRecord, false},
		{"two batches", func(b []byte) []byte { return append(b, b...) }, kafka.InvalidRecord, false},
		{"then garbage", func(b []byte) []byte { return append(b, make([]byte, 40)...) }, kafka.CorruptMessage, false},
		{"magic 0", func(b []byte) []byte { b[posMagic] = 0; return b }, kafka.InvalidRecord, false},
		{"magic 1", func(b []byte) []byte { b[posMagic] = 1; return b }, kafka.InvalidRecord, false},
		{"magic 3", func(b []byte) []byte { b[posMagic] = 3; return b }, kafka.CorruptMessage, false},
		{"magic -1", func(b []byte) []byte { b[posMagic] = 255; return b }, kafka.CorruptMessage, false},
		{"length 13", func(b []byte) []byte { put32(b, posLength, 13); return b }, kafka.CorruptMessage, false},
		{"length -1", func(b []byte) []byte { put32(b, posLength, -1); return b }, kafka.CorruptMessage, false},
		{"length of 2 GiB", func(b []byte) []byte { put32(b, posLength, math.MaxInt32); return b }, kafka.InvalidRecord, false},
		{"less than a header", func(b []byte) []byte { put32(b, posLength, 40); return b[:52] }, kafka.CorruptMessage, false},
		{"a flipped bit", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, kafka.CorruptMessage, false},
		{"base offset 1", func(b []byte) []byte { b[7] = 1; return b }, kafka.InvalidRecord, true},
		{"count 0", sealed(func(b []byte) { put32(b, posCount, 0) }), kafka.InvalidRecord, true},
		{"count too large", sealed(func(b []byte) { put32(b, posCount, 4) }), kafka.InvalidRecord, true},
		{"count -1", sealed(func(b []byte) { put32(b, posCount, -1) }), kafka.InvalidRecord, true},
		{"last delta -1", sealed(func(b []byte) { put32(b, posLastDelta, -1); put32(b, posCount, 0) }), kafka.InvalidRecord, true},
		{"last delta at its end", sealed(func(b []byte) {
			put32(b, posLastDelta, math.MaxInt32)
			put32(b, posCount, math.MinInt32)
		}), kafka.InvalidRecord, true},
		{"control", sealed(func(b []byte) { b[posAttributes+1] |= byte(Control) }), kafka.InvalidRecord, true},
		{"producer without sequence", sealed(func(b []byte) {
			binary.BigEndian.PutUint64(b[posProducerID:], 7)
		}), kafka.InvalidRecord, true},
		{"codec 5", sealed(func(b []byte) { b[posAttributes+1] |= 5 }), kafka.UnknownServerError, true},
		{"codec 7", sealed(func(b []byte) { b[posAttributes+1] |= 7 }), kafka.UnknownServerError, true},
	}
	for _, test := range tests {
		b := test.do(append(make([]byte, 0, 4096), sample(None, 3)...))
		h, err := CheckClient(b)
		if kafka.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", test.name, err, test.code.Name())
		}
		var r *Refusal
		if errors.As(err, &r) && r.Logged != test.logged {
			t.Errorf("%s: logged is %v", test.name, r.Logged)
		}
		if err == nil && (h.Count != 3 || h.Size() != len(sample(None, 3))) {
			t.Errorf("%s: header %+v", test.name, h)
		}
	}
}

// sealed changes a batch and gives it the CRC of what it then is.
func sealed(do func(b []byte)) func([]byte) []byte {
	return func(b []byte) []byte {
		do(b)
		seal(b)
		return b
	}
}

func TestCheck(t *testing.T) {
	thinned := Builder{BaseOffset: 40}
	thinned.AppendAt(Record{Offset: 42, Value: []byte("x")}).AppendAt(Record{Offset: 49, Value: []byte("y")})
	h, err := Check(thinned.Bytes())
	if err != nil || h.Count != 2 || h.LastOffset() != 49 || h.NextOffset() != 50 {
		t.Fatalf("thinned batch: %+v, %v", h, err)
	}
	if _, err := Check(EndTxnMarker(Producer{7, 1, 0}, Commit, 3, 99)); err != nil {
		t.Errorf("marker: %v", err)
	}
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"trailing byte": append(sample(None, 1), 0),
		"cut":           sample(None, 1)[:80],
		"count over":    sealed(func(b []byte) { put32(b, posCount, 4) })(sample(None, 3)),
		"magic 9":       sealed(func(b []byte) { b[posMagic] = 9 })(sample(None, 3)),
	} {
		if _, err := Check(b); kafka.CodeOf(err) != kafka.CorruptMessage {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := sample(None, 1)
	old[posMagic] = 1
	if _, err := Check(old); kafka.CodeOf(err) != kafka.UnsupportedForMessageFormat {
		t.Errorf("magic 1: %v", err)
	}
}

func TestStampKeepsCRC(t *testing.T) {
	b := sample(None, 3)
	Stamp(b, 1<<40, 12)
	h, err := Check(b)
	if err != nil || h.BaseOffset != 1<<40 || h.LeaderEpoch != 12 || h.LastOffset() != 1<<40+2 {
		t.Fatalf("%+v, %v", h, err)
	}
	h = SetAppendTime(b, 77)
	again, err := Check(b)
	if err != nil || again != h || h.MaxTimestamp != 77 || !h.Attributes.Has(AppendTime) {
		t.Fatalf("%+v, %v", again, err)
	}
	for _, r := range readAll(t, b) {
		if r.Timestamp != 77 {
			t.Errorf("record at %d has time %d", r.Offset, r.Timestamp)
		}
	}
}

func TestSequences(t *testing.T) {
	if got := AddSequence(math.MaxInt32, 1); got != 0 {
		t.Errorf("wrap: %d", got)
	}
	if got := AddSequence(math.MaxInt32-1, 3); got != 1 {
		t.Errorf("wrap: %d", got)
	}
	h := Header{BaseSequence: 5, LastOffsetDelta: 4}
	if h.LastSequence() != 9 {
		t.Errorf("last sequence %d", h.LastSequence())
	}
	h.BaseSequence = kafka.NoSequence
	if h.LastSequence() != kafka.NoSequence {
		t.Errorf("last sequence of none is %d", h.LastSequence())
	}
}

func TestSizeAndParse(t *testing.T) {
	b := sample(None, 2)
	if Size(b) != len(b) || Size(b[:12]) != len(b) || Size(b[:11]) != 0 || Size(make([]byte, 100)) != 0 {
		t.Error("Size is off")
	}
	if allocs := testing.AllocsPerRun(100, func() {
		if _, err := CheckClient(b); err != nil {
			t.Error(err)
		}
		if _, err := Check(b); err != nil {
			t.Error(err)
		}
		Stamp(b, 0, 1)
	}); allocs != 0 {
		t.Errorf("checking allocates %v times", allocs)
	}
}

func BenchmarkCheckClient(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10, 1 << 20} {
		batch := (&Builder{}).Append(Record{Value: make([]byte, size)}).Bytes()
		b.Run(sizeName(size), func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := CheckClient(batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return "1MiB"
	case n >= 16<<10:
		return "16KiB"
	case n >= 1<<10:
		return "1KiB"
	}
	return "100B"
}
