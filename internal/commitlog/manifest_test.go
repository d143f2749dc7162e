package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// many is a home with n logs, each with two batches of a producer and flushed.
func many(t testing.TB, disk *vfs.Mem, n int) (*Home, []*Log) {
	t.Helper()
	h := openHome(t, disk, "/d")
	logs := make([]*Log, n)
	for i := range logs {
		logs[i] = openMany(t, h, i)
		for seq := range int32(2) {
			b := makeBatch(batchSpec{at: int64(seq), ts: int64(1000 * (i + 1)), epoch: 3, producer: &record.Producer{ID: int64(i), Sequence: seq}})
			logs[i].Producers().Update(&b.Header)
			if err := errors.Join(logs[i].Append([]Batch{b}), logs[i].Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h, logs
}

func manyName(i int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: fmt.Sprintf("topic%d", i/4), Partition: int32(i % 4)}
}

func openMany(t testing.TB, h *Home, i int) *Log {
	t.Helper()
	tp := manyName(i)
	l, _, err := Open(Config{Home: h, Topic: tp.Topic, Partition: tp.Partition, TopicID: kafka.UUID{byte(i / 4), 1}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func checkpoints(t testing.TB, h *Home, n int) {
	t.Helper()
	for range n {
		if err := h.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestingNeedsNoFileCall: after an orderly end, and after a kill of a process
// whose logs were quiet, everything that asks for numbers is answered from the
// manifest: no call names a log's folder.
func TestRestingNeedsNoFileCall(t *testing.T) {
	for name, end := range map[string]func(*Home, []*Log) error{
		"closed": func(h *Home, logs []*Log) error {
			for _, l := range logs {
				if err := l.Close(); err != nil {
					return err
				}
			}
			return h.Close(true)
		},
		"killed": func(h *Home, _ []*Log) error {
			return errors.Join(h.Checkpoint(), h.Checkpoint(), h.lock.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem(vfs.MemConfig{})
			h, logs := many(t, disk, 40)
			if err := end(h, logs); err != nil {
				t.Fatal(err)
			}
			calls := 0
			disk.SetHook(func(op vfs.Op) vfs.Verdict {
				if strings.HasPrefix(op.Name, "/d/topic") {
					calls++
				}
				return vfs.Verdict{}
			})
			h = openHome(t, disk, "/d")
			if got := len(h.RestingLogs()); got != 40 {
				t.Fatal(got, "at rest")
			}
			for i := range 40 {
				known, ok := h.Resting(manyName(i))
				if !ok || known.End != 2 || known.Start != 0 || known.LatestEpoch() != 3 || known.Size() == 0 ||
					known.Segments[0].MaxTimestamp != int64(1000*(i+1)) {
					t.Fatalf("%d: %+v", i, known)
				}
			}
			if calls != 0 {
				t.Fatal(calls, "file calls")
			}
			// Awake, each has what the manifest says, its producer with both batches.
			l := openMany(t, h, 7)
			dup := makeBatch(batchSpec{at: 9, producer: &record.Producer{ID: 7}})
			if v, err := l.Producers().Check(&dup.Header); err != nil || !v.Duplicate || v.Base != 0 {
				t.Fatal(v, err)
			}
			if calls == 0 || l.End() != 2 || l.LatestEpoch() != 3 {
				t.Fatal(calls, l.End(), l.LatestEpoch())
			}
		})
	}
}

// TestManifestDamaged flips every bit and cuts at every byte of a manifest, in a
// directory of which one log was written since: whatever is believed, nothing is
// lost and every log opens.
func TestManifestDamaged(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, logs := many(t, disk, 6)
	checkpoints(t, h, 2)
	b := makeBatch(batchSpec{at: 2, epoch: 3})
	if err := errors.Join(logs[4].Append([]Batch{b}), logs[4].Flush()); err != nil {
		t.Fatal(err)
	}
	whole, err := vfs.ReadFile(disk, "/d/.myelin_manifest", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, bad []byte) {
		t.Helper()
		again := disk.Crash(vfs.KeepAll, nil)
		if err := vfs.WriteAtomic(again, "/d/.myelin_manifest", bad); err != nil {
			t.Fatal(err)
		}
		h := openHome(t, again, "/d")
		for i := range 6 {
			want := int64(2)
			if i == 4 {
				want = 3
			}
			if l := openMany(t, h, i); l.End() != want || l.Flushed() != want || l.LatestEpoch() != 3 {
				t.Fatalf("%s: log %d ends at %d", what, i, l.End())
			}
		}
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 0; n < len(whole); n += step {
		try(fmt.Sprintf("cut at %d", n), whole[:n])
	}
	for bit := 0; bit < 8*len(whole); bit += step {
		bad := bytes.Clone(whole)
		bad[bit/8] ^= 1 << (bit % 8)
		try(fmt.Sprintf("bit %d", bit), bad)
	}
}

// TestManifestTornInside: a crash may tear a frame and keep the one behind it. Were
// an equal frame written in place of the first, the second would count again, and
// tell of a past that is gone.
func TestManifestTornInside(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, _ := many(t, disk, 2)
	checkpoints(t, h, 2)
	data, err := vfs.ReadFile(disk, "/d/.myelin_manifest", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	w, tp := m.writer(), manyName(1)
	w.stir(tp, m.logs[tp].id)
	torn, crc := appendFrame(nil, m.crc, w.body)
	w.body = nil
	w.rest(tp, m.logs[tp])
	behind, _ := appendFrame(nil, crc, w.body)
	torn[len(torn)-1] ^= 1
	if err := vfs.WriteAtomic(disk, "/d/.myelin_manifest", slices.Concat(data, torn, behind)); err != nil {
		t.Fatal(err)
	}
	again := disk.Crash(vfs.KeepAll, nil)
	openHome(t, again, "/d")
	left, err := vfs.ReadFile(again, "/d/.myelin_manifest", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := parseManifest(left); err != nil || len(m.logs) != 2 || m.good != int64(len(left)) || bytes.Contains(left, behind) {
		t.Fatal("what lay behind the torn frame is still there", err)
	}
}

// TestManifestOfAnotherProgram: what Kafka, or an older Myelin, did to the
// directory in between is seen, and the manifest is not believed.
func TestManifestOfAnotherProgram(t *testing.T) {
	for name, meddle := range map[string]func(vfs.FS) error{
		"checkpoint rewritten": func(f vfs.FS) error {
			return vfs.WriteAtomic(f, "/d/recovery-point-offset-checkpoint", []byte("0\n1\ntopic0 1 7\n"))
		},
		"checkpoint gone": func(f vfs.FS) error { return f.Remove("/d/recovery-point-offset-checkpoint") },
		"other version": func(f vfs.FS) error {
			out, _ := appendFrame(nil, 0, []byte{opVersion, 9})
			return vfs.WriteAtomic(f, "/d/.myelin_manifest", out)
		},
		"folder gone": func(f vfs.FS) error { return f.RemoveAll("/d/topic0-1") },
		"segment longer": func(f vfs.FS) error {
			b := makeBatch(batchSpec{at: 2, epoch: 3})
			file, err := f.Open("/d/topic0-1/00000000000000000000.log", vfs.ReadWrite)
			if err != nil {
				return err
			}
			size, err := file.Size()
			if err == nil {
				_, err = file.WriteAt(b.Bytes, size)
			}
			return errors.Join(err, file.Close())
		},
		"segment more": func(f vfs.FS) error {
			return vfs.WriteAtomic(f, "/d/topic0-1/00000000000000000002.log", makeBatch(batchSpec{at: 2, epoch: 3}).Bytes)
		},
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem(vfs.MemConfig{})
			h, logs := many(t, disk, 4)
			for _, l := range logs {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(h.Close(true), meddle(disk)); err != nil {
				t.Fatal(err)
			}
			h = openHome(t, disk, "/d")
			l := openMany(t, h, 1)
			want := int64(2)
			switch {
			case strings.HasPrefix(name, "segment"):
				want = 3
			case name == "folder gone":
				want = 0
			}
			if l.End() != want {
				t.Fatal(l.End(), "want", want)
			}
		})
	}
}

// TestLooseIndexesAfterRestart: a small log's caches are not synced at rest. As
// long as the machine runs they may be believed, after that never again, also
// not by a second process on the restarted machine.
func TestLooseIndexesAfterRestart(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, _ := many(t, disk, 3)
	checkpoints(t, h, 2)
	disk = disk.Crash(vfs.DropAll, nil)
	for range 2 {
		h = openHome(t, disk, "/d")
		known, ok := h.Resting(manyName(1))
		if !ok || !known.suspect || known.End != 2 {
			t.Fatalf("%+v", known)
		}
		checkpoints(t, h, 1)
		if err := h.lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h = openHome(t, disk, "/d")
	l, rec, err := Open(Config{Home: h, Topic: "topic0", Partition: 1, TopicID: kafka.UUID{0, 1}})
	if err != nil || rec.Clean || l.End() != 2 {
		t.Fatalf("%+v %v", rec, err)
	}
}

// TestManifestIsRenewed: it does not grow without bound, what comes to rest while
// it is written anew is in the new one, and one that cannot be written is gone.
func TestManifestIsRenewed(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, logs := many(t, disk, 4)
	checkpoints(t, h, 2)
	meanwhile := false
	disk.SetHook(func(op vfs.Op) vfs.Verdict {
		if op.Kind == vfs.OpRename && strings.HasSuffix(op.Name, ".myelin_manifest.tmp") && !meanwhile {
			meanwhile = true
		}
		return vfs.Verdict{}
	})
	next := int64(2)
	for !meanwhile {
		h.journal.whole = -4 << 20 // as if it had grown
		b := makeBatch(batchSpec{at: next, epoch: 3})
		if err := errors.Join(logs[2].Append([]Batch{b}), logs[2].Flush()); err != nil {
			t.Fatal(err)
		}
		next++
		checkpoints(t, h, 2)
	}
	disk.SetHook(nil)
	data, err := vfs.ReadFile(disk, "/d/.myelin_manifest", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseManifest(data)
	if err != nil || len(m.logs) != 4 {
		t.Fatal(m, err)
	}
	known, err := m.logs[manyName(2)].decode()
	if err != nil || known.End != next {
		t.Fatalf("%+v %v", known, err)
	}

	h.journal.stale = true
	disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if strings.Contains(op.Name, "manifest.tmp") {
			v.Err = errors.New("no")
		}
		return v
	})
	checkpoints(t, h, 1)
	if there, err := vfs.Exists(disk, "/d/.myelin_manifest"); err != nil || there {
		t.Fatal("it stayed", err)
	}
	if err := logs[0].Append([]Batch{makeBatch(batchSpec{at: 2, epoch: 3})}); err != nil {
		t.Fatal(err)
	}
	disk.SetHook(nil)
	checkpoints(t, h, 1)
	if there, err := vfs.Exists(disk, "/d/.myelin_manifest"); err != nil || !there {
		t.Fatal("it did not come back", err)
	}
}

// TestRestRaces has logs written, flushed, put to rest and reopened by many at
// once; what is then at rest is what was written.
func TestRestRaces(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, logs := many(t, disk, 8)
	var workers sync.WaitGroup
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for i := range logs {
		workers.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 1))
			l := logs[i]
			for range rounds {
				b := makeBatch(batchSpec{at: l.End(), epoch: 3})
				err := errors.Join(l.Append([]Batch{b}), l.Flush())
				if dice.IntN(4) == 0 {
					err = errors.Join(err, l.Close())
					l = openMany(t, h, i)
				}
				if err != nil {
					t.Error(err)
				}
			}
			logs[i] = l
		})
	}
	stop := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			h.journal.turn.lock()
			h.journal.stale = n%3 == 0
			h.journal.turn.unlock()
			checkpoints(t, h, 1)
		}
	})
	workers.Wait()
	close(stop)
	keeper.Wait()
	checkpoints(t, h, 3)
	if err := h.lock.Close(); err != nil {
		t.Fatal(err)
	}
	again := openHome(t, disk, "/d")
	for i := range logs {
		known, ok := again.Resting(manyName(i))
		if !ok || known.End != int64(2+rounds) {
			t.Fatalf("%d: %+v", i, known)
		}
		if l := openMany(t, again, i); l.End() != known.End {
			t.Fatal(i, l.End())
		}
	}
}

// TestRemovedNameBeginsAnew: removing many logs saves the checkpoints once, and
// the start of a removed log does not hide records of the next of its name.
func TestRemovedNameBeginsAnew(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, logs := many(t, disk, 4)
	if err := errors.Join(logs[1].DeleteTo(2), h.Checkpoint(), logs[1].Close(), h.RemoveLog(manyName(1))); err != nil {
		t.Fatal(err)
	}
	l := openMany(t, h, 1)
	if err := errors.Join(l.Append([]Batch{makeBatch(batchSpec{})}), l.Flush()); err != nil {
		t.Fatal(err)
	}
	h = openHome(t, disk.Crash(vfs.DropAll, nil), "/d")
	if l = openMany(t, h, 1); l.Start() != 0 || l.End() != 1 {
		t.Fatal(l.Start(), l.End())
	}
}

func FuzzManifest(f *testing.F) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h, _ := many(f, disk, 3)
	checkpoints(f, h, 2)
	data, err := vfs.ReadFile(disk, "/d/.myelin_manifest", 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &manifest{logs: map[kafka.TopicPartition]resting{}}
		_ = m.take(data, false)
		for _, r := range m.logs {
			if known, err := r.decode(); err == nil {
				again, err := resting{known.TopicID, known.encode()}.decode()
				if err != nil || !slices.Equal(again.Segments, known.Segments) || again.End != known.End {
					t.Fatalf("%+v, then %+v %v", known, again, err)
				}
				_ = newProducerState().decodeTraces(known.producers)
			}
		}
		if m, err := parseManifest(data); err == nil && m.good > int64(len(data)) {
			t.Fatal(m.good)
		}
	})
}

// TestListOutlivesItsBatches: what is rolled back after a rest is added to the
// list of the active segment. A power cut may keep that and nothing of the
// batches; a reader of committed records must not skip by it.
func TestListOutlivesItsBatches(t *testing.T) {
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{}), now: epoch0, tun: Tunables{SegmentBytes: 3000}, noSums: true}
	r.fs = r.disk
	r.start()
	abort := func(p record.Producer) {
		r.must(r.produce(batchSpec{size: 100, producer: &p, flags: record.Transactional}))
		end := bytes.Clone(record.EndTxnMarker(p, record.Abort, 0, r.now.UnixMilli()))
		record.Stamp(end, r.log.End(), 0)
		h, err := record.Check(end)
		r.must(err)
		r.must(r.log.Append([]Batch{{Bytes: end, Header: h}}))
	}
	for len(r.log.Segments()) < 2 {
		r.fill(1, 1, 900)
	}
	abort(record.Producer{ID: 7})
	r.stop()
	r.start()
	end := r.log.End()
	want, err := r.log.Aborted(0, end)
	r.must(err)
	active := r.log.Segments()[len(r.log.Segments())-1].Base
	name := r.log.path(segment.Name(active, segment.TxnSuffix))
	abort(record.Producer{ID: 7, Sequence: 1})
	list, err := vfs.ReadFile(r.disk, name, 1<<20)
	if err != nil || len(list) != 68 {
		t.Fatal(len(list), err)
	}
	r.crash(vfs.DropAll, 0)
	r.must(vfs.WriteAtomic(r.disk, name, list))
	r.start()
	if r.log.End() != end || !r.rec.Clean {
		t.Fatalf("ends at %d, not %d, or was not woken: %+v", r.log.End(), end, r.rec)
	}
	if got, err := r.log.Aborted(0, end); err != nil || !slices.Equal(got, want) || len(want) != 1 {
		t.Fatal(got, err, want)
	}
	all, err := r.log.active().Aborted()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
}
