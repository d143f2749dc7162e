package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// rig is a log directory with one log, on a disk in memory.
type rig struct {
	t    testing.TB
	disk *vfs.Mem
	fs   vfs.FS // what the log sees of disk
	home *Home
	log  *Log
	rec  Recovered
	now  time.Time
	tun  Tunables

	noSums bool
}

var epoch0 = time.UnixMilli(1_700_000_000_000)

func newRig(t testing.TB, tun Tunables) *rig {
	t.Helper()
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{}), now: epoch0, tun: tun}
	r.fs = r.disk
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	r.must(r.tryStart())
}

func (r *rig) tryStart() error {
	if err := r.openHome(); err != nil {
		return err
	}
	return r.open()
}

func (r *rig) openHome() (err error) {
	r.home, err = OpenHome(HomeConfig{FS: r.fs, Path: "/data", NoSums: r.noSums, Now: func() time.Time { return r.now }})
	return err
}

func (r *rig) open() (err error) {
	r.log, r.rec, err = Open(Config{Home: r.home, Topic: "t", Partition: 3, TopicID: kafka.UUID{1}, Tunables: r.tun})
	return err
}

// stop closes everything in order.
func (r *rig) stop() {
	r.t.Helper()
	r.must(r.log.Close())
	r.must(r.home.Close(true))
}

// crash opens what a power cut leaves.
func (r *rig) crash(p vfs.Policy, seed uint64) {
	r.disk = r.disk.Crash(p, rand.New(rand.NewPCG(seed, 7)))
	r.fs = r.disk
}

// kill ends the process, not the machine: only the lock is gone.
func (r *rig) kill() {
	r.t.Helper()
	r.must(r.home.lock.Close())
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// batch builds n records "v<offset>" at the log's end.
type batchSpec struct {
	n        int
	size     int // of each value at least
	at       int64
	ts       int64 // of the first record, rising by one
	epoch    int32
	producer *record.Producer
	flags    record.Attributes
	codec    record.Codec
}

func makeBatch(s batchSpec) Batch {
	b := record.Builder{BaseOffset: s.at, LeaderEpoch: s.epoch, Producer: s.producer, Flags: s.flags, Codec: s.codec}
	for i := range max(s.n, 1) {
		value := fmt.Sprintf("v%d", s.at+int64(i))
		value += strings.Repeat(".", max(0, s.size-len(value)))
		b.Append(record.Record{Timestamp: s.ts + int64(i), Value: []byte(value)})
	}
	out := bytes.Clone(b.Bytes())
	h, err := record.Check(out)
	if err != nil {
		panic(err)
	}
	return Batch{Bytes: out, Header: h}
}

func (r *rig) produce(s batchSpec) error {
	s.at = r.log.End()
	if s.ts == 0 {
		s.ts = r.now.UnixMilli()
	}
	return r.log.Append([]Batch{makeBatch(s)})
}

func (r *rig) fill(batches, n, size int) {
	r.t.Helper()
	for range batches {
		r.must(r.produce(batchSpec{n: n, size: size}))
	}
}

// read gives the offsets of all records from offset on, and checks their values.
func (r *rig) read(from int64) []int64 {
	r.t.Helper()
	var out []int64
	for from < r.log.End() {
		rng, err := r.log.Read(from, 1<<20, r.log.End(), true)
		r.must(err)
		if rng.Len() == 0 {
			r.t.Fatalf("nothing at %d of %d", from, r.log.End())
		}
		data := make([]byte, rng.Len())
		_, err = rng.ReadAt(data, 0)
		rng.Release()
		r.must(err)
		for len(data) > 0 {
			var rr record.Reader
			n := record.Size(data)
			h, err := record.Check(data[:n])
			r.must(err)
			for rr.Reset(data[:n], 1<<20); rr.Next(); {
				rec := rr.Record()
				if want := fmt.Sprintf("v%d", rec.Offset); !h.Attributes.Has(record.Control) && strings.TrimRight(string(rec.Value), ".") != want {
					r.t.Fatalf("offset %d holds %q", rec.Offset, rec.Value)
				}
				if rec.Offset >= from {
					out = append(out, rec.Offset)
				}
			}
			r.must(rr.Err())
			from, data = h.NextOffset(), data[n:]
		}
	}
	return out
}

// whole checks that [start, end) is there, each offset once.
func (r *rig) whole(start, end int64) {
	r.t.Helper()
	if r.log.Start() != start || r.log.End() != end {
		r.t.Fatalf("log is %d to %d, want %d to %d", r.log.Start(), r.log.End(), start, end)
	}
	got := r.read(start)
	if int64(len(got)) != end-start {
		r.t.Fatalf("%d records, want %d", len(got), end-start)
	}
	for i, off := range got {
		if off != start+int64(i) {
			r.t.Fatalf("record %d has offset %d", i, off)
		}
	}
}

func TestAppendRead(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 2000, IndexInterval: 100})
	r.fill(50, 3, 20)
	r.whole(0, 150)
	if n := len(r.log.Segments()); n < 4 {
		t.Fatalf("%d segments", n)
	}
	for off := range int64(150) {
		rng, err := r.log.Read(off, 400, 150, false)
		r.must(err)
		if rng.BaseOffset() != off/3*3 || rng.Len() == 0 || rng.Len() > 400 {
			t.Fatal(off, rng.BaseOffset(), rng.Len())
		}
		b := make([]byte, rng.Len())
		if _, err := rng.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		rng.Release()
		last := int64(-1)
		for len(b) > 0 {
			h, err := record.Check(b[:record.Size(b)])
			r.must(err)
			last, b = h.LastOffset(), b[h.Size():]
		}
		if last < off {
			t.Fatal(off, last)
		}
		// Nothing at or above the limit; at least one batch if asked for.
		for _, limit := range []int64{off / 3 * 3, off/3*3 + 3} {
			rng, err = r.log.Read(off, 1, limit, true)
			r.must(err)
			if (rng.Len() > 0) != (limit > off) {
				t.Fatal(off, limit, rng.Len())
			}
			rng.Release()
		}
		rng, err = r.log.Read(off, 1, 150, false)
		if err != nil || rng.Len() != 0 {
			t.Fatal(rng.Len(), err)
		}
	}
	for _, off := range []int64{-1, 151} {
		if _, err := r.log.Read(off, 100, 150, true); kafka.CodeOf(err) != kafka.OffsetOutOfRange {
			t.Fatal(off, err)
		}
	}
	if rng, err := r.log.Read(150, 100, 150, true); err != nil || rng.Len() != 0 {
		t.Fatal(err)
	}
	r.stop()
	r.start()
	if !r.rec.Clean || r.rec.ScannedBytes != 0 {
		t.Fatalf("%+v", r.rec)
	}
	r.whole(0, 150)
	r.fill(10, 3, 20)
	r.whole(0, 180)
	r.stop()
}

func TestAppendManyAtOnce(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 1000})
	var batches []Batch
	for i := range 20 {
		batches = append(batches, makeBatch(batchSpec{n: 2, size: 50, at: int64(i) * 2, ts: 1}))
	}
	r.must(r.log.Append(batches))
	r.whole(0, 40)
	big := makeBatch(batchSpec{n: 2, size: 600, at: 40, ts: 1})
	if err := r.log.Append([]Batch{big}); kafka.CodeOf(err) != kafka.RecordListTooLarge {
		t.Fatal(err)
	}
	low := makeBatch(batchSpec{n: 1, at: 39, ts: 1})
	if err := r.log.Append([]Batch{low}); kafka.CodeOf(err) != kafka.InvalidRecord {
		t.Fatal(err)
	}
	r.must(r.log.Failed())
	r.stop()
}

func TestRoll(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 1 << 20, SegmentAge: time.Minute, IndexInterval: 1, IndexBytes: 80})
	segments := func(want int) {
		t.Helper()
		if n := len(r.log.Segments()); n != want {
			t.Fatalf("%d segments, want %d", n, want)
		}
	}
	r.must(r.produce(batchSpec{ts: 1000}))
	r.must(r.produce(batchSpec{ts: 61_000}))
	segments(1)
	r.must(r.produce(batchSpec{ts: 61_001})) // a minute and a millisecond younger than the first
	segments(2)
	for range 7 { // entry for each but the first: a time entry takes 12 of 80 bytes
		r.must(r.produce(batchSpec{ts: 61_002 + r.log.End()}))
	}
	segments(3)
	far := makeBatch(batchSpec{at: r.log.active().Base() + 1<<32, ts: 61_020})
	r.must(r.log.Append([]Batch{far}))
	segments(4)
	if got := r.log.active().Base(); got != far.Header.BaseOffset {
		t.Fatal(got)
	}
	r.stop()
	r.start()
	if r.log.End() != far.Header.NextOffset() {
		t.Fatal(r.log.End())
	}
	r.stop()
}

func TestOffsetForTime(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 1500, IndexInterval: 200})
	stamps := map[int64]int64{} // offset -> timestamp
	rng := rand.New(rand.NewPCG(1, 2))
	ts := int64(10_000)
	for range 60 {
		ts += rng.Int64N(60) - 20 // not always rising
		at, n := r.log.End(), 1+rng.IntN(4)
		for i := range n {
			stamps[at+int64(i)] = ts + int64(i)
		}
		r.must(r.produce(batchSpec{n: n, ts: ts, size: 30, codec: record.Codec(rng.IntN(2) * 4)}))
	}
	check := func() {
		t.Helper()
		for want := int64(9_900); want < ts+100; want += 7 {
			first, ok := int64(-1), false
			for off := r.log.Start(); off < r.log.End() && !ok; off++ {
				first, ok = off, stamps[off] >= want
			}
			got, found, err := r.log.OffsetForTime(want)
			r.must(err)
			if found != ok || ok && (got.Offset != first || got.Timestamp != stamps[first]) {
				t.Fatalf("time %d: %+v %v, want %d %v", want, got, found, first, ok)
			}
		}
		newest := int64(-1)
		for _, s := range stamps {
			newest = max(newest, s)
		}
		got, ok, err := r.log.MaxTimestamp()
		if err != nil || !ok || got.Timestamp != newest || stamps[got.Offset] != newest {
			t.Fatal(got, ok, err)
		}
	}
	check()
	r.stop()
	r.start()
	check()
	r.must(r.log.DeleteTo(17))
	check()
	r.stop()
	empty := newRig(t, Tunables{})
	if _, ok, err := empty.log.MaxTimestamp(); ok || err != nil {
		t.Fatal(ok, err)
	}
	empty.stop()
}

// TestTopicIDLasts: the topic id is durable with the first flush also when
// another process wrote it, and was killed before it could sync it.
func TestTopicIDLasts(t *testing.T) {
	r := newRig(t, Tunables{})
	r.kill()
	r.start()
	r.fill(1, 1, 1)
	r.stop()
	r.crash(vfs.DropAll, 1)
	r.start()
	if r.log.End() != 1 {
		t.Fatal(r.log.End())
	}
}

func TestTopicID(t *testing.T) {
	r := newRig(t, Tunables{})
	r.fill(1, 1, 1)
	r.must(r.log.Close())
	cfg := Config{Home: r.home, Topic: "t", Partition: 3, TopicID: kafka.UUID{2}}
	if _, _, err := Open(cfg); kafka.CodeOf(err) != kafka.InconsistentTopicID {
		t.Fatal(err)
	}
	cfg.TopicID = kafka.UUID{1}
	l, rec, err := Open(cfg)
	r.must(err)
	if _, _, err := Open(cfg); err == nil {
		t.Fatal("opened twice")
	}
	if rec.End != 1 {
		t.Fatalf("%+v", rec)
	}
	r.must(l.Close())
	r.must(l.Close())
	if err := l.Append(nil); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}
