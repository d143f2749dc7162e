package main

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestMain lets the test binary be the sink that startSink starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "-sink" {
		if err := runSink(os.Args[2], os.Args[4]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestBatches reads what is built with another's decoder: exact size, checksum,
// count, values.
func TestBatches(t *testing.T) {
	for _, spec := range []batchSpec{
		{size: mib, record: 1024}, {size: kib64, record: 1024}, {size: kib16, record: 1024}, {size: kib16, record: 100},
		{size: oneRecord}, {size: 21_337, record: 1024},
		{size: kib64, record: 1024, codec: "lz4"}, {size: kib64, record: 1024, codec: "zstd"},
	} {
		b, err := spec.build()
		if err != nil {
			t.Fatalf("%+v: %v", spec, err)
		}
		if spec.codec == "" && len(b.bytes) != spec.size || len(b.bytes) > spec.size {
			t.Errorf("%+v: %d bytes", spec, len(b.bytes))
		}
		var got kmsg.RecordBatch
		if err := got.ReadFrom(b.bytes); err != nil {
			t.Fatalf("%+v: %v", spec, err)
		}
		if int(got.NumRecords) != b.count || got.LastOffsetDelta != got.NumRecords-1 || int(got.Length) != len(b.bytes)-12 {
			t.Errorf("%+v: header %+v for %d records", spec, got, b.count)
		}
		if crc := crc32.Checksum(b.bytes[crcFrom:], crc32.MakeTable(crc32.Castagnoli)); uint32(got.CRC) != crc {
			t.Errorf("%+v: checksum %08x, want %08x", spec, uint32(got.CRC), crc)
		}
		if spec.codec != "" {
			continue
		}
		var count, at int
		for raw := got.Records; len(raw) > 0; count++ {
			n, k := binary.Varint(raw)
			var rec kmsg.Record
			if err := rec.ReadFrom(raw[:int(n)+k]); err != nil {
				t.Fatalf("%+v: record %d: %v", spec, count, err)
			}
			at += len(rec.Value)
			raw = raw[int(n)+k:]
		}
		if count != b.count || at == 0 {
			t.Errorf("%+v: %d records of %d bytes, want %d", spec, count, at, b.count)
		}
	}
}

// TestAnswers walks answers that another's encoder wrote.
func TestAnswers(t *testing.T) {
	produce := kmsg.NewPtrProduceResponse()
	produce.Version = produceVersion
	pt, pp := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
	pt.Topic, pp.ErrorCode, pp.BaseOffset = "some-topic", 6, 41
	pt.Partitions = append(pt.Partitions, pp)
	produce.Topics = append(produce.Topics, pt)
	code, rest, err := answerError(append([]byte{0, 0, 0, 9, 0}, produce.AppendTo(nil)...), false)
	if code != 6 || err != nil || binary.BigEndian.Uint64(rest) != 41 {
		t.Errorf("produce: code %d, %v", code, err)
	}

	fetch := kmsg.NewPtrFetchResponse()
	fetch.Version = fetchVersion
	ft, fp := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	ft.Topic, fp.RecordBatches = "some-topic", []byte("records")
	ft.Partitions = append(ft.Partitions, fp)
	fetch.Topics = append(fetch.Topics, ft)
	body := append([]byte{0, 0, 0, 9, 0}, fetch.AppendTo(nil)...)
	if records, err := fetchedRecords(body); string(records) != "records" || err != nil {
		t.Errorf("fetch: %q, %v", records, err)
	}
	for n := range len(body) - 20 {
		if records, err := fetchedRecords(body[:n]); err == nil {
			t.Fatalf("an answer cut at %d gave %q", n, records)
		}
	}
}

// TestFetchFrame: a sink finds the limit where this program writes it.
func TestFetchFrame(t *testing.T) {
	frame, at := fetchAsk{topic: "t", offset: 77, maxBytes: 4711, minBytes: 1}.frame()
	if got := binary.BigEndian.Uint64(frame[at:]); got != 77 {
		t.Errorf("offset %d, want 77", got)
	}
	if got := binary.BigEndian.Uint32(frame[len(frame)-maxBytesFromEnd:]); got != 4711 {
		t.Errorf("limit %d, want 4711", got)
	}
}

// TestSinks runs every shape of work against its floor.
func TestSinks(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := &session{dir: t.TempDir(), quick: true, log: t.Logf}
	on := func(kind string, do func(target) ([]float64, error)) {
		t.Helper()
		got, err := s.onSink(ctx, kind, do)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			return
		}
		for _, v := range got {
			if v < 0 || math.IsNaN(v) {
				t.Errorf("%s: measured %v", kind, got)
			}
		}
	}
	for _, l := range []load{produceLoad(kib16, 1024, 10e6), produceLoad(oneRecord, 0, 1e6)} {
		on("produce", func(to target) ([]float64, error) {
			w, err := l.run(ctx, to, "t")
			return []float64{w.cpuPerGB(), w.mbPerSecond()}, err
		})
	}
	for _, r := range fetchRows() {
		on("fetch", func(to target) ([]float64, error) {
			r.load.bytes = 20e6
			w, err := r.load.run(ctx, to, "t")
			return []float64{w.cpuPerRequest()}, err
		})
	}
	on("relay", func(to target) ([]float64, error) {
		return endToEnd(ctx, to, "t", pace{acks: 1, rate: 2000, d: 100 * time.Millisecond})
	})
	on("sync", func(to target) ([]float64, error) { return s.oneExchange(ctx, to, time.Now()) })
}

func TestJudge(t *testing.T) {
	r := newResult(&row{metrics: []metric{{name: "CPU"}}})
	for _, v := range []float64{3, 1, 2} {
		r.add("myelin", []float64{v})
		r.add("kafka", []float64{2 * v})
	}
	for _, c := range []struct {
		limit limit
		want  string
	}{
		{atMost(0.5, "kafka"), "pass"}, {atMost(0.4, "kafka"), "MISS"}, {limit{of: "kafka", factor: 0.4, atLeast: true}, "pass"},
		{limit{of: "kafka", factor: 0.6, atLeast: true}, "MISS"}, {atMost(2, ""), "pass"}, {atMost(1.9, ""), "MISS"},
		{atMost(1, "floor"), "no floor"}, {limit{of: "kafka", factor: 0.4, or: &limit{factor: 2}}, "pass"},
		{limit{of: "kafka", factor: 0.4, or: &limit{factor: 1.9}}, "MISS"}, {limit{of: "floor", factor: 1, or: &limit{factor: 1.9}}, "MISS"},
		{limit{of: "kafka", factor: 0.5, or: &limit{factor: 1.9}}, "pass"},
	} {
		if got := r.judge(0, c.limit); got.result != c.want {
			t.Errorf("%s: %s %s, want %s", c.limit, got.ratio, got.result, c.want)
		}
	}
	var b strings.Builder
	if report(&b, []*result{failed(r.row, context.Canceled)}) {
		t.Error("a failed row passes")
	}
}

func TestChoose(t *testing.T) {
	if got, err := choose("p4,P13-10k"); err != nil || len(got) != 3 {
		t.Errorf("choose gave %d rows, %v", len(got), err)
	}
	if got, err := choose("P13"); err != nil || len(got) != 3 {
		t.Errorf("choose gave %d rows of P13, %v", len(got), err)
	}
	if _, err := choose("P0"); err == nil || !strings.Contains(err.Error(), "P1 P2 P3") {
		t.Errorf("an unknown row: %v", err)
	}
}
