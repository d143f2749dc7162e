package commitlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// flushRig is some logs and a flusher on a disk whose syncs take 10 ms.
type flushRig struct {
	t      *testing.T
	vfs.FS // all but Open
	disk   *vfs.Mem
	home   *Home
	logs   []*Log
	f      *Flusher
	stop   func()
	mu     sync.Mutex
	calls  []string // "log end" of each OnFlushed
	syncs  int
	peak   int // syncs at once
	under  int
}

const syncTime = 10 * time.Millisecond

func newFlushRig(t *testing.T, logs int, cfg FlusherConfig, tun Tunables) *flushRig {
	r := &flushRig{t: t, disk: vfs.NewMem(vfs.MemConfig{})}
	r.FS = r.disk
	var err error
	if r.home, err = OpenHome(HomeConfig{FS: r, Path: "/d", Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	for i := range logs {
		l, _, err := Open(Config{Home: r.home, Topic: "t", Partition: int32(i), Now: time.Now, Tunables: tun,
			OnFlushed: func(end int64, err error) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.calls = append(r.calls, fmt.Sprint(i, " ", end, " ", err != nil))
			}})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Flush(); err != nil { // the names
			t.Fatal(err)
		}
		r.logs = append(r.logs, l)
	}
	r.syncs, r.peak = 0, 0
	cfg.Now = time.Now
	r.f = NewFlusher(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.f.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return r
}

// The rig is the log's file system: it counts syncs of data and slows them.
func (r *flushRig) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := r.disk.Open(name, flag)
	return slowFile{f, r}, err
}

type slowFile struct {
	vfs.File
	r *flushRig
}

func (f slowFile) Sync() error {
	f.r.mu.Lock()
	f.r.syncs++
	f.r.under++
	f.r.peak = max(f.r.peak, f.r.under)
	f.r.mu.Unlock()
	time.Sleep(syncTime)
	f.r.mu.Lock()
	f.r.under--
	f.r.mu.Unlock()
	return f.File.Sync()
}

func (r *flushRig) append(i int) {
	r.t.Helper()
	if err := r.logs[i].Append([]Batch{makeBatch(batchSpec{at: r.logs[i].End(), ts: 1})}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *flushRig) expect(after time.Duration, want ...string) {
	r.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.calls) != fmt.Sprint(want) {
		r.t.Fatalf("flushed %v, want %v", r.calls, want)
	}
}

// TestGroupCommit: the first flush starts at once, what comes meanwhile waits
// for it and then shares one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 1, FlusherConfig{}, Tunables{})
		r.append(0)
		r.f.Schedule(r.logs[0], true)
		time.Sleep(syncTime / 2)
		for range 100 {
			r.append(0)
			r.f.Schedule(r.logs[0], true)
		}
		r.expect(syncTime/2, "0 1 false")
		r.expect(syncTime, "0 1 false", "0 101 false")
		if r.syncs != 2 {
			t.Fatal(r.syncs, "syncs")
		}
		r.stop()
	})
}

// TestParallelFlushes: many logs are synced side by side, but not all at once.
func TestParallelFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 20, FlusherConfig{Parallel: 4}, Tunables{})
		start := time.Now()
		for i := range r.logs {
			r.append(i)
			r.f.Schedule(r.logs[i], true)
		}
		for {
			r.mu.Lock()
			n := len(r.calls)
			r.mu.Unlock()
			if n == len(r.logs) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(start); took < 5*syncTime || took > 5*syncTime+2*time.Millisecond || r.peak != 4 {
			t.Fatal(took, r.peak)
		}
		r.stop()
	})
}

// TestLazyFlush: what nobody waits for is flushed by time, records or bytes,
// whichever comes first.
func TestLazyFlush(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     FlusherConfig
		tun     Tunables
		appends int
		after   time.Duration
	}{
		"delay":          {FlusherConfig{LazyDelay: time.Second}, Tunables{}, 3, time.Second},
		"flush.ms":       {FlusherConfig{}, Tunables{FlushAfter: 300 * time.Millisecond}, 3, 300 * time.Millisecond},
		"flush.messages": {FlusherConfig{}, Tunables{FlushMessages: 3}, 3, 0},
		"bytes":          {FlusherConfig{LazyBytes: 150}, Tunables{}, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFlushRig(t, 1, c.cfg, c.tun)
				for range c.appends {
					r.append(0)
					r.f.Schedule(r.logs[0], false)
				}
				if c.after > 0 {
					r.expect(c.after - time.Millisecond)
					time.Sleep(time.Millisecond)
				}
				r.expect(syncTime, "0 3 false")
				// An urgent flush takes a log out of the lazy queue.
				r.append(0)
				r.f.Schedule(r.logs[0], false)
				r.f.Schedule(r.logs[0], true)
				r.expect(time.Minute, "0 3 false", "0 4 false")
				r.stop()
			})
		})
	}
}

// TestLazyFlushOfMany: logs of a directory that are each below the bound are
// flushed when together they have twice as much.
func TestLazyFlushOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := int64(len(makeBatch(batchSpec{ts: 1}).Bytes))
		r := newFlushRig(t, 4, FlusherConfig{LazyBytes: 2 * size}, Tunables{})
		for i := range r.logs {
			r.append(i)
			r.f.Schedule(r.logs[i], false)
			if i < 3 {
				r.expect(syncTime)
			}
		}
		r.expect(syncTime, "3 1 false")
		r.append(3) // three and one
		r.f.Schedule(r.logs[3], false)
		r.expect(syncTime, "3 1 false", "3 2 false")
		r.append(0)
		r.f.Schedule(r.logs[0], false) // two: by itself
		r.expect(syncTime, "3 1 false", "3 2 false", "0 2 false")
		r.append(3)
		r.f.Schedule(r.logs[3], false) // two others and one
		r.expect(syncTime, "3 1 false", "3 2 false", "0 2 false")
		r.stop()
	})
}

// TestFlushFailure: everyone who waits hears of it, also those who come later.
func TestFlushFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 1, FlusherConfig{}, Tunables{})
		r.append(0)
		r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpSync {
				v.Err = errors.New("broken")
			}
			return v
		})
		r.f.Schedule(r.logs[0], true)
		r.expect(syncTime, "0 0 true")
		r.disk.SetHook(nil)
		r.f.Schedule(r.logs[0], true)
		r.expect(syncTime, "0 0 true", "0 0 true")
		r.stop()
	})
}

// TestFlusherStops: what is queued when it ends is still flushed.
func TestFlusherStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 3, FlusherConfig{Parallel: 1}, Tunables{})
		for i := range r.logs {
			r.append(i)
			r.f.Schedule(r.logs[i], true)
		}
		r.stop()
		r.expect(0, "0 1 false", "1 1 false", "2 1 false")
	})
}

// TestHelp: who helps flushes by himself, and those who come meanwhile share the
// flush that a worker does after it.
func TestHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 1, FlusherConfig{}, Tunables{})
		log := r.logs[0]
		r.f.Help(log) // nothing is held
		r.append(0)
		r.f.Schedule(log, false)
		r.f.Hold(log)
		r.expect(10*syncTime, []string{}...)
		go func() {
			time.Sleep(syncTime / 2)
			for range 10 {
				r.append(0)
				r.f.Hold(log)
				r.f.Help(log)
			}
		}()
		r.f.Help(log)
		r.expect(0, "0 1 false")
		r.expect(syncTime, "0 1 false", "0 11 false")
		r.f.Hold(log)
		r.f.Schedule(log, true) // somebody else may be in a hurry
		r.f.Help(log)
		r.expect(syncTime, "0 1 false", "0 11 false", "0 11 false")
		if r.syncs != 2 {
			t.Fatal(r.syncs, "syncs")
		}
		r.stop()
	})
}

// TestRelease: who holds several logs gives all but one to workers, and they are
// flushed side by side. A log that nobody holds is left alone.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 3, FlusherConfig{}, Tunables{})
		begin := time.Now()
		for i := range r.logs {
			r.append(i)
			r.f.Hold(r.logs[i])
		}
		r.f.Release(r.logs[0])
		r.f.Release(r.logs[1])
		r.f.Help(r.logs[2])
		synctest.Wait()
		if took := time.Since(begin); len(r.calls) != 3 || r.syncs != 3 || r.peak != 3 || took != syncTime {
			t.Errorf("after %v: flushed %v, %d syncs, %d at once", took, r.calls, r.syncs, r.peak)
		}
		r.append(0)
		r.f.Release(r.logs[0])
		time.Sleep(syncTime)
		synctest.Wait()
		if r.syncs != 3 {
			t.Error("a log that was not held is flushed")
		}
		r.stop()
	})
}

// TestHelpersAreBounded: no more syncs at once than workers, for helpers alone.
func TestHelpersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFlushRig(t, 6, FlusherConfig{Parallel: 2}, Tunables{})
		for i := range r.logs {
			r.append(i)
			r.f.Hold(r.logs[i])
			go r.f.Help(r.logs[i])
		}
		time.Sleep(3 * syncTime)
		synctest.Wait()
		if len(r.calls) != len(r.logs) {
			t.Fatal("flushed", r.calls)
		}
		if r.peak > 4 {
			t.Fatal(r.peak, "syncs at once")
		}
		r.stop()
	})
}
