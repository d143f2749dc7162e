//go:build compat

package compat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/compact"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

const cleanedTopic = "cleaned"

// TestCompaction lets a real Kafka write a log of keys, tombstones, keyless
// records and transactions, some committed, some not, in every codec. Then Kafka
// cleans it, and so do we, from a copy; more is written, and both clean again.
// After each round the same records must be left, in the same batches, and both
// must say that they came as far. Apache's own tool then reads our files.
func TestCompaction(t *testing.T) {
	k := startKafka(t, "log.cleaner.backoff.ms=300", "log.segment.delete.delay.ms=500", "transaction.max.timeout.ms=900000")
	w := newScribbler(t, k.bootstrap)
	w.write(1500)
	w.beginLate() // a transaction that stays open over the first round
	w.write(1500)

	ours := openCopy(t, k.dir)
	w.settings("cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01")
	kafkaAt := awaitCleaned(t, k.dir, 0)
	if at := ours.clean(t); at != kafkaAt {
		t.Errorf("Kafka cleaned up to %d, we up to %d", kafkaAt, at)
	}
	first := openCopy(t, k.dir)
	sameBatches(t, "first round", first.batches(t), ours.batches(t))

	w.settings("min.cleanable.dirty.ratio=1")
	w.keyed = true
	w.endLate()
	w.write(1500)
	second := openCopy(t, k.dir) // Kafka's, cleaned once, with what is new
	ours.follow(t, second)
	<-time.After(1100 * time.Millisecond) // the delete horizons of the first round are over
	w.settings("min.cleanable.dirty.ratio=0.01")
	kafkaAt = awaitCleaned(t, k.dir, kafkaAt)
	theirs := openCopy(t, k.dir).batches(t)
	for name, side := range map[string]*side{"second round": ours, "second round over Kafka's first": second} {
		if at := side.clean(t); at != kafkaAt {
			t.Errorf("%s: Kafka cleaned up to %d, we up to %d", name, kafkaAt, at)
		}
		sameBatches(t, name, theirs, side.batches(t))
	}
	ours.close(t)
	readByApache(t, ours.dir)
}

// scribbler writes to Kafka.
type scribbler struct {
	t          *testing.T
	rng        *rand.Rand
	keyed      bool // the topic refuses records without keys by now
	adm        *kadm.Client
	plain      []*kgo.Client // one for each codec
	txn, later *kgo.Client
}

func newScribbler(t *testing.T, bootstrap string) *scribbler {
	w := &scribbler{t: t, rng: rand.New(rand.NewPCG(11, 12))}
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(cleanedTopic),
			kgo.ProducerLinger(0)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	for _, c := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		w.plain = append(w.plain, client(kgo.ProducerBatchCompression(c)))
	}
	w.txn = client(kgo.TransactionalID("cleaned-1"), kgo.TransactionTimeout(10*time.Minute))
	w.later = client(kgo.TransactionalID("cleaned-2"), kgo.TransactionTimeout(10*time.Minute))
	w.adm = kadm.NewClient(w.plain[0])
	set := map[string]*string{}
	for k, v := range map[string]string{"cleanup.policy": "delete", "internal.segment.bytes": "20000", "delete.retention.ms": "1000",
		"index.interval.bytes": "1000", "min.cleanable.dirty.ratio": "1"} {
		set[k] = &v
	}
	if r, err := w.adm.CreateTopic(t.Context(), 1, 1, set, cleanedTopic); err != nil {
		t.Fatal(err, r.ErrMessage)
	}
	return w
}

func (w *scribbler) settings(pairs ...string) {
	w.t.Helper()
	var alter []kadm.AlterConfig
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
	}
	r, err := w.adm.AlterTopicConfigs(w.t.Context(), alter, cleanedTopic)
	if err != nil || r[0].Err != nil {
		w.t.Fatal(err, r)
	}
}

func (w *scribbler) write(n int) {
	w.t.Helper()
	for n > 0 {
		batch := w.records(1 + w.rng.IntN(12))
		n -= len(batch)
		if w.rng.IntN(4) > 0 {
			w.send(w.plain[w.rng.IntN(len(w.plain))], batch)
			continue
		}
		w.must(w.txn.BeginTransaction())
		w.send(w.txn, batch)
		w.send(w.txn, w.records(3))
		end := kgo.TryCommit
		if w.rng.IntN(2) == 0 {
			end = kgo.TryAbort
		}
		w.must(w.txn.EndTransaction(w.t.Context(), end))
	}
}

func (w *scribbler) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// beginLate leaves a transaction open; endLate rolls it back.
func (w *scribbler) beginLate() {
	w.must(w.later.BeginTransaction())
	w.send(w.later, w.records(3))
}

func (w *scribbler) endLate() { w.must(w.later.EndTransaction(w.t.Context(), kgo.TryAbort)) }

func (w *scribbler) send(cl *kgo.Client, batch []*kgo.Record) {
	w.t.Helper()
	w.must(cl.ProduceSync(w.t.Context(), batch...).FirstErr())
}

func (w *scribbler) records(n int) (out []*kgo.Record) {
	for range n {
		r := &kgo.Record{Key: fmt.Appendf(nil, "key-%d", w.rng.IntN(300)), Value: fmt.Appendf(nil, "%0*d", 1+w.rng.IntN(150), w.rng.IntN(1000))}
		if w.rng.IntN(6) == 0 {
			r.Value = nil
		}
		if !w.keyed && w.rng.IntN(25) == 0 {
			r.Key = nil
		}
		if w.rng.IntN(5) == 0 {
			r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "null"}}
		}
		out = append(out, r)
	}
	return out
}

// awaitCleaned waits until Kafka's checkpoint of the topic has passed an offset
// and rests.
func awaitCleaned(t *testing.T, dir string, from int64) int64 {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last, quiet := from, 0
	for range 300 {
		<-tick.C
		now := from
		data, _ := os.ReadFile(filepath.Join(dir, "cleaner-offset-checkpoint"))
		for line := range strings.Lines(string(data)) {
			if words := strings.Fields(line); len(words) == 3 && words[0] == cleanedTopic {
				now, _ = strconv.ParseInt(words[2], 10, 64)
			}
		}
		if quiet++; now != last {
			last, quiet = now, 0
		}
		if last > from && quiet > 10 {
			return last
		}
	}
	t.Fatalf("Kafka did not clean beyond %d within a minute", from)
	return 0
}

// side is a log that we have opened.
type side struct {
	dir  string
	home *commitlog.Home
	log  *commitlog.Log
	tun  commitlog.Tunables
}

// openCopy opens a copy of the topic as it lies in a data directory.
func openCopy(t *testing.T, from string) *side {
	t.Helper()
	s := &side{dir: t.TempDir(), tun: commitlog.Tunables{SegmentBytes: 20000, IndexInterval: 1000, RetentionAge: -1,
		Compaction: commitlog.Compaction{On: true, DeleteRetention: time.Second}}}
	topic := cleanedTopic + "-0"
	if err := os.CopyFS(filepath.Join(s.dir, topic), os.DirFS(filepath.Join(from, topic))); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(from, "cleaner-offset-checkpoint"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "cleaner-offset-checkpoint"), data, 0o644)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if s.home, err = commitlog.OpenHome(commitlog.HomeConfig{FS: vfs.OS(), Path: s.dir, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	if s.log, _, err = commitlog.Open(commitlog.Config{Home: s.home, Topic: cleanedTopic, Tunables: s.tun, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *side) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(s.log.Close(), s.home.Close(true)); err != nil {
		t.Fatal(err)
	}
}

// clean runs one round and tells how far it came.
func (s *side) clean(t *testing.T) int64 {
	t.Helper()
	stable := s.log.End()
	if first, ok := s.log.Producers().FirstUnstable(stable); ok {
		stable = first
	}
	c := compact.Cleaner{Now: time.Now, Rand: rand.New(rand.NewPCG(1, 1))}
	stats, did, err := c.Clean(context.Background(), compact.Target{Log: s.log, Stable: stable, HW: s.log.End()})
	if err != nil || !did {
		t.Fatal(did, err)
	}
	return stats.End
}

// follow appends what another log has more, with its segments.
func (s *side) follow(t *testing.T, leader *side) {
	t.Helper()
	begins := map[int64]bool{}
	for _, seg := range leader.log.Segments() {
		begins[seg.Base] = true
	}
	end := s.log.End()
	for _, b := range leader.raw(t) {
		h, err := record.Check(b)
		if err != nil {
			t.Fatal(err)
		}
		if h.BaseOffset < end {
			continue
		}
		tun := s.tun
		if tun.SegmentBytes = 1 << 30; begins[h.BaseOffset] {
			tun.SegmentBytes = int64(h.Size()) // has no room beside another: rolls
		}
		s.log.SetConfig(tun)
		if err := s.log.Append([]commitlog.Batch{{Bytes: b, Header: h}}); err != nil {
			t.Fatal(err)
		}
	}
	s.log.SetConfig(s.tun)
	if s.log.End() != leader.log.End() {
		t.Fatal(s.log.End(), leader.log.End())
	}
}

// raw gives all batches.
func (s *side) raw(t *testing.T) (out [][]byte) {
	t.Helper()
	for at := s.log.Start(); at < s.log.End(); {
		rng, err := s.log.Read(at, 1<<20, s.log.End(), true)
		if err != nil {
			t.Fatal(err)
		}
		if rng.Len() == 0 {
			break
		}
		data := make([]byte, rng.Len())
		if _, err := rng.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		rng.Release()
		for len(data) > 0 {
			out = append(out, data[:record.Size(data)])
			data = data[record.Size(data):]
		}
		h, _ := record.ParseHeader(out[len(out)-1])
		at = h.NextOffset()
	}
	return out
}

// batches describes every batch and record, but for the time of delete horizons,
// which depends on when a round was.
func (s *side) batches(t *testing.T) (out []string) {
	t.Helper()
	var r record.Reader
	for _, b := range s.raw(t) {
		h, err := record.Check(b)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("batch %d-%d epoch %d attributes %#x max %d producer %d/%d seq %d count %d",
			h.BaseOffset, h.LastOffset(), h.LeaderEpoch, h.Attributes, h.MaxTimestamp, h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.Count))
		for r.Reset(b, record.DefaultLimit); r.Next(); {
			rec := r.Record()
			out = append(out, fmt.Sprintf("  %d at %d %q=%q null %t %q", rec.Offset, rec.Timestamp, rec.Key, rec.Value, rec.Value == nil, rec.Headers))
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	return out
}

func sameBatches(t *testing.T, what string, kafka, ours []string) {
	t.Helper()
	for i := range min(len(kafka), len(ours)) {
		if kafka[i] != ours[i] {
			from := max(0, i-4)
			t.Fatalf("%s: line %d differs\nKafka:\n%s\nours:\n%s", what, i,
				strings.Join(kafka[from:min(i+4, len(kafka))], "\n"), strings.Join(ours[from:min(i+4, len(ours))], "\n"))
		}
	}
	if len(kafka) != len(ours) {
		t.Fatalf("%s: Kafka has %d lines, we %d", what, len(kafka), len(ours))
	}
	n := 0
	for _, l := range ours {
		if strings.HasPrefix(l, "  ") {
			n++
		}
	}
	t.Logf("%s: %d records in %d batches, equal", what, n, len(ours)-n)
}

// readByApache lets Apache's tool dump every segment.
func readByApache(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, cleanedTopic+"-0", "*.log"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	slices.Sort(files)
	var all []string
	for _, f := range files {
		for _, suffix := range []string{"log", "index", "timeindex", "txnindex"} {
			if name := strings.TrimSuffix(f, "log") + suffix; suffix == "log" || exists(name) {
				all = append(all, name)
			}
		}
	}
	out := tool(t, "", "dump-log", "--deep-iteration", "--print-data-log", "--files", strings.Join(all, ","))
	for _, bad := range []string{"isvalid: false", "Found timestamp mismatch", "Non-consecutive", "Mismatches", "Index mismatch", "out of order", "not a valid"} {
		if i := strings.Index(out, bad); i >= 0 {
			t.Errorf("Apache's tool complains:\n%s", out[max(0, i-500):min(len(out), i+1000)])
		}
	}
	if n := strings.Count(out, "isvalid: true"); n < 100 {
		t.Errorf("Apache's tool saw %d batches:\n%s", n, tail(out))
	}
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }
