package record

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/klauspost/compress/snappy"

	"github.com/myelin-stream/myelin/internal/kafka"
)

func rawSnappy(b []byte) []byte { return snappy.Encode(nil, b) }

const (
	now  = int64(1_000_000_000_000)
	hour = int64(3_600_000)
)

// free are the rules of a topic with no limits.
func free() Rules {
	return Rules{Partition: kafka.TopicPartition{Topic: "t", Partition: 3}, Before: math.MaxInt64, After: math.MaxInt64}
}

func TestMustOpen(t *testing.T) {
	tests := []struct {
		name string
		set  func(*Rules, *Header)
		want bool
	}{
		{"carry", func(*Rules, *Header) {}, false},
		{"validate.records", func(r *Rules, _ *Header) { r.Validate = true }, true},
		{"compacted", func(r *Rules, _ *Header) { r.Compacted = true }, true},
		{"the same codec", func(r *Rules, h *Header) { r.Recode, r.Codec, h.Attributes = true, Zstd, Attributes(Zstd) }, false},
		{"another codec", func(r *Rules, h *Header) { r.Recode, r.Codec = true, Zstd }, true},
		{"within an hour", func(r *Rules, h *Header) { r.After, h.MaxTimestamp = hour, now+hour }, false},
		{"after more than an hour", func(r *Rules, h *Header) { r.After, h.MaxTimestamp = hour, now+hour+1 }, true},
		{"future, but the broker's clock counts", func(r *Rules, h *Header) { r.AppendTime, r.After, h.MaxTimestamp = true, hour, now*2 }, false},
		{"lower bound", func(r *Rules, h *Header) { r.Before = hour }, true},
		{"no timestamp", func(r *Rules, h *Header) { r.After, h.MaxTimestamp = 0, kafka.NoTimestamp }, false},
		{"LogAppendTime from a client", func(r *Rules, h *Header) { h.Attributes = AppendTime }, true},
	}
	for _, test := range tests {
		r, h := free(), Header{MaxTimestamp: now}
		test.set(&r, &h)
		if got := r.MustOpen(&h, now); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	p := NewPool(PoolConfig{Slots: 1, Limit: 1 << 20})
	plain := func(ts int64, key []byte) Record { return Record{Timestamp: ts, Key: key, Value: []byte("v")} }
	tests := []struct {
		name    string
		set     func(*Rules)
		recs    []Record
		spoil   func([]byte) []byte
		code    kafka.Code
		records []int32
		message string
	}{
		{"keyless", func(r *Rules) { r.Compacted = true },
			[]Record{plain(now, []byte("k")), plain(now, nil), plain(now, nil)}, nil, kafka.InvalidRecord, []int32{1, 2},
			"One or more records have been rejected due to 2 record errors in total, and only showing the first three errors at most: " +
				"[RecordError(batchIndex=1, message='Compacted topic cannot accept message without key in topic partition t-3'), " +
				"RecordError(batchIndex=2, message='Compacted topic cannot accept message without key in topic partition t-3')]"},
		{"empty keys are keys", func(r *Rules) { r.Compacted = true }, []Record{plain(now, []byte{})}, nil, kafka.None, nil, ""},
		{"too far ahead", func(r *Rules) { r.After = hour }, []Record{plain(now, nil), plain(now+hour+1, nil)}, nil,
			kafka.InvalidTimestamp, []int32{1}, "One or more records have been rejected due to invalid timestamp"},
		{"too old", func(r *Rules) { r.Before = hour }, []Record{plain(now-hour-1, nil), plain(now-hour, nil)}, nil,
			kafka.InvalidTimestamp, []int32{0}, "One or more records have been rejected due to invalid timestamp"},
		{"more than it says", func(r *Rules) { r.Validate = true }, []Record{plain(now, nil), plain(now, nil)},
			sealed(func(b []byte) { put32(b, posCount, 1); put32(b, posLastDelta, 0) }), kafka.InvalidRecord, nil, ""},
		{"LogAppendTime twice", func(r *Rules) { r.AppendTime = true }, []Record{plain(now, nil)},
			sealed(func(b []byte) { b[posAttributes+1] |= byte(AppendTime) }), kafka.InvalidTimestamp, []int32{0},
			"One or more records have been rejected due to invalid timestamp"},
		{"too large", func(r *Rules) { r.Validate = true }, []Record{{Timestamp: now, Value: make([]byte, 2<<20)}}, nil,
			kafka.MessageTooLarge, nil, ""},
		{"undecodable", func(r *Rules) { r.Validate = true }, []Record{plain(now, nil)}, spoilBody, kafka.UnknownServerError, nil, ""},
	}
	for _, test := range tests {
		for _, codec := range codecs {
			if codec == None && (test.name == "too large" || test.name == "undecodable") {
				continue
			}
			rules := free()
			test.set(&rules)
			b := Builder{Codec: codec}
			for _, r := range test.recs {
				b.Append(r)
			}
			batch := b.Bytes()
			if test.spoil != nil {
				batch = test.spoil(batch)
			}
			h, err := CheckClient(batch)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = p.Inspect(batch, h, &rules, now)
			checkRefusal(t, test.name+", "+codec.String(), err, &Refusal{Code: test.code, Message: test.message}, test.records)
		}
	}
}

// spoilBody breaks the first bytes of a compressed stream, where each format
// has its magic.
func spoilBody(b []byte) []byte {
	b[HeaderSize] ^= 0xff
	b[HeaderSize+1] ^= 0xff
	seal(b)
	return b
}

func checkRefusal(t *testing.T, name string, err error, want *Refusal, records []int32) {
	t.Helper()
	if kafka.CodeOf(err) != want.Code {
		t.Errorf("%s: %v, want %s", name, err, want.Code.Name())
		return
	}
	var r *Refusal
	if !errors.As(err, &r) {
		if want.Code != kafka.None {
			t.Errorf("%s: no refusal: %v", name, err)
		}
		return
	}
	var at []int32
	for _, e := range r.Records {
		at = append(at, e.Index)
	}
	if !slices.Equal(at, records) || want.Message != "" && r.Message != want.Message {
		t.Errorf("%s: records %v, message %q", name, at, r.Message)
	}
}

// TestRecode carries batches from every codec to every other.
func TestRecode(t *testing.T) {
	p := NewPool(PoolConfig{})
	for _, from := range codecs {
		for _, to := range codecs {
			b := Builder{Codec: from, Producer: &Producer{ID: 4, Epoch: 1, Sequence: 8}, Flags: Transactional}
			want := []Record{
				{Offset: 0, Timestamp: now, Key: []byte("k"), Value: []byte("v"), Headers: []RecordHeader{{"h", nil}}},
				{Offset: 1, Timestamp: now - 7, Value: []byte{}},
			}
			b.Append(want[0]).Append(want[1])
			batch := slices.Clone(b.Bytes())
			h, err := CheckClient(batch)
			if err != nil {
				t.Fatal(err)
			}
			rules := free()
			rules.Recode, rules.Codec, rules.Validate = true, to, true
			out, h, err := p.Inspect(batch, h, &rules, now)
			if err != nil {
				t.Fatal(err)
			}
			again, err := CheckClient(out)
			if err != nil || again != h || h.Attributes != Transactional|Attributes(to) || h.ProducerID != 4 || h.BaseSequence != 8 || h.MaxTimestamp != now {
				t.Fatalf("%s to %s: %+v, %v", from, to, again, err)
			}
			if got := readAll(t, out); !slices.EqualFunc(got, want, equalRecords) {
				t.Errorf("%s to %s: %v", from, to, got)
			}
		}
	}
}

// TestOffsetsArePutRight opens batches whose records claim other offsets than
// the header, as very old clients wrote them: Kafka stores them renumbered.
func TestOffsetsArePutRight(t *testing.T) {
	p := NewPool(PoolConfig{})
	for _, codec := range codecs {
		b := Builder{Codec: codec}
		b.AppendAt(Record{Offset: 0, Timestamp: now, Value: []byte("a")}).AppendAt(Record{Offset: 5, Timestamp: now, Value: []byte("b")})
		batch := sealed(func(b []byte) { put32(b, posLastDelta, 1) })(b.Bytes())
		h, err := CheckClient(batch)
		if err != nil {
			t.Fatal(err)
		}
		rules := free()
		rules.Validate = true
		out, h, err := p.Inspect(batch, h, &rules, now)
		if err != nil || h.Attributes.Codec() != codec {
			t.Fatalf("%s: %+v, %v", codec, h, err)
		}
		if got := readAll(t, out); len(got) != 2 || got[1].Offset != 1 || string(got[1].Value) != "b" {
			t.Errorf("%s: %v", codec, got)
		}
	}
}

// TestInspectCorrects gives headers whose largest timestamp is a lie, and a
// client's LogAppendTime on a topic of CreateTime.
func TestInspectCorrects(t *testing.T) {
	p := NewPool(PoolConfig{})
	for _, lie := range []func([]byte){
		func(b []byte) { b[posMaxTimestamp+7] ^= 0x55 },
		func(b []byte) { b[posMaxTimestamp] = 0x40 },
	} {
		batch := sealed(lie)(sample(Gzip, 4))
		h, err := CheckClient(batch)
		if err != nil {
			t.Fatal(err)
		}
		rules := free()
		rules.Validate = true
		out, h, err := p.Inspect(batch, h, &rules, now)
		if err != nil || h.MaxTimestamp != 1003 {
			t.Fatalf("%+v, %v", h, err)
		}
		if again, err := CheckClient(out); err != nil || again != h {
			t.Fatalf("%+v, %v", again, err)
		}
	}
	batch := sealed(func(b []byte) { b[posAttributes+1] |= byte(AppendTime) })(sample(None, 2))
	h, _ := CheckClient(batch)
	rules := free()
	_, h, err := p.Inspect(batch, h, &rules, now)
	if err != nil || h.Attributes.Has(AppendTime) || h.MaxTimestamp != 1001 {
		t.Fatalf("%+v, %v", h, err)
	}
}
