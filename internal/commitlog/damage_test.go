package commitlog

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// library is a log of several segments with all that a log can have: idempotent
// producers, transactions that ended both ways, epochs, closed in order.
func library(t testing.TB) *rig {
	r := newRig(t, Tunables{SegmentBytes: 1600, IndexInterval: 100})
	quiet, _, err := Open(Config{Home: r.home, Topic: "quiet", TopicID: kafka.UUID{2}}) // so that there is a manifest
	r.must(err)
	r.must(quiet.Append([]Batch{makeBatch(batchSpec{})}))
	r.must(quiet.Flush())
	r.must(r.home.Checkpoint())
	r.must(r.home.Checkpoint())
	r.must(quiet.Close())
	seq := [3]int32{}
	for i := range 60 {
		id := i % 3
		s := batchSpec{n: 2, size: 30, epoch: int32(i / 20), ts: stamp0 + int64(i), producer: &record.Producer{ID: int64(id), Sequence: seq[id]}}
		if id > 0 {
			s.flags = record.Transactional
		}
		r.must(r.produce(s))
		seq[id] += 2
		if i%8 == 7 {
			kind := record.Abort
			if i%16 == 7 {
				kind = record.Commit
			}
			for id := int64(1); id < 3; id++ {
				b := record.EndTxnMarker(record.Producer{ID: id}, kind, 1, stamp0+int64(i))
				record.Stamp(b, r.log.End(), int32(i/20))
				h, err := record.Check(b)
				r.must(err)
				r.must(r.log.Append([]Batch{{b, h}}))
			}
		}
	}
	r.must(r.log.Flush())
	r.must(r.home.Checkpoint())
	return r
}

// holding is all that a reader can learn from a log.
type holding struct {
	start, end int64
	batches    map[int64][]byte // by base offset
	aborted    []AbortedTxn
	epochs     []EpochStart
	times      []Found
	lost       []Damage
}

// learn reads a log whole; what answers CORRUPT_MESSAGE is left out.
func learn(l *Log) (*holding, error) {
	h := &holding{start: l.Start(), end: l.End(), batches: map[int64][]byte{}, epochs: l.Epochs()}
	for off, n := h.start, 0; off < h.end; n++ {
		if n > 10_000 {
			return nil, fmt.Errorf("no end of reading at %d of %d: %+v", off, h.end, l.Damage())
		}
		rng, err := l.Read(off, 700, h.end, true)
		if kafka.CodeOf(err) == kafka.CorruptMessage {
			off++
			continue
		}
		if err != nil {
			return nil, err
		}
		b := make([]byte, rng.Len())
		_, err = rng.ReadAt(b, 0)
		rng.Release()
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%d bytes at %d: %w", len(b), off, err)
		}
		for len(b) > 0 {
			head, err := record.Check(b[:min(len(b), max(record.Size(b), 0))])
			if err != nil {
				return nil, fmt.Errorf("served at %d: %w", off, err)
			}
			h.batches[head.BaseOffset] = bytes.Clone(b[:head.Size()])
			b, off = b[head.Size():], head.NextOffset()
		}
	}
	var err error
	if h.aborted, err = l.Aborted(h.start, h.end); err != nil {
		return nil, err
	}
	for ts := stamp0; ts < stamp0+60; ts += 7 {
		f, ok, err := l.OffsetForTime(ts)
		if err != nil {
			return nil, err
		}
		if ok {
			h.times = append(h.times, f)
		}
	}
	h.lost = l.Damage()
	return h, nil
}

// agrees says what is wrong in h, where want is the truth: nothing may differ but
// what is said to be lost.
func (h *holding) agrees(want *holding) error {
	gone := func(off int64) bool {
		return slices.ContainsFunc(h.lost, func(d Damage) bool { return d.From <= off && off < d.To })
	}
	for off, b := range h.batches {
		if !bytes.Equal(b, want.batches[off]) {
			return fmt.Errorf("batch at %d is not what was written", off)
		}
	}
	for off := range want.batches {
		if h.batches[off] == nil && !gone(off) {
			return fmt.Errorf("batch at %d is not served, and not known to be damaged: %+v", off, h.lost)
		}
	}
	if h.start != want.start || h.end != want.end {
		return fmt.Errorf("log is %d to %d, it was %d to %d", h.start, h.end, want.start, want.end)
	}
	if !slices.Equal(h.aborted, want.aborted) {
		return fmt.Errorf("aborted transactions are %v, they were %v", h.aborted, want.aborted)
	}
	if len(h.lost) == 0 && !slices.Equal(h.times, want.times) {
		return fmt.Errorf("times are found at %v, they were at %v", h.times, want.times)
	}
	return nil
}

// TestFlips turns bits in every byte of every file of a log, one at a time, while
// the broker is down: nobody is ever given a wrong byte. In the epoch file, which
// is Kafka's and has no checksum, it can only not fail; a scrub finds it.
func TestFlips(t *testing.T) {
	whole := library(t)
	want, err := learn(whole.log)
	whole.must(err)
	if len(want.aborted) < 4 || len(want.batches) < 60 || len(*whole.log.segments.Load()) < 4 {
		t.Fatal("poor library", len(want.aborted), len(want.batches))
	}
	whole.stop()
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for _, kill := range []bool{false, true} {
		if kill {
			whole = library(t)
			whole.kill()
		}
		list, err := whole.disk.ReadDir("/data/t-3")
		whole.must(err)
		flips, lost := map[string]int{}, 0
		for _, i := range list {
			for at := 0; at < int(i.Size); at += stride {
				n, err := flipped(whole, i.Name, int64(at), want)
				if err != nil {
					t.Fatalf("kill %v, %s, byte %d: %v", kill, i.Name, at, err)
				}
				flips[i.Name[max(strings.IndexByte(i.Name, '.'), 0):]]++
				lost += n
			}
		}
		t.Log(flips, "damaged ranges:", lost)
		for _, i := range list {
			for size := int64(0); size < i.Size; size += max(i.Size/10, 1) {
				if err := truncated(whole, i.Name, size, want); err != nil {
					t.Fatalf("kill %v, %s cut to %d bytes: %v", kill, i.Name, size, err)
				}
			}
		}
		if lost < flips[segment.LogSuffix]*9/10 {
			t.Errorf("%d flips of data, %d were seen", flips[segment.LogSuffix], lost)
		}
	}
}

// flipped opens the log with one bit turned, and gives how many ranges are
// damaged.
func flipped(whole *rig, name string, at int64, want *holding) (int, error) {
	return spoiled(whole, name, want, func(f vfs.File, _ int64) {
		b := make([]byte, 1)
		_, err := f.ReadAt(b, at)
		whole.must(err)
		b[0] ^= 1 << (at % 8)
		_, err = f.WriteAt(b, at)
		whole.must(err)
	})
}

func truncated(whole *rig, name string, size int64, want *holding) error {
	_, err := spoiled(whole, name, want, func(f vfs.File, _ int64) { whole.must(f.Truncate(size)) })
	return err
}

// spoiled opens the log with one file changed, twice.
func spoiled(whole *rig, name string, want *holding, spoil func(vfs.File, int64)) (int, error) {
	r := &rig{t: whole.t, disk: whole.disk.Crash(vfs.KeepAll, nil), now: whole.now, tun: whole.tun}
	r.fs = r.disk
	(&damager{r}).edit("/data/t-3/"+name, spoil)
	n := 0
	for range 2 {
		if err := r.tryStart(); err != nil {
			if name == metadataFile && kafka.CodeOf(err) != kafka.UnknownServerError {
				return 0, nil // another topic's folder, as far as it can tell
			}
			return 0, err
		}
		got, err := learn(r.log)
		if err == nil {
			err = got.agrees(want)
		}
		if err != nil {
			return 0, err
		}
		n = len(got.lost)
		r.stop()
	}
	return n, nil
}

// TestDamageIsKept: a restart knows the damage without looking for it, deletion
// and truncation take it away with its bytes.
func TestDamageIsKept(t *testing.T) {
	r := library(t)
	bases := []int64{}
	for _, s := range *r.log.segments.Load() {
		bases = append(bases, s.Base())
	}
	r.stop()
	(&damager{r}).flip(bases[1], 100)
	r.start()
	if d := r.log.Damage(); len(d) != 0 {
		t.Fatal("nobody has looked yet", d)
	}
	if _, err := r.log.Read(bases[1], 100, r.log.End(), true); kafka.CodeOf(err) != kafka.CorruptMessage {
		t.Fatal(err)
	}
	before := r.log.Damage()
	if len(before) != 1 || before[0].Segment != bases[1] || before[0].From != bases[1] {
		t.Fatalf("%+v", before)
	}
	r.stop()
	r.start()
	if now := r.log.Damage(); len(now) != 1 || now[0] != before[0] {
		t.Fatalf("%+v, was %+v", now, before)
	}
	r.must(r.log.DeleteTo(bases[2]))
	if now := r.log.Damage(); len(now) != 0 {
		t.Fatalf("deleted: %+v", now)
	}
	r.stop()
	(&damager{r}).flip(bases[3], 100)
	r.start()
	r.must(r.log.Verify())
	if len(r.log.Damage()) != 1 {
		t.Fatal(r.log.Damage())
	}
	r.must(r.log.TruncateTo(bases[3]))
	if now := r.log.Damage(); len(now) != 0 {
		t.Fatalf("truncated: %+v", now)
	}
	if there, err := vfs.Exists(r.disk, "/data/t-3/"+damageFile); there || err != nil {
		t.Fatal("the list is left", err)
	}
}

// TestMissingSegments: files that are gone from the middle are damage.
func TestMissingSegments(t *testing.T) {
	r := library(t)
	segs := *r.log.segments.Load()
	from, to := segs[1].Base(), segs[2].Base()
	r.fill(5, 1, 10)
	r.must(r.log.Flush())
	r.kill()
	r.must(r.disk.Remove("/data/t-3/" + segment.Name(from, segment.LogSuffix)))
	r.crash(vfs.KeepAll, 0)
	r.start()
	d := r.log.Damage()
	if len(d) != 1 || d[0].From != from || d[0].To != to || d[0].Bytes != 0 {
		t.Fatalf("%+v", d)
	}
	for _, off := range []int64{from, to - 1} {
		if _, err := r.log.Read(off, 100, r.log.End(), true); kafka.CodeOf(err) != kafka.CorruptMessage {
			t.Fatal(off, err)
		}
	}
	for _, off := range []int64{from - 1, to} {
		rng, err := r.log.Read(off, 100, r.log.End(), true)
		r.must(err)
		rng.Release()
	}
}

// TestMissingHead: a log whose first file is gone says what it lacks; one that was
// trimmed lacks nothing.
func TestMissingHead(t *testing.T) {
	r := library(t)
	segs := *r.log.segments.Load()
	first, second := segs[1].Base(), segs[2].Base()
	r.must(r.log.DeleteTo(first))
	r.kill()
	r.start()
	if r.rec.Missing != 0 || r.log.Start() != first {
		t.Fatalf("trimmed: %+v", r.rec)
	}
	r.kill()
	r.must(r.disk.Remove("/data/t-3/" + segment.Name(first, segment.LogSuffix)))
	r.start()
	if d := r.log.Damage(); r.rec.Missing != second-first || r.log.Start() != first || len(d) != 1 || d[0].From != first || d[0].To != second {
		t.Fatalf("gone: %+v, start %d", r.rec, r.log.Start())
	}
}

// TestProducersGoOnBehindDamage: what damage took may have been a producer's
// batches, so it is let on at a later sequence, once; duplicates are still told.
func TestProducersGoOnBehindDamage(t *testing.T) {
	r := newRig(t, Tunables{})
	for i := range int32(10) {
		r.must(r.produce(batchSpec{producer: &record.Producer{ID: 5, Sequence: i}}))
	}
	r.must(r.log.Flush())
	r.must(r.home.Checkpoint())
	r.kill()
	d := &damager{r}
	d.flip(0, 9*d.batch(0)+65) // the last batch
	r.start()
	check := func(seq int32) (Verdict, error) {
		return r.log.Producers().Check(&record.Header{ProducerID: 5, BaseSequence: seq, Count: 1})
	}
	if r.log.End() != 10 {
		t.Fatal(r.log.End(), r.log.Damage())
	}
	for _, seq := range []int32{9, 10, 14} {
		if v, err := check(seq); err != nil || v.Duplicate {
			t.Fatal(seq, v, err)
		}
	}
	if _, err := check(2); err == nil {
		t.Fatal("an old sequence came in")
	}
	r.must(r.produce(batchSpec{producer: &record.Producer{ID: 5, Sequence: 10}}))
	b := makeBatch(batchSpec{at: r.log.End() - 1, producer: &record.Producer{ID: 5, Sequence: 10}})
	r.log.Producers().Update(&b.Header)
	if _, err := check(14); err == nil {
		t.Fatal("let on twice")
	}
}

// TestSharedHolding is the check that [holding.agrees] can fail.
func TestSharedHolding(t *testing.T) {
	r := library(t)
	want, err := learn(r.log)
	r.must(err)
	got := *want
	got.batches = maps.Clone(want.batches)
	delete(got.batches, 0)
	if got.agrees(want) == nil {
		t.Fatal("a batch may be missing")
	}
	got.batches[0] = append(bytes.Clone(want.batches[0]), 0)
	if got.agrees(want) == nil {
		t.Fatal("a batch may be another")
	}
}
