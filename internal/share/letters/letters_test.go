package letters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/share"
)

// world is a source log, a dead-letter topic, and what goes wrong.
type world struct {
	rules  Rules
	topics map[string]Topic
	source [][]byte // batches
	fails  []error  // what the next appends answer
	bad    []string // offsets of records whose letters are refused, with all in their batch
	reads  error
	calls  int

	batches int
	written []string // partition, offset, deliveries, key and value
	headers []record.RecordHeader
	too     int // batches above the topic's limit
}

func newWorld() *world {
	return &world{rules: Rules{Topic: "dlq.x", Prefix: "dlq."}, topics: map[string]Topic{"dlq.x": {Partitions: 2, Allowed: true, MaxBytes: 1 << 20}}}
}

func (w *world) Rules(string) Rules              { return w.rules }
func (w *world) Topic(name string) (Topic, bool) { t, ok := w.topics[name]; return t, ok }
func (w *world) Name(kafka.UUID) string          { return "src" }

func (w *world) Create(_ context.Context, name string) error {
	w.topics[name] = Topic{Partitions: 1, Allowed: true, MaxBytes: 1 << 20}
	return nil
}

// Read gives two batches at most.
func (w *world) Read(_ kafka.UUID, _ int32, offset int64, _ int) ([]byte, error) {
	var out []byte
	n := 0
	for _, b := range w.source {
		h, _ := record.ParseHeader(b)
		if h.LastOffset() >= offset && n < 2 {
			out = append(out, b...)
			n++
		}
	}
	return out, w.reads
}

func (w *world) Append(_ context.Context, topic string, partition int32, batch []byte) error {
	w.calls++
	if len(w.fails) > 0 {
		err := w.fails[0]
		if w.fails = w.fails[1:]; err != nil {
			return err
		}
	}
	if len(batch) > w.topics[topic].MaxBytes {
		w.too++
		return kafka.MessageTooLarge
	}
	if _, err := record.CheckClient(batch); err != nil {
		return err
	}
	var r record.Reader
	for r.Reset(batch, record.DefaultLimit); r.Next(); {
		for _, h := range r.Record().Headers {
			if h.Key == "__dlq.errors.offset" && slices.Contains(w.bad, string(h.Value)) {
				return kafka.InvalidRecord
			}
		}
	}
	w.batches++
	for r.Reset(batch, record.DefaultLimit); r.Next(); {
		at := map[string]string{}
		for _, h := range r.Record().Headers {
			at[strings.TrimPrefix(h.Key, "__dlq.errors.")] = string(h.Value)
		}
		w.headers = slices.Clone(r.Record().Headers)
		w.written = append(w.written, fmt.Sprintf("%d: %s %s %s=%s", partition, at["offset"], at["delivery.count"], r.Record().Key, r.Record().Value))
	}
	return r.Err()
}

func (w *world) send(t testing.TB, all ...share.Letter) []error {
	t.Helper()
	s, err := New(Config{World: w, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s.Send(t.Context(), share.Key{Group: "g", Partition: 3}, all)
}

// batch is one of the source: a record for each offset, with keys and values.
func batch(codec record.Codec, size int, offsets ...int64) []byte {
	b := record.Builder{BaseOffset: offsets[0], Codec: codec}
	for _, o := range offsets {
		b.AppendAt(record.Record{Offset: o, Key: fmt.Appendf(nil, "k%d", o), Value: []byte(strings.Repeat("v", size))})
	}
	return slices.Clone(b.Bytes())
}

func TestHeaders(t *testing.T) {
	w := newWorld()
	if errs := w.send(t, share.Letter{First: 7, Last: 7, Count: 2, Cause: share.TooOften}); errs[0] != nil {
		t.Fatal(errs)
	}
	want := []record.RecordHeader{{Key: "__dlq.errors.topic", Value: []byte("src")}, {Key: "__dlq.errors.partition", Value: []byte("3")},
		{Key: "__dlq.errors.offset", Value: []byte("7")}, {Key: "__dlq.errors.group", Value: []byte("g")},
		{Key: "__dlq.errors.delivery.count", Value: []byte("2")},
		{Key: "__dlq.errors.message", Value: []byte("Offset delivery count exceeded the threshold.")}}
	if fmt.Sprint(w.headers) != fmt.Sprint(want) {
		t.Errorf("headers %q, want %q", w.headers, want)
	}
	if got := w.written[0]; got != "1: 7 2 =" { // 3 modulo 2 partitions
		t.Errorf("letter %q", got)
	}
}

// What passes is tried again, five times in all, in pauses that grow; what does
// not pass is not; one record that nobody takes leaves the others alone.
func TestFailures(t *testing.T) {
	three := []share.Letter{{First: 0, Last: 0, Count: 1}, {First: 1, Last: 1, Count: 1}, {First: 5, Last: 6, Count: 2}}
	notLeader := error(kafka.NotLeaderOrFollower)
	for name, c := range map[string]struct {
		change func(w *world)
		failed string // by letter
		calls  int
		took   time.Duration
	}{
		"nothing":               {func(*world) {}, "false false false", 1, 0},
		"passes":                {func(w *world) { w.fails = []error{notLeader, kafka.KafkaStorageError} }, "false false false", 3, 3 * time.Second},
		"stays":                 {func(w *world) { w.fails = slices.Repeat([]error{notLeader}, 9) }, "true true true", 5, 15 * time.Second},
		"the first is bad":      {func(w *world) { w.bad = []string{"0"} }, "true false false", 3, 0},
		"one is bad":            {func(w *world) { w.bad = []string{"1"} }, "false true false", 5, 0},
		"one of two is bad":     {func(w *world) { w.bad = []string{"6"} }, "false false true", 7, 0},
		"no topic":              {func(w *world) { w.rules.Topic = "" }, "true true true", 0, 0},
		"internal":              {func(w *world) { w.rules.Topic, w.rules.Prefix, w.rules.Create = "__x", "", true }, "true true true", 0, 0},
		"wrong name":            {func(w *world) { w.rules.Prefix = "dead." }, "true true true", 0, 0},
		"any name":              {func(w *world) { w.rules.Prefix = "" }, "false false false", 1, 0},
		"not allowed":           {func(w *world) { w.topics["dlq.x"] = Topic{Partitions: 1} }, "true true true", 0, 0},
		"missing":               {func(w *world) { clear(w.topics) }, "true true true", 0, 0},
		"missing and made":      {func(w *world) { clear(w.topics); w.rules.Create = true }, "false false false", 1, 0},
		"cannot be read":        {func(w *world) { w.rules.Copy, w.reads = true, kafka.KafkaStorageError }, "false false false", 1, 0},
		"copies of what is not": {func(w *world) { w.rules.Copy = true }, "false false false", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				c.change(w)
				start := time.Now()
				var failed []string
				for _, err := range w.send(t, three...) {
					failed = append(failed, fmt.Sprint(err != nil))
				}
				if got := strings.Join(failed, " "); got != c.failed || w.calls != c.calls || time.Since(start) != c.took {
					t.Errorf("failed %s after %d tries and %v, want %s after %d and %v", got, w.calls, time.Since(start), c.failed, c.calls, c.took)
				}
			})
		})
	}
}

// The end of the broker cuts a pause short.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fails = slices.Repeat([]error{kafka.NotLeaderOrFollower}, 9)
		s, _ := New(Config{World: w, Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		errs := s.Send(ctx, share.Key{}, []share.Letter{{First: 1, Last: 1, Count: 1}})
		if !errors.Is(errs[0], context.DeadlineExceeded) || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("%v after %v", errs, time.Since(start))
		}
	})
}

// A copy above the topic's limit is left out, also where the compressed batch is
// small.
func TestTooLargeForACopy(t *testing.T) {
	w := newWorld()
	w.rules.Copy = true
	w.topics["dlq.x"] = Topic{Partitions: 1, Allowed: true, MaxBytes: 1000}
	w.source = [][]byte{batch(record.Zstd, 100_000, 4), batch(record.None, 10, 5), batch(record.None, 985, 6), batch(record.None, 10, 7)}
	errs := w.send(t, share.Letter{First: 4, Last: 7, Count: 1})
	want := []string{"0: 4 1 =", "0: 5 1 k5=" + strings.Repeat("v", 10), "0: 6 1 =", "0: 7 1 k7=" + strings.Repeat("v", 10)}
	if errs[0] != nil || !slices.Equal(w.written, want) || w.too != 1 {
		t.Errorf("%v: %q, %d too large", errs, w.written, w.too)
	}
}

// Whatever the log and the letters are, there is a letter of each record, in
// order, with a copy where the log has the record, in batches that the topic
// takes.
func TestEveryRecordOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		w.rules.Copy = rapid.Bool().Draw(rt, "copy")
		w.topics["dlq.x"] = Topic{Partitions: 1, Allowed: true, MaxBytes: rapid.IntRange(400, 3000).Draw(rt, "max")}
		has := map[int64]bool{}
		at := int64(0)
		size := rapid.IntRange(0, 60).Draw(rt, "size")
		for range rapid.IntRange(0, 6).Draw(rt, "batches") {
			var offsets []int64
			for range rapid.IntRange(1, 5).Draw(rt, "records") {
				at += int64(rapid.IntRange(1, 3).Draw(rt, "gap"))
				offsets = append(offsets, at)
				has[at] = true
			}
			w.source = append(w.source, batch(record.Codec(rapid.IntRange(0, 4).Draw(rt, "codec")), size, offsets...))
		}
		var all []share.Letter
		var want []string
		for o := int64(0); o < at+3; {
			l := share.Letter{First: o + int64(rapid.IntRange(0, 4).Draw(rt, "skip")), Count: 1}
			l.Last = l.First + int64(rapid.IntRange(0, 6).Draw(rt, "length"))
			for o := l.First; o <= l.Last; o++ {
				key, value := "", ""
				if has[o] && w.rules.Copy {
					key, value = fmt.Sprintf("k%d", o), strings.Repeat("v", size)
				}
				want = append(want, fmt.Sprintf("0: %d 1 %s=%s", o, key, value))
			}
			all, o = append(all, l), l.Last+1
		}
		for _, err := range w.send(t, all...) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		if !slices.Equal(w.written, want) || w.too > 0 {
			rt.Fatalf("written %q, want %q; %d too large", w.written, want, w.too)
		}
		if !w.rules.Copy && w.batches > 1+len(want)*250/w.topics["dlq.x"].MaxBytes*2 {
			rt.Fatalf("%d batches for %d letters of %d bytes", w.batches, len(want), w.topics["dlq.x"].MaxBytes)
		}
	})
}
