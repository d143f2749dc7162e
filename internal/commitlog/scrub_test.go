package commitlog

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func (r *rig) scrub(t *testing.T) ScrubStats {
	t.Helper()
	s := NewScrubber(ScrubConfig{Home: r.home, BytesPerSecond: 1 << 40, Now: func() time.Time { return r.now }})
	s.Pass(t.Context())
	return s.Stats()
}

// TestScrubFindsFlips turns a bit in every file, under a broker that has the log
// open and verified, or has it not open at all: a pass finds each in the data,
// and makes the caches anew.
func TestScrubFindsFlips(t *testing.T) {
	whole := library(t)
	want, err := learn(whole.log)
	whole.must(err)
	whole.stop()
	list, err := whole.disk.ReadDir("/data/t-3")
	whole.must(err)
	stride := int64(5)
	if testing.Short() {
		stride = 97
	}
	active := list[0].Name
	for _, i := range list {
		if strings.HasSuffix(i.Name, segment.LogSuffix) {
			active = i.Name
		}
	}
	active = strings.TrimSuffix(active, segment.LogSuffix)
	for _, open := range []bool{true, false} {
		for _, i := range list {
			for at := int64(0); at < i.Size; at += stride {
				r := &rig{t: t, disk: whole.disk.Crash(vfs.KeepAll, nil), now: whole.now, tun: whole.tun}
				r.fs = r.disk
				if open {
					r.start()
					_, err := learn(r.log) // everything is verified now
					r.must(err)
				} else {
					r.must(r.openHome())
				}
				(&damager{r}).edit("/data/t-3/"+i.Name, func(f vfs.File, _ int64) {
					b := make([]byte, 1)
					_, err := f.ReadAt(b, at)
					r.must(err)
					b[0] ^= 1 << (at % 8)
					_, err = f.WriteAt(b, at)
					r.must(err)
				})
				got := r.scrub(t)
				data := strings.HasSuffix(i.Name, segment.LogSuffix)
				if data && got.Damaged != 1 || !data && got.Damaged != 0 {
					t.Fatalf("open %v, %s, byte %d: %+v", open, i.Name, at, got)
				}
				// A log that is open has its caches put right, but those of the segment that is written.
				cache := strings.Contains(i.Name, "index") || strings.HasSuffix(i.Name, snapshotSuffix) || i.Name == epochFile
				if open && cache && !strings.HasPrefix(i.Name, active) && got.Mended != 1 {
					t.Fatalf("%s, byte %d: %+v", i.Name, at, got)
				}
				if !open {
					r.must(r.open())
				}
				now, err := learn(r.log)
				if err == nil {
					err = now.agrees(want)
				}
				if err != nil {
					t.Fatalf("open %v, %s, byte %d: %v", open, i.Name, at, err)
				}
				if again := r.scrub(t); again.Damaged != 0 || open && again.Mended != 0 {
					t.Fatalf("open %v, %s, byte %d, second pass: %+v", open, i.Name, at, again)
				}
			}
		}
	}
}

// TestScrubMakesSums: segments without sums get them, if every batch holds.
func TestScrubMakesSums(t *testing.T) {
	r := library(t)
	bases := []int64{}
	for _, s := range *r.log.segments.Load() {
		bases = append(bases, s.Base())
	}
	r.stop()
	d := &damager{r}
	d.remove(segment.SumsSuffix)
	d.flip(bases[2], 300) // in a body: its own checksum tells
	r.start()
	got := r.scrub(t)
	if got.Damaged != 1 || got.Mended != int64(len(bases)-2) {
		t.Fatalf("%+v, %d segments: %+v", got, len(bases), r.log.Damage())
	}
	d.flip(bases[0], 5) // in a base offset: only a sum tells
	if got := r.scrub(t); got.Damaged != 1 || got.Mended != 0 {
		t.Fatalf("%+v: %+v", got, r.log.Damage())
	}
	// Somebody puts the files back.
	d.flip(bases[0], 5)
	d.flip(bases[2], 300)
	r.scrub(t)
	for _, d := range r.log.Damage() {
		if d.Segment == bases[0] {
			t.Fatalf("healed: %+v", d)
		}
	}
}

// TestScrubPace: a pass keeps to its limit, takes no longer than it may, and one
// that is cut off goes on where it was, in another process too.
func TestScrubPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Tunables{SegmentBytes: 2 << 20})
		r.fill(64, 1, 128<<10) // 8 MiB
		r.must(r.log.Flush())
		r.must(r.home.Checkpoint())
		begun := time.Now()
		now := func() time.Time { return r.now.Add(time.Since(begun)) }
		run := func(d time.Duration, cfg ScrubConfig) ScrubStats {
			cfg.Home, cfg.Now = r.home, now
			s := NewScrubber(cfg)
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := s.Run(ctx); err != nil {
				t.Fatal(err)
			}
			return s.Stats()
		}
		// 8 MiB in 800 s would do, but a MiB a second is the least; 4 of them are gone.
		if got := run(scrubDelay+4*time.Second, ScrubConfig{Interval: 1000 * time.Second}); got.Bytes < 3<<20 || got.Bytes > 5<<20 || got.Passes != 0 {
			t.Fatalf("%+v", got)
		}
		got := run(scrubDelay+8*time.Second, ScrubConfig{Interval: 1000 * time.Second})
		if got.Bytes < 3<<20 || got.Bytes > 7<<20 || got.Passes != 1 {
			t.Fatalf("%+v", got)
		}
		if again := run(scrubDelay+20*time.Second, ScrubConfig{Interval: 1000 * time.Second}); again.Bytes != 0 || again.LastPass.IsZero() {
			t.Fatalf("it is not due: %+v", again)
		}
		if got := run(scrubDelay+110*time.Second, ScrubConfig{Interval: 1000 * time.Second, BytesPerSecond: 512 << 10}); got.Bytes > 1<<20*60 || got.Passes == 0 {
			t.Fatalf("%+v", got)
		}
		r.stop()
	})
}

// TestScrubBesideCut: what a scrubber is at is cut off, and written anew with
// batches of other sizes: where the old ones ended is no damage.
func TestScrubBesideCut(t *testing.T) {
	for _, segments := range []int64{1 << 30, 40 << 10} { // the cut goes through the last segment, or makes an earlier one the last
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Tunables{SegmentBytes: segments})
			r.fill(64, 1, 1000)
			r.must(r.log.Flush())
			begun := time.Now()
			s := NewScrubber(ScrubConfig{Home: r.home, BytesPerSecond: 10, Now: func() time.Time { return r.now.Add(time.Since(begun)) }})
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.Pass(t.Context())
			}()
			synctest.Wait() // it sleeps before its first read
			r.must(r.log.TruncateTo(10))
			r.fill(90, 1, 1300)
			r.must(r.log.Flush())
			<-done
			if got := s.Stats(); got.Damaged != 0 || got.Passes != 1 || len(r.log.Damage()) != 0 {
				t.Fatalf("segments of %d: %+v: %+v", segments, got, r.log.Damage())
			}
			r.stop()
		})
	}
}

// TestCheckSegment looks at files offline: nothing is wrong with what is not, and
// what is wrong is named.
func TestCheckSegment(t *testing.T) {
	r := library(t)
	segs := *r.log.segments.Load()
	first, second := segs[0].Base(), segs[1].Base()
	r.stop()
	look := func() []Problem {
		t.Helper()
		found, err := CheckSegment(r.disk, "/data/t-3", first, second)
		r.must(err)
		return found
	}
	if found := look(); len(found) != 0 {
		t.Fatal(found)
	}
	d := &damager{r}
	d.flip(first, 200)
	if found := look(); len(found) != 1 || found[0].Repairable || found[0].File != segment.Name(first, segment.LogSuffix) {
		t.Fatal(found)
	}
	d.flip(first, 200)
	name := "/data/t-3/" + segment.Name(first, segment.IdxSuffix)
	d.edit(name, func(f vfs.File, size int64) { r.must(f.Truncate(size - 8)) })
	if found := look(); len(found) != 1 || !found[0].Repairable {
		t.Fatal(found)
	}
	r.must(r.disk.Remove("/data/t-3/" + segment.Name(first, segment.SumsSuffix)))
	d.flip(first, 200)
	if found := look(); len(found) != 1 || found[0].Repairable || found[0].Bytes > 200 {
		t.Fatal("without sums a batch tells:", found)
	}
}
