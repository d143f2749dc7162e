package commitlog

import (
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// oldDisk is a file system that forgets: what was dropped from memory takes time
// to read.
type oldDisk struct {
	vfs.FS
	mu struct {
		sync.Mutex
		files     map[string]map[int64]bool // pages that are not in memory
		reads     int                       // that had to wait
		most, now int                       // by workers, at once
	}
}

const devicePage = 4096

func newOldDisk(f vfs.FS) *oldDisk {
	d := &oldDisk{FS: f}
	d.mu.files = map[string]map[int64]bool{}
	return d
}

func (d *oldDisk) Create(name string) (vfs.File, error) {
	return d.Open(name, vfs.ReadWrite|vfs.CreateNew|vfs.Truncate)
}

func (d *oldDisk) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := d.FS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &oldFile{File: f, d: d, name: name}, nil
}

// cool drops a whole file from memory.
func (d *oldDisk) cool(name string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := map[int64]bool{}
	for p := range (size + devicePage - 1) / devicePage {
		gone[p] = true
	}
	d.mu.files[name] = gone
}

// warm is how many bytes of a file are in memory.
func (d *oldDisk) warm(name string, size int64) int64 {
	return (&oldFile{d: d, name: name}).Cached(0, size)
}

type oldFile struct {
	vfs.File
	d    *oldDisk
	name string
}

func (f *oldFile) Cached(off, n int64) int64 {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	end := off + n
	for p := off / devicePage; p*devicePage < end; p++ {
		if f.d.mu.files[f.name][p] {
			n -= devicePage
		}
	}
	return max(n, 0)
}

// Advise of data that is needed begins a read that the next ReadAt in the range
// waits for; so it counts as there only once that has happened.
func (f *oldFile) Advise(off, n int64, a vfs.Advice) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if a == vfs.DontNeed {
		if f.d.mu.files[f.name] == nil {
			f.d.mu.files[f.name] = map[int64]bool{}
		}
		for p := (off + devicePage - 1) / devicePage; (p+1)*devicePage <= off+n; p++ {
			f.d.mu.files[f.name][p] = true
		}
		return nil
	}
	last := (off + n - 1) / devicePage
	for p := off / devicePage; p < last; p++ {
		delete(f.d.mu.files[f.name], p) // the last page stands for all
	}
	return nil
}

func (f *oldFile) ReadAt(p []byte, off int64) (int, error) {
	if n := int64(len(p)); f.Cached(off, n) < n {
		f.d.mu.Lock()
		f.d.mu.reads++
		worker := len(p) == 1 // the others look for headers
		if worker {
			f.d.mu.now++
			f.d.mu.most = max(f.d.mu.most, f.d.mu.now)
		}
		f.d.mu.Unlock()
		time.Sleep(time.Millisecond)
		f.d.mu.Lock()
		if worker {
			f.d.mu.now--
		}
		for q := off / devicePage; q*devicePage < off+n; q++ {
			delete(f.d.mu.files[f.name], q)
		}
		f.d.mu.Unlock()
	}
	return f.File.ReadAt(p, off)
}

// oldLog is a log of several segments of which the closed ones are cold.
func oldLog(t *testing.T, cfg HomeConfig, segments int) (*rig, *oldDisk) {
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{}), now: epoch0, tun: Tunables{SegmentBytes: oldSegment}}
	d := newOldDisk(r.disk)
	cfg.FS, cfg.Path, cfg.Now = d, "/data", func() time.Time { return r.now }
	var err error
	if r.home, err = OpenHome(cfg); err != nil {
		t.Fatal(err)
	}
	if r.log, _, err = Open(Config{Home: r.home, Topic: "t", Partition: 3, Tunables: r.tun}); err != nil {
		t.Fatal(err)
	}
	for len(r.log.Segments()) <= segments || r.log.Segments()[segments].Bytes < oldSegment/2 {
		r.must(r.produce(batchSpec{n: 1, size: 64 << 10}))
	}
	r.must(r.log.Flush())
	for _, s := range r.log.Segments()[:segments] {
		d.cool(r.segment(s.Base), s.Bytes)
	}
	return r, d
}

const oldSegment = 16 << 20

func (r *rig) segment(base int64) string {
	return "/data/t-3/" + segment.Name(base, segment.LogSuffix)
}

// readAll reads the log from an offset to another, n bytes at a time, and checks
// that each range is in memory when it is handed out.
func (r *rig) readAll(d *oldDisk, from, to int64, n int) {
	r.t.Helper()
	for from < to {
		got, err := r.log.Read(from, n, r.log.End(), true)
		r.must(err)
		for at := 0; at < got.Len(); {
			k := got.Ready(at)
			if k <= 0 || k > got.Len()-at {
				r.t.Fatalf("at %d of a range of %d bytes %d are ready", at, got.Len(), k)
			}
			if have := got.File().Cached(got.Off()+int64(at), int64(k)); have < int64(k) {
				r.t.Fatalf("of %d bytes that are ready at offset %d, %d are in memory", k, from, have)
			}
			at += k
		}
		for b := range batches(r.t, got) {
			from = b.NextOffset()
		}
		got.Release()
		synctest.Wait()
	}
}

// TestColdReadsGoAhead pins that data which is not in memory is there before it
// is sent, and that a reader that goes on in order finds it there.
func TestColdReadsGoAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := oldLog(t, HomeConfig{}, 2)
		end := r.log.Segments()[1].Base
		began := time.Now()
		waited := 0
		for from := int64(0); from < end; {
			before := time.Now()
			got, err := r.log.Read(from, 1<<20, r.log.End(), true)
			r.must(err)
			if time.Since(before) > 0 {
				waited++
			}
			for b := range batches(t, got) {
				from = b.NextOffset()
			}
			got.Release()
			time.Sleep(20 * time.Millisecond) // the consumer is at work
		}
		if waited > 3 {
			t.Errorf("a reader in order waited for the device %d times in a segment of 16 ranges", waited)
		}
		if time.Since(began) == 0 || d.mu.reads < oldSegment/aheadPiece/2 {
			t.Errorf("the device was read %d times", d.mu.reads)
		}
		r.readAll(d, end, r.log.Segments()[2].Base, 6<<20) // ranges that become ready in parts
		r.stop()
	})
}

// TestColdReadsAreFew pins that readers of old data wait in line, and that one
// who reads what is in memory does not wait for them.
func TestColdReadsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, d := oldLog(t, HomeConfig{ColdReads: 2}, 4)
		var all sync.WaitGroup
		step := r.log.Segments()[4].Base / 40
		for i := range int64(40) {
			all.Go(func() {
				got, err := r.log.Read(i*step, 128<<10, r.log.End(), true)
				if err != nil {
					t.Error(err)
					return
				}
				got.Release()
			})
		}
		before := time.Now()
		got, err := r.log.Read(r.log.Segments()[4].Base, 1<<20, r.log.End(), true)
		r.must(err)
		got.Release()
		if d := time.Since(before); d > 0 {
			t.Errorf("a read of what is in memory waited %v", d)
		}
		all.Wait()
		synctest.Wait()
		if d.mu.reads < 40 || d.mu.most > 2 {
			t.Errorf("the device was read %d times, %d at once", d.mu.reads, d.mu.most)
		}
		if n := r.home.ahead.mu.running; n != 0 {
			t.Errorf("%d workers are left with nothing to do", n)
		}
		r.stop()
	})
}

// TestColdReadsAreDropped pins what stays in memory behind a reader of old data:
// little of what it brought, and all that was there before.
func TestColdReadsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keep = 4 << 20
		r, d := oldLog(t, HomeConfig{ColdCacheBytes: keep}, 4)
		segs := r.log.Segments()
		was := segs[2]
		d.mu.files[r.segment(was.Base)] = nil // in memory before
		r.readAll(d, 0, r.log.End(), 1<<20)
		r.readAll(d, 0, segs[1].Base, 1<<20) // again, while the reader before is remembered
		var left int64
		for i, s := range segs {
			warm := d.warm(r.segment(s.Base), s.Bytes)
			switch i {
			case 2, 4:
				if warm != s.Bytes {
					t.Errorf("segment %d: of %d bytes that were in memory %d are left", i, s.Bytes, warm)
				}
			default:
				left += warm
			}
		}
		if left > keep+aheadFirst || left == 0 {
			t.Errorf("of what was brought %d bytes are left, %d may be", left, keep)
		}
		r.stop()
	})
}

// TestColdReadsEnd pins that closing the directory ends those who wait.
func TestColdReadsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := oldLog(t, HomeConfig{ColdReads: 1}, 1)
		var all sync.WaitGroup
		for i := range int64(8) {
			all.Go(func() {
				if got, err := r.log.Read(i*16, 1<<20, r.log.End(), true); err == nil {
					got.Release()
				}
			})
		}
		time.Sleep(2 * time.Millisecond)
		r.home.ahead.close()
		all.Wait()
		r.stop()
	})
}

// batches reads the headers of a range.
func batches(t testing.TB, g Range) iter.Seq[record.Header] {
	return func(yield func(record.Header) bool) {
		b := make([]byte, g.Len())
		if _, err := g.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			h, err := record.ParseHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(h) {
				return
			}
			b = b[h.Size():]
		}
	}
}
