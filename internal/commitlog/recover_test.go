package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestRecover damages a log in many ways between an end out of order and the
// next start. The log has segments at 0, 20, 40, ... of two records a batch;
// all of it is durable up to 60, the recovery point is 30, the end is 90.
func TestRecover(t *testing.T) {
	const batch = 81 // bytes, about: a batch of two records
	for _, c := range []struct {
		name   string
		power  bool // a power cut, not only a killed process
		damage func(d *damager)
		end    int64
		cut    bool
		lost   string // offsets in damage
	}{
		{"nothing", false, func(*damager) {}, 90, false, ""},
		{"nothing, power cut", true, func(*damager) {}, 90, false, ""},
		{"torn last batch", false, func(d *damager) { d.shorten(80, 10) }, 88, true, ""},
		{"torn header", false, func(d *damager) { d.shorten(80, d.batch(80)-5) }, 88, true, ""},
		{"torn last batch, power cut", true, func(d *damager) { d.shorten(80, 10) }, 88, true, ""},
		{"zeros at the end", false, func(d *damager) { d.grow(80, 1000) }, 90, true, ""},
		{"rot in the last segment", false, func(d *damager) { d.flip(80, 40) }, 90, false, "80-81"},
		{"rot in the last segment, power cut", true, func(d *damager) { d.flip(80, 40) }, 80, true, ""},
		{"rot above the recovery point, power cut", true, func(d *damager) { d.flip(60, 200) }, 64, true, ""},
		{"header rot, power cut", true, func(d *damager) { d.flip(60, 8) }, 60, true, ""},
		{"hole before whole segments, power cut", true, func(d *damager) { d.empty(60) }, 60, true, ""},
		{"hole before whole segments", false, func(d *damager) { d.shorten(60, 10) }, 90, false, "78-79"},
		{"rot below the recovery point is not looked at", true, func(d *damager) { d.flip(0, 100) }, 90, false, "0-19"},
		{"header rot below the recovery point", true, func(d *damager) { d.flip(20, 16) }, 90, false, "20-29"},
		{"offset rot below the recovery point", true, func(d *damager) { d.point(86); d.flip(80, 5) }, 90, false, "80-81"},
		{"offset rot above the recovery point", true, func(d *damager) { d.flip(80, 5) }, 80, true, ""},
		{"indexes gone", true, func(d *damager) { d.remove(segment.IdxSuffix, segment.TimeSuffix) }, 90, false, ""},
		{"indexes gone, killed", false, func(d *damager) { d.remove(segment.IdxSuffix, segment.TimeSuffix) }, 90, false, ""},
		{"indexes of zeros", true, func(d *damager) { d.zero(segment.IdxSuffix, segment.TimeSuffix) }, 90, false, ""},
		{"snapshots gone", true, func(d *damager) { d.remove(snapshotSuffix) }, 90, false, ""},
		{"snapshots bad", true, func(d *damager) { d.zero(snapshotSuffix) }, 90, false, ""},
		{"epochs gone", true, func(d *damager) { d.remove(epochFile) }, 90, false, ""},
		{"epochs bad", true, func(d *damager) { d.zero(epochFile) }, 90, false, ""},
		{"recovery points bad", true, func(d *damager) { d.zero(pointFile) }, 90, false, ""},
		{"topic id never synced", true, func(d *damager) { d.zero(metadataFile) }, 90, false, ""},
		{"half-done files", true, func(d *damager) { d.litter() }, 90, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Tunables{SegmentBytes: 20 * batch, IndexInterval: 100})
			r.prepare()
			r.kill()
			if c.power {
				r.crash(vfs.KeepAll, 0)
			}
			c.damage(&damager{r})
			r.start()
			if r.rec.End != c.end || (r.rec.CutBytes > 0) != c.cut || (r.rec.CutFrom >= 0) != c.cut || r.rec.Clean {
				t.Fatalf("%+v", r.rec)
			}
			if c.lost == "" {
				r.whole(0, c.end)
				r.checkState(c.end)
			} else {
				r.around(c.lost, c.end)
			}
			r.must(r.log.Close())
			r.must(r.home.Close(true))
			r.start()
			if !r.rec.Clean || r.log.End() != c.end {
				t.Fatalf("%+v", r.rec)
			}
			if c.lost == "" {
				r.checkState(c.end)
			} else {
				r.around(c.lost, c.end)
			}
		})
	}
}

var stamp0 = epoch0.UnixMilli()

// prepare writes 90 records of one producer in segments of ten batches, with a
// new epoch at every 30.
func (r *rig) prepare() {
	r.t.Helper()
	for off := int64(0); off < 90; off += 2 {
		if off%20 == 0 && off > 0 {
			r.must(r.log.w.roll(off))
		}
		r.must(r.produce(batchSpec{n: 2, ts: stamp0 + off, epoch: int32(off / 30), producer: &record.Producer{ID: 5, Sequence: int32(off)}}))
		switch off + 2 {
		case 30:
			r.must(r.log.Flush())
			r.must(r.home.Checkpoint())
		case 60:
			r.must(r.log.Flush())
		}
	}
}

// checkState looks at what is kept beside the batches.
func (r *rig) checkState(end int64) {
	r.t.Helper()
	next := record.Header{ProducerID: 5, BaseSequence: int32(end), Count: 1}
	if v, err := r.log.Producers().Check(&next); err != nil || v.Duplicate {
		r.t.Fatal(v, err)
	}
	last := record.Header{ProducerID: 5, BaseSequence: int32(end - 2), LastOffsetDelta: 1, Count: 2}
	if v, err := r.log.Producers().Check(&last); err != nil || !v.Duplicate || v.Base != end-2 || v.Last != end-1 || v.Timestamp != stamp0+end-1 {
		r.t.Fatal(v, err)
	}
	for epoch := int32(0); epoch <= 2 && int64(epoch)*30 < end; epoch++ {
		want := min(int64(epoch+1)*30, end)
		if found, at := r.log.EndOffsetForEpoch(epoch); found != epoch || at != want {
			r.t.Fatalf("epoch %d ends at %d (%d), want %d: %v", epoch, at, found, want, r.log.Epochs())
		}
	}
	for _, ts := range []int64{0, stamp0 + 1, stamp0 + 50, stamp0 + end - 2} {
		f, ok, err := r.log.OffsetForTime(ts)
		if want := max(0, ts-stamp0); err != nil || !ok || f.Offset != want {
			r.t.Fatal(ts, f, ok, err)
		}
	}
}

// TestRandomRot damages files at random and wants an answer, not a panic: the log
// opens with what is whole, or says why not.
func TestRandomRot(t *testing.T) {
	opened, seeds := 0, uint64(400)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		r := newRig(t, Tunables{SegmentBytes: 1600, IndexInterval: 100})
		r.prepare()
		if seed%2 == 0 {
			r.stop()
		}
		r.crash(vfs.KeepAll, 0)
		dice := rand.New(rand.NewPCG(seed, 3))
		list, err := r.disk.ReadDir("/data/t-3")
		r.must(err)
		d := &damager{r}
		for range 1 + dice.IntN(4) {
			i := list[dice.IntN(len(list))]
			if i.Size == 0 {
				continue
			}
			d.edit("/data/t-3/"+i.Name, func(f vfs.File, size int64) {
				b := make([]byte, 1+dice.IntN(9))
				for j := range b {
					b[j] = byte(dice.IntN(256))
				}
				_, err := f.WriteAt(b, dice.Int64N(size))
				d.must(err)
			})
		}
		if err := r.tryStart(); err != nil {
			if c := kafka.CodeOf(err); c != kafka.KafkaStorageError && c != kafka.InconsistentTopicID {
				t.Fatal(seed, err)
			}
			continue
		}
		opened++
		for off := r.log.Start(); off < r.log.End() && r.log.End() < 1000; off++ {
			rng, err := r.log.Read(off, 100, r.log.End(), true)
			if err == nil {
				rng.Release()
			} else if c := kafka.CodeOf(err); c != kafka.KafkaStorageError && c != kafka.CorruptMessage {
				t.Fatal(seed, err)
			}
			if _, _, err := r.log.OffsetForTime(stamp0 + off); err != nil && kafka.CodeOf(err) != kafka.KafkaStorageError {
				t.Fatal(seed, err)
			}
		}
		if err := r.log.Close(); err != nil {
			t.Fatal(seed, err)
		}
	}
	if opened < int(seeds/4) {
		t.Fatal("only", opened, "opened")
	}
}

// around wants all offsets below end but those in lost ("from-to"), which answer
// CORRUPT_MESSAGE and are on the list of damage.
func (r *rig) around(lost string, end int64) {
	r.t.Helper()
	var from, to int64
	_, err := fmt.Sscanf(lost, "%d-%d", &from, &to)
	r.must(err)
	for off := int64(0); off < end; off++ {
		rng, err := r.log.Read(off, 1<<20, end, true)
		if from <= off && off <= to {
			if kafka.CodeOf(err) != kafka.CorruptMessage {
				r.t.Fatalf("offset %d is in damage: %v", off, err)
			}
			continue
		}
		r.must(err)
		b := make([]byte, rng.Len())
		_, err = rng.ReadAt(b, 0)
		rng.Release()
		r.must(err)
		for len(b) > 0 {
			h, err := record.Check(b[:record.Size(b)])
			r.must(err)
			if h.BaseOffset <= to && h.LastOffset() >= from {
				r.t.Fatalf("offset %d came out of damage %s", h.BaseOffset, lost)
			}
			b = b[h.Size():]
		}
	}
	d := r.log.Damage()
	if len(d) != 1 || d[0].From != from || d[0].To != to+1 {
		r.t.Fatalf("damage is %+v, want %s", d, lost)
	}
}

// damager changes files behind the log's back, durably.
type damager struct{ *rig }

func (d *damager) edit(name string, change func(f vfs.File, size int64)) {
	f, err := d.disk.Open(name, vfs.ReadWrite)
	d.must(err)
	size, err := f.Size()
	d.must(err)
	change(f, size)
	d.must(f.Sync())
	d.must(f.Close())
}

func (d *damager) data(base int64) string {
	return "/data/t-3/" + segment.Name(base, segment.LogSuffix)
}

func (d *damager) batch(base int64) int64 {
	var n int64
	d.edit(d.data(base), func(f vfs.File, _ int64) {
		b := make([]byte, record.HeaderSize)
		_, err := f.ReadAt(b, 0)
		d.must(err)
		n = int64(record.Size(b))
	})
	return n
}

func (d *damager) shorten(base, by int64) {
	d.edit(d.data(base), func(f vfs.File, size int64) { d.must(f.Truncate(size - by)) })
}
func (d *damager) grow(base, by int64) {
	d.edit(d.data(base), func(f vfs.File, size int64) { d.must(f.Truncate(size + by)) })
}

// point says that the recovery point is elsewhere.
func (d *damager) point(at int64) {
	d.must(vfs.WriteAtomic(d.disk, "/data/"+pointFile, offsetTable{{Topic: "t", Partition: 3}: at}.encode()))
}

func (d *damager) empty(base int64) {
	d.edit(d.data(base), func(f vfs.File, _ int64) { d.must(f.Truncate(0)) })
}

func (d *damager) flip(base, pos int64) {
	d.edit(d.data(base), func(f vfs.File, _ int64) {
		b := make([]byte, 1)
		_, err := f.ReadAt(b, pos)
		d.must(err)
		b[0] ^= 0x41
		_, err = f.WriteAt(b, pos)
		d.must(err)
	})
}

func (d *damager) each(suffixes []string, do func(name string)) {
	n := 0
	for _, dir := range []string{"/data", "/data/t-3"} {
		list, err := d.disk.ReadDir(dir)
		d.must(err)
		for _, i := range list {
			for _, s := range suffixes {
				if strings.HasSuffix(i.Name, s) && !i.Dir {
					do(dir + "/" + i.Name)
					n++
				}
			}
		}
	}
	if n == 0 {
		d.t.Fatal("no such files:", suffixes)
	}
}

func (d *damager) remove(suffixes ...string) {
	d.each(suffixes, func(name string) { d.must(d.disk.Remove(name)) })
}

func (d *damager) zero(suffixes ...string) {
	d.each(suffixes, func(name string) {
		d.edit(name, func(f vfs.File, size int64) {
			_, err := f.WriteAt(make([]byte, size), 0)
			d.must(err)
		})
	})
}

func (d *damager) litter() {
	for i, suffix := range []string{".deleted", ".cleaned", ".tmp"} {
		name := fmt.Sprintf("/data/t-3/%020d.log%s", i, suffix)
		f, err := d.disk.Create(name)
		d.must(err)
		d.must(f.Close())
	}
	f, err := d.disk.Create("/data/t-3/" + segment.Name(7, segment.IdxSuffix)) // of no segment
	d.must(err)
	d.must(f.Close())
}

// TestFirstSegmentLost: a power cut took the name of the first segment and left
// that of the second. Nothing was promised, so what the producer is going to
// send again must not be there by half.
func TestFirstSegmentLost(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 500})
	p := record.Producer{ID: 5}
	for r.log.End() < 40 {
		p.Sequence = int32(r.log.End())
		r.must(r.produce(batchSpec{n: 2, size: 40, producer: &p}))
	}
	r.crash(vfs.KeepAll, 0)
	r.must(r.disk.Remove("/data/t-3/" + segment.Name(0, segment.LogSuffix)))
	r.start()
	if r.log.Start() != 0 || r.log.End() != 0 || r.rec.CutSegments < 2 || r.rec.CutFrom != 0 {
		t.Fatalf("%d to %d: %+v", r.log.Start(), r.log.End(), r.rec)
	}
	// What is promised stays, whatever is missing before it.
	for r.log.End() < 40 {
		p.Sequence = int32(r.log.End())
		r.must(r.produce(batchSpec{n: 2, size: 40, producer: &p}))
	}
	r.must(r.log.Flush())
	r.must(r.home.Checkpoint())
	r.crash(vfs.DropAll, 0)
	r.must(r.disk.Remove("/data/t-3/" + segment.Name(0, segment.LogSuffix)))
	r.start()
	if r.log.Start() == 0 || r.log.End() != 40 {
		t.Fatalf("%d to %d: %+v", r.log.Start(), r.log.End(), r.rec)
	}
}

// TestEpochFileLost: without it the epochs are found among the batches, and what
// the snapshot tells of producers whose batches are deleted stays known.
func TestEpochFileLost(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 500})
	r.must(r.produce(batchSpec{n: 2, size: 40, producer: &record.Producer{ID: 5}}))
	for r.log.End() < 40 {
		r.must(r.produce(batchSpec{n: 2, size: 40, epoch: int32(r.log.End() / 10)}))
	}
	r.must(r.log.DeleteTo(20))
	epochs := fmt.Sprint(r.log.Epochs())
	for _, clean := range []bool{true, false} {
		if clean {
			r.stop()
		} else {
			r.must(r.home.Checkpoint())
			r.crash(vfs.DropAll, 0)
		}
		if err := r.disk.Remove("/data/t-3/" + epochFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		r.start()
		if got := fmt.Sprint(r.log.Epochs()); got != epochs {
			t.Errorf("epochs %s, want %s", got, epochs)
		}
		again := record.Header{ProducerID: 5, LastOffsetDelta: 1, Count: 2}
		if v, err := r.log.Producers().Check(&again); err != nil || !v.Duplicate {
			t.Error("the producer is forgotten:", v, err)
		}
	}
}
