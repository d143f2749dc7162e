package commitlog

import (
	"fmt"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestRetain: segments at 0, 10, 20, 30, 40 (active, with data), of one batch of
// ten records each; every segment is a minute younger than the one before.
func TestRetain(t *testing.T) {
	const size = 10*(7+20+3) + 61 - 20 // about
	for _, c := range []struct {
		name  string
		tun   Tunables
		limit int64
		after time.Duration // since the youngest record
		start int64
	}{
		{"nothing is old", Tunables{RetentionAge: time.Hour}, 50, 0, 0},
		{"two are old", Tunables{RetentionAge: 150 * time.Second}, 50, 0, 20},
		{"all are old", Tunables{RetentionAge: time.Minute}, 50, time.Hour, 50},
		{"none above the high watermark", Tunables{RetentionAge: time.Minute}, 29, time.Hour, 20},
		{"unlimited", Tunables{RetentionAge: -1}, 50, 100 * 24 * time.Hour, 0},
		{"default is a week", Tunables{}, 50, 7*24*time.Hour - 3*time.Minute, 10},
		{"by size", Tunables{RetentionAge: -1, RetentionBytes: 2 * size}, 50, 0, 20},
		{"by size, exactly", Tunables{RetentionAge: -1, RetentionBytes: 1}, 50, 0, 40},
		{"kept by policy", Tunables{RetentionAge: time.Minute, KeepAll: true}, 50, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Tunables{})
			for i := range 5 {
				if i > 0 {
					r.must(r.log.w.roll(r.log.End()))
				}
				r.must(r.produce(batchSpec{n: 10, size: 20}))
				r.now = r.now.Add(time.Minute)
			}
			r.now = r.now.Add(c.after - time.Minute)
			r.log.SetConfig(c.tun)
			n, err := r.log.Retain(c.limit)
			r.must(err)
			if int64(n) != c.start/10 {
				t.Fatalf("%d segments deleted", n)
			}
			r.whole(c.start, 50)
			if n, err := r.log.Retain(c.limit); n != 0 || err != nil {
				t.Fatal("a second time:", n, err)
			}
			if _, err := r.log.Read(c.start-1, 1, 50, true); kafka.CodeOf(err) != kafka.OffsetOutOfRange {
				t.Fatal(err)
			}
			r.crash(vfs.DropAll, 0)
			r.start()
			if r.log.Start() != c.start {
				t.Fatal("deleted records came back:", r.log.Start())
			}
		})
	}
}

func TestRetainWaitsForTheFuture(t *testing.T) {
	r := newRig(t, Tunables{RetentionAge: time.Minute})
	r.must(r.produce(batchSpec{ts: r.now.Add(time.Hour).UnixMilli()}))
	r.must(r.log.w.roll(1))
	r.must(r.produce(batchSpec{ts: 1000}))
	r.must(r.log.w.roll(2))
	if n, err := r.log.Retain(2); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	r.now = r.now.Add(time.Hour + 2*time.Minute)
	if n, err := r.log.Retain(2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
}

func TestDeleteTo(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 300, IndexInterval: 50})
	r.fill(30, 2, 10)
	held, err := r.log.Read(4, 1000, 60, true)
	r.must(err)
	r.must(r.log.DeleteTo(31))
	r.whole(31, 60)
	if b := make([]byte, held.Len()); true {
		if _, err := held.ReadAt(b, 0); err != nil {
			t.Fatal("a reader that holds a removed segment finishes:", err)
		}
	}
	held.Release()
	r.must(r.log.DeleteTo(7)) // below: nothing
	if err := r.log.DeleteTo(61); kafka.CodeOf(err) != kafka.OffsetOutOfRange {
		t.Fatal(err)
	}
	r.crash(vfs.DropAll, 0)
	r.start()
	r.whole(31, 60)
	r.must(r.log.DeleteTo(60))
	r.stop()
	r.start()
	r.whole(60, 60)
	r.fill(1, 1, 1)
	r.whole(60, 61)
	r.stop()
}

// TestDeletedStaysDeleted: the start offset stays in its file although the first
// segment begins there now, since the removal of those before may not last.
func TestDeletedStaysDeleted(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 300})
	r.fill(20, 1, 40)
	base := r.log.Segments()[2].Base
	r.must(r.log.DeleteTo(base))
	r.must(r.home.saving.do()) // for another log, say
	r.crash(vfs.DropAll, 1)
	r.start()
	if r.log.Start() != base {
		t.Fatalf("starts at %d, records below %d were deleted", r.log.Start(), base)
	}
}

func TestTruncateTo(t *testing.T) {
	for to := int64(0); to <= 60; to += 3 {
		r := newRig(t, Tunables{SegmentBytes: 300, IndexInterval: 50})
		for i := range 30 {
			r.must(r.produce(batchSpec{n: 2, size: 10, epoch: int32(i / 10)}))
		}
		r.must(r.log.Flush())
		r.must(r.home.Checkpoint())
		r.must(r.log.TruncateTo(to))
		end := to / 2 * 2
		r.whole(0, end)
		if r.log.Flushed() != end {
			t.Fatal(r.log.Flushed())
		}
		if want := min(int32(2), int32(end-1)/20); end > 0 && r.log.LatestEpoch() != want {
			t.Fatal(to, r.log.Epochs())
		}
		r.fill(5, 2, 10)
		r.whole(0, end+10)
		r.crash(vfs.Sectors, uint64(to))
		r.start()
		if r.log.End() < end || r.log.End() > end+10 {
			t.Fatal(to, r.log.End())
		}
		r.whole(0, r.log.End())
	}
}

func TestResetTo(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 300})
	r.fill(30, 2, 10)
	r.must(r.log.Flush())
	r.must(r.log.ResetTo(1000))
	r.whole(1000, 1000)
	r.fill(3, 2, 10)
	r.must(r.log.Flush())
	r.crash(vfs.DropAll, 0)
	r.start()
	r.whole(1000, 1006)
	r.must(r.log.ResetTo(10))
	r.fill(1, 1, 1)
	r.whole(10, 11)
	r.stop()
	r.start()
	r.whole(10, 11)
}

// TestIndexThatLies: an index that rises as it should but points elsewhere is
// noticed when it is used.
func TestIndexThatLies(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 2000, IndexInterval: 60})
	for range 60 {
		r.must(r.produce(batchSpec{n: 2, size: 10}))
	}
	r.stop()
	d := &damager{r}
	d.edit("/data/t-3/"+segment.Name(0, segment.IdxSuffix), func(f vfs.File, _ int64) {
		b := make([]byte, 4)
		for e := int64(0); e < 8; e++ { // every entry but the last few says one offset less
			_, err := f.ReadAt(b, e*8)
			d.must(err)
			b[3]--
			_, err = f.WriteAt(b, e*8)
			d.must(err)
		}
	})
	r.start()
	for off := int64(120) - 1; off >= 0; off-- {
		rng, err := r.log.Read(off, 1, 120, true)
		if err != nil || rng.BaseOffset() != off/2*2 {
			t.Fatal(off, rng.BaseOffset(), err)
		}
		rng.Release()
	}
	r.stop()
}

// TestIndexesAreCaches: whatever happens to the index files of a closed segment
// while the log is closed in order, every lookup is right.
func TestIndexesAreCaches(t *testing.T) {
	for name, damage := range map[string]func(d *damager, file string){
		"gone": func(d *damager, file string) { d.must(d.disk.Remove(file)) },
		"short": func(d *damager, file string) {
			d.edit(file, func(f vfs.File, size int64) { d.must(f.Truncate(size / 2)) })
		},
		"zeros": func(d *damager, file string) {
			d.edit(file, func(f vfs.File, size int64) { _, err := f.WriteAt(make([]byte, size), 0); d.must(err) })
		},
		"noise": func(d *damager, file string) {
			d.edit(file, func(f vfs.File, size int64) { _, err := f.WriteAt([]byte(fmt.Sprint("noise", size)), 8); d.must(err) })
		},
		"preallocated": func(d *damager, file string) {
			d.edit(file, func(f vfs.File, size int64) { d.must(f.Truncate(size + 1200)) })
		},
	} {
		for _, suffix := range []string{segment.IdxSuffix, segment.TimeSuffix} {
			t.Run(name+suffix, func(t *testing.T) {
				r := newRig(t, Tunables{SegmentBytes: 1000, IndexInterval: 60})
				for range 40 {
					r.must(r.produce(batchSpec{n: 2, size: 10, ts: stamp0 + r.log.End()}))
				}
				r.stop()
				for _, base := range []int64{0, r.log.active().Base()} {
					damage(&damager{r}, "/data/t-3/"+segment.Name(base, suffix))
				}
				r.start()
				r.whole(0, 80)
				for off := range int64(80) {
					f, ok, err := r.log.OffsetForTime(stamp0 + off)
					if err != nil || !ok || f.Offset != off {
						t.Fatal(off, f, ok, err)
					}
				}
				r.fill(3, 2, 10)
				r.whole(0, 86)
				r.stop()
			})
		}
	}
}
