package commitlog

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// checkedDisk is a directory with every kind of file: segments, indexes,
// aborted transactions, snapshots, epochs, checkpoints, sums, a manifest.
func checkedDisk(t *testing.T, clean bool) *rig {
	t.Helper()
	r := newRig(t, Tunables{SegmentBytes: 1600, IndexInterval: 100})
	r.prepare()
	for i := range int64(3) {
		r.must(r.produce(batchSpec{n: 2, ts: stamp0 + 100 + i, epoch: 2, producer: &record.Producer{ID: 9, Sequence: int32(2 * i)}, flags: record.Transactional}))
		b := record.EndTxnMarker(record.Producer{ID: 9}, record.Abort, 1, stamp0+110+i)
		record.Stamp(b, r.log.End(), 2)
		h, err := record.Check(b)
		r.must(err)
		r.must(r.log.Append([]Batch{{Bytes: b, Header: h}}))
	}
	r.must(r.log.DeleteTo(12))
	if clean {
		r.stop()
	} else {
		r.kill()
	}
	r.disk = r.disk.Crash(vfs.KeepAll, nil)
	r.fs = r.disk
	return r
}

func (r *rig) check() *Checked {
	r.t.Helper()
	ops := r.disk.Ops()
	c, err := Check(CheckConfig{FS: r.disk, Path: "/data"})
	r.must(err)
	if n := r.disk.Ops() - ops; n > 1 { // the lock's open
		r.t.Fatalf("the check did %d operations that change something", n)
	}
	return c
}

func TestCheckFinds(t *testing.T) {
	r := checkedDisk(t, true)
	if c := r.check(); len(c.Problems) > 0 || c.Logs != 1 || c.Segments < 4 || !c.Clean {
		t.Fatalf("a sound directory: %+v", c)
	}
	var files []string
	for _, dir := range []string{"/data", "/data/t-3"} {
		list, err := r.disk.ReadDir(dir)
		r.must(err)
		for _, i := range list {
			// Kafka's files without a checksum: another number in them is as good as this one.
			loose := i.Name == pointFile || i.Name == startFile || i.Name == cleanFile || i.Name == bootFile || i.Name == metadataFile || i.Name == epochFile
			if !i.Dir && i.Size > 0 && !loose {
				files = append(files, path.Join(dir, i.Name))
			}
		}
	}
	seen := map[string]bool{}
	dice := rand.New(rand.NewPCG(7, 7))
	flips := 12
	if testing.Short() {
		flips = 4
	}
	for _, name := range files {
		data, err := vfs.ReadFile(r.disk, name, 1<<20)
		r.must(err)
		seen[path.Ext(name)] = true
		for range flips {
			bad := bytes.Clone(data)
			bit := dice.IntN(8 * len(bad))
			bad[bit/8] ^= 1 << (bit % 8)
			r.must(vfs.WriteAtomic(r.disk, name, bad))
			c := r.check()
			if len(c.Problems) == 0 || !c.Damaged() {
				t.Errorf("%s: bit %d of byte %d was flipped, and nothing found", name, bit%8, bit/8)
			}
			if isLog := strings.HasSuffix(name, ".log"); isLog == slices.ContainsFunc(c.Problems, func(p Problem) bool { return p.Repairable }) {
				t.Errorf("%s: %+v", name, c.Problems)
			}
		}
		if path.Ext(name) == ".log" {
			r.must(r.disk.Remove(name))
			if c := r.check(); !slices.ContainsFunc(c.Problems, func(p Problem) bool { return !p.Repairable && !p.Pending && p.From < p.To }) {
				t.Errorf("%s was removed: %+v", name, c.Problems)
			}
		}
		for range flips {
			r.must(vfs.WriteAtomic(r.disk, name, data[:dice.IntN(len(data))]))
			// A whole piece less of the sums, or a frame of the manifest, is no fault.
			if c := r.check(); !c.Damaged() && !strings.HasSuffix(name, ".sums") && !strings.HasSuffix(name, manifestFile) {
				t.Errorf("%s was cut off, and nothing found", name)
			}
		}
		r.must(vfs.WriteAtomic(r.disk, name, data))
	}
	for name, text := range map[string]string{
		"/data/t-3/" + epochFile: "0\n3\n0 12\n1 28\n2 60\n", "/data/t-3/" + metadataFile: "version: 0\ntopic_id: ?", "/data/" + pointFile: "1\n0\n", "/data/" + startFile: "0\n7\n",
	} {
		data, err := vfs.ReadFile(r.disk, name, 1<<20)
		r.must(err)
		r.must(vfs.WriteAtomic(r.disk, name, []byte(text)))
		if c := r.check(); !c.Damaged() || c.Problems[0].File != strings.TrimPrefix(name, "/data/") {
			t.Errorf("%s: %+v", name, c.Problems)
		}
		r.must(vfs.WriteAtomic(r.disk, name, data))
	}
	for _, suffix := range []string{".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".sums", ".myelin_manifest"} {
		if !seen[suffix] {
			t.Errorf("the test has no file %q: %v", suffix, files)
		}
	}
}

// What a check calls repairable is well after a repair; no record is touched.
func TestRepair(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dice := rand.New(rand.NewPCG(8, 8))
		rounds := 60
		if testing.Short() {
			rounds = 15
		}
		for round := range rounds {
			r := checkedDisk(t, clean)
			list, err := r.disk.ReadDir("/data/t-3")
			r.must(err)
			logs := map[string][]byte{}
			var caches []string
			for _, i := range list {
				name := path.Join("/data/t-3", i.Name)
				data, err := vfs.ReadFile(r.disk, name, 1<<20)
				r.must(err)
				if strings.HasSuffix(name, ".log") {
					logs[name] = data
				} else if len(data) > 0 && i.Name != metadataFile {
					caches = append(caches, name)
				}
			}
			for range 1 + dice.IntN(4) {
				name := caches[dice.IntN(len(caches))]
				data, err := vfs.ReadFile(r.disk, name, 1<<20)
				r.must(err)
				data[dice.IntN(len(data))] ^= 1 << dice.IntN(8)
				r.must(vfs.WriteAtomic(r.disk, name, data))
			}
			found := r.check()
			if !clean && !slices.ContainsFunc(found.Problems, func(p Problem) bool { return p.Repairable && !p.Pending }) {
				continue
			}
			done, err := Repair(RepairConfig{FS: r.disk, Path: "/data", Found: found, Now: func() time.Time { return r.now }})
			if err != nil || len(done) == 0 {
				t.Fatalf("round %d: %v %v of %+v", round, done, err, found.Problems)
			}
			for name, want := range logs {
				if got, err := vfs.ReadFile(r.disk, name, 1<<20); !bytes.Equal(got, want) {
					t.Fatalf("round %d: %s was changed: %v", round, name, err)
				}
			}
			if c := r.check(); c.Damaged() || c.Clean != clean || clean && len(c.Problems) > 0 {
				t.Fatalf("round %d: found %+v\ndid %+v\nleft %+v", round, found.Problems, done, c.Problems)
			}
			r.start()
			if end := int64(99); r.log.End() != end || r.log.Start() != 12 {
				t.Fatalf("round %d: log from %d to %d", round, r.log.Start(), r.log.End())
			}
			ab, err := r.log.Aborted(0, 99)
			if err != nil || len(ab) != 3 {
				t.Fatalf("round %d: %d aborted transactions, %v", round, len(ab), err)
			}
		}
	}
}

// A repair leaves records alone that a start would cut.
func TestRepairLeavesRecords(t *testing.T) {
	r := checkedDisk(t, true)
	d := &damager{r}
	r.must(vfs.WriteAtomic(r.disk, "/data/"+pointFile, []byte("rubbish"))) // all logs will be examined
	d.shorten(80, 3)
	before, err := vfs.ReadFile(r.disk, d.data(80), 1<<20)
	r.must(err)
	done, err := Repair(RepairConfig{FS: r.disk, Path: "/data", Found: r.check()})
	if err != nil && !errors.Is(err, ErrRepair) {
		t.Fatal(err)
	}
	if after, err := vfs.ReadFile(r.disk, d.data(80), 1<<20); !bytes.Equal(before, after) {
		t.Errorf("records were changed: %v, after %+v", err, done)
	}
}

// A rehearsal says what a start does then, and does nothing itself.
func TestRehearse(t *testing.T) {
	for seed := range uint64(40) {
		r := newRig(t, Tunables{SegmentBytes: 1600, IndexInterval: 4096})
		r.prepare()
		r.crash(vfs.Policies[seed%uint64(len(vfs.Policies))], seed)
		ops := r.disk.Ops()
		plan, err := Rehearse(RehearseConfig{FS: r.disk, Path: "/data", Now: func() time.Time { return r.now }})
		r.must(err)
		if n := r.disk.Ops() - ops; n > 1 {
			t.Fatalf("the rehearsal did %d operations that change something", n)
		}
		before := r.disk.Crash(vfs.KeepAll, nil)
		r.start()
		if len(plan.Logs) != 1 {
			if len(r.rec.Quarantined) == 0 && r.log.End() == 0 {
				continue // the folder itself was lost
			}
			t.Fatalf("seed %d: %+v", seed, plan)
		}
		got := plan.Logs[0].Recovered
		got.Millis, r.rec.Millis = 0, 0
		if got.CutBytes != r.rec.CutBytes || got.CutFrom != r.rec.CutFrom || got.CutSegments != r.rec.CutSegments || got.End != r.rec.End || got.ScannedBytes != r.rec.ScannedBytes {
			t.Fatalf("seed %d: rehearsed %+v, then %+v", seed, got, r.rec)
		}
		for _, c := range plan.Changes {
			if !strings.HasSuffix(c.Name, ".log") || c.What == "created" {
				continue
			}
			info, err := r.disk.Stat(path.Join("/data", c.Name))
			was, werr := before.Stat(path.Join("/data", c.Name))
			if c.What == "removed" && (err == nil || werr != nil) || c.What == "cut" && (err != nil || info.Size != c.After || was.Size != c.Before) {
				t.Fatalf("seed %d: %+v, but then it has %d bytes, %v", seed, c, info.Size, err)
			}
		}
	}
}

// A directory that Kafka has written and closed is sound.
func TestCheckKafka(t *testing.T) {
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{})}
	r.must(r.disk.MkdirAll("/data/golden-0"))
	for name, data := range golden(t) {
		r.must(vfs.WriteAtomic(r.disk, "/data/"+name, data))
	}
	if c := r.check(); len(c.Problems) > 0 || c.Logs != 1 || c.Segments != 2 || !c.Clean {
		t.Errorf("%+v", c)
	}
}

// TestRecoveryClearsSums: a process that was killed left bytes in the active
// segment's sums that are no piece. Whoever recovers takes them away, so that
// nothing is written behind them and an orderly stop leaves a sound directory.
func TestRecoveryClearsSums(t *testing.T) {
	for _, bytes := range []int64{0, 3, 43, 44} {
		r := newRig(t, Tunables{})
		r.fill(3, 2, 100)
		r.must(r.log.Flush())
		r.kill()
		f, err := r.disk.Open("/data/t-3/"+segment.Name(0, segment.SumsSuffix), vfs.ReadWrite|vfs.CreateNew)
		r.must(err)
		end, err := f.Size()
		r.must(err)
		_, err = f.WriteAt(make([]byte, bytes), end)
		r.must(errors.Join(err, f.Close()))
		r.start()
		r.fill(3, 2, 100)
		r.stop()
		if c := r.check(); len(c.Problems) > 0 || !c.Clean {
			t.Errorf("after %d bytes: %+v", bytes, c.Problems)
		}
	}
}

// TestStopAfterRecovery: a process that recovers and writes nothing before it
// ends leaves a sound directory, with sums of all that it recovered.
func TestStopAfterRecovery(t *testing.T) {
	for _, segmentBytes := range []int64{500, 1 << 20} {
		r := newRig(t, Tunables{SegmentBytes: segmentBytes})
		r.fill(5, 2, 100)
		r.must(r.log.Flush())
		r.kill()
		r.start()
		size, base := r.log.active().Size(), r.log.active().Base()
		r.stop()
		if c := r.check(); len(c.Problems) > 0 || !c.Clean {
			t.Errorf("%+v", c.Problems)
		}
		sums, err := segment.ReadSums(r.disk, "/data/t-3/"+segment.Name(base, segment.SumsSuffix), base, size)
		r.must(err)
		if n := len(sums.Blocks); n == 0 || sums.Blocks[n-1].End != size || sums.Sealed != (base > 0) {
			t.Errorf("sums of segment %d of %d bytes: %+v", base, size, sums)
		}
	}
}
