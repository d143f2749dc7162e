package commitlog

import (
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// beheaded is a library of which somebody has removed the first two segments while
// it was down; missing are the offsets from 0 that they held.
func beheaded(t *testing.T, stop func(*rig)) (r *rig, missing int64) {
	r = library(t)
	segs := *r.log.segments.Load()
	stop(r)
	for _, s := range segs[:2] {
		r.must(r.disk.Remove("/data/t-3/" + segment.Name(s.Base(), segment.LogSuffix)))
	}
	return r, segs[2].Base()
}

// lacks checks that offsets 0 to missing are damage, and that the rest is served.
func (r *rig) lacks(missing, end int64) {
	r.t.Helper()
	if r.log.Start() != 0 || r.log.End() != end {
		r.t.Fatalf("log is %d to %d, want 0 to %d", r.log.Start(), r.log.End(), end)
	}
	if d := r.log.Damage(); len(d) != 1 || d[0].From != 0 || d[0].To != missing || d[0].Bytes != 0 {
		r.t.Fatalf("%+v", d)
	}
	for _, off := range []int64{0, missing - 1} {
		if _, err := r.log.Read(off, 100, end, true); kafka.CodeOf(err) != kafka.CorruptMessage {
			r.t.Fatal(off, err)
		}
	}
	got := r.read(missing)
	for i, off := range got {
		if off != missing+int64(i) {
			r.t.Fatalf("record %d has offset %d", i, off)
		}
	}
	if int64(len(got)) != end-missing {
		r.t.Fatalf("%d records from %d to %d", len(got), missing, end)
	}
}

// TestHeadStaysMissing: first segments that nobody deleted are damage, after every
// way to end and to start again; writing goes on, and what is put back is read
// again.
func TestHeadStaysMissing(t *testing.T) {
	for name, stop := range map[string]func(*rig){
		"orderly": (*rig).stop,
		"killed":  (*rig).kill,
		"power cut": func(r *rig) {
			r.kill()
			r.crash(vfs.KeepAll, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, missing := beheaded(t, stop)
			r.start()
			end := r.log.End()
			if r.rec.Missing != missing {
				t.Fatalf("%+v", r.rec)
			}
			r.lacks(missing, end)
			r.fill(3, 2, 40)
			r.must(r.log.Flush())
			end += 6
			for range 2 {
				stop(r)
				r.start()
				r.lacks(missing, end)
			}
			checkpoints(t, r.home, 3) // it comes to rest
			r.kill()
			r.must(removeAny(r.disk, "/data/t-3/"+damageFile))
			r.start()
			if !r.rec.Clean {
				t.Fatal("the log was not at rest")
			}
			r.lacks(missing, end)
			r.must(r.log.DeleteTo(missing))
			if d := r.log.Damage(); len(d) > 0 || r.log.Start() != missing {
				t.Fatalf("%+v, start %d", d, r.log.Start())
			}
		})
	}
}

// TestHeadPutBack: what is put back is read again.
func TestHeadPutBack(t *testing.T) {
	r := library(t)
	want, err := learn(r.log)
	r.must(err)
	segs := *r.log.segments.Load()
	name := func(i int, to string) string { return to + segment.Name(segs[i].Base(), segment.LogSuffix) }
	r.stop()
	r.must(r.disk.MkdirAll("/aside"))
	for i := range 2 {
		r.must(r.disk.Rename(name(i, "/data/t-3/"), name(i, "/aside/")))
	}
	r.start()
	r.lacks(segs[2].Base(), want.end)
	for i := 1; i >= 0; i-- { // the second first
		r.stop()
		r.must(r.disk.Rename(name(i, "/aside/"), name(i, "/data/t-3/")))
		r.start()
		if i == 1 {
			r.lacks(segs[1].Base(), want.end)
		}
	}
	got, err := learn(r.log)
	r.must(err)
	r.must(got.agrees(want))
	if len(got.lost) > 0 {
		t.Fatalf("%+v", got.lost)
	}
}

// TestHeadBeyondPoint: also where the segments that are left begin above the
// recovery point: they hold what was acknowledged since.
func TestHeadBeyondPoint(t *testing.T) {
	for _, power := range []bool{false, true} {
		r := newRig(t, Tunables{SegmentBytes: 400})
		other, _, err := Open(Config{Home: r.home, Topic: "quiet", TopicID: kafka.UUID{2}}) // so that there is a manifest
		r.must(err)
		r.must(other.Append([]Batch{makeBatch(batchSpec{})}))
		r.must(other.Flush())
		r.fill(1, 2, 40)
		r.must(r.log.Flush())
		checkpoints(t, r.home, 2)
		r.fill(20, 2, 40)
		r.must(r.log.Flush())
		end, second := r.log.End(), (*r.log.segments.Load())[1].Base()
		r.kill()
		r.must(r.disk.Remove("/data/t-3/" + segment.Name(0, segment.LogSuffix)))
		if power {
			r.must(r.disk.SyncDir("/data/t-3"))
			r.crash(vfs.Policies[0], 1)
		}
		r.start()
		r.lacks(second, end)
	}
}

// TestCutInMissingHead: a follower whose leader has another history is cut within
// what is missing, and goes on from there.
func TestCutInMissingHead(t *testing.T) {
	r, missing := beheaded(t, (*rig).stop)
	r.start()
	r.must(r.log.TruncateTo(missing - 2))
	check := func() {
		t.Helper()
		if d := r.log.Damage(); len(d) != 1 || d[0].To != missing-2 {
			t.Fatalf("%+v", d)
		}
		if r.log.Start() != 0 || r.log.End() < missing-2 {
			t.Fatal(r.log.Start(), r.log.End())
		}
		if eps := r.log.Epochs(); slices.ContainsFunc(eps, func(e EpochStart) bool { return e.Start > missing-2 }) {
			t.Fatal(eps)
		}
		if _, err := r.log.Read(0, 100, r.log.End(), true); kafka.CodeOf(err) != kafka.CorruptMessage {
			t.Fatal(err)
		}
	}
	check()
	r.fill(4, 2, 40)
	r.must(r.log.Flush())
	for _, stop := range []func(*rig){(*rig).kill, (*rig).stop} {
		stop(r)
		r.start()
		check()
		if got := r.read(missing - 2); len(got) != 8 || got[0] != missing-2 {
			t.Fatal(got)
		}
	}
}

// TestCutForgetsDamage: a truncation that was cut off before the list of damage
// was written leaves no word of damage where new records are.
func TestCutForgetsDamage(t *testing.T) {
	r, missing := beheaded(t, (*rig).stop)
	r.start()
	before, err := vfs.ReadFile(r.disk, "/data/t-3/"+damageFile, 1<<20)
	r.must(err)
	r.must(r.log.TruncateTo(missing - 2))
	r.kill()
	r.must(vfs.WriteAtomic(r.disk, "/data/t-3/"+damageFile, before))
	r.start()
	r.fill(4, 2, 40)
	if got := r.read(missing - 2); len(got) != 8 {
		t.Fatal(got)
	}
}
