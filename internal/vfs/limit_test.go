package vfs

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledDisk: a device that does not answer gets as many calls as there are
// tokens, however many wait for it, is seen to be stalled, and holds up no other.
func TestStalledDisk(t *testing.T) {
	const tokens, callers = 8, 1000
	synctest.Test(t, func(t *testing.T) {
		stalled, well := NewMem(MemConfig{}), NewMem(MemConfig{})
		l, other := Limit(stalled, tokens), Limit(well, tokens)
		f, err := l.Create("a")
		must(t, err)
		begun := 0
		stalled.SetHook(func(op Op) Verdict {
			begun++
			return Verdict{Delay: time.Minute}
		})
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				if i%3 == 0 {
					_ = f.Sync()
				} else {
					_, _ = f.WriteAt([]byte("x"), int64(i))
				}
			})
		}
		synctest.Wait()
		if begun != tokens || l.Waiting() != callers-tokens {
			t.Fatalf("%d calls at the device, %d wait", begun, l.Waiting())
		}
		if slow := l.Tick(2); len(slow) != 0 {
			t.Fatalf("slow at once: %+v", slow)
		}
		slow := l.Tick(2)
		if len(slow) != tokens || slow[0].Name != "a" || slow[0].Ticks != 2 || slow[0].Kind != OpWrite && slow[0].Kind != OpSync {
			t.Fatalf("%+v", slow)
		}
		began := time.Now()
		put(t, other, "b", "well")
		if time.Since(began) > 0 {
			t.Fatal("another disk waits too")
		}
		stalled.SetHook(nil)
		all.Wait()
		if slow := l.Tick(1); len(slow) != 0 || l.Waiting() != 0 {
			t.Fatalf("%+v, %d wait", slow, l.Waiting())
		}
	})
}

// TestFailedReads: a device's errors at reading are counted, ends of files are not.
func TestFailedReads(t *testing.T) {
	disk := NewMem(MemConfig{})
	l := Limit(disk, 2)
	f, err := l.Create("a")
	must(t, err)
	_, err = f.WriteAt([]byte("abc"), 0)
	must(t, err)
	if _, err := f.ReadAt(make([]byte, 9), 0); !errors.Is(err, io.EOF) || l.FailedReads() != 0 {
		t.Fatal(err, l.FailedReads())
	}
	disk.SetHook(func(op Op) (v Verdict) {
		if op.Kind == OpRead {
			v.Err = syscall.EIO
		}
		return v
	})
	for n := range int64(2) {
		if _, err := f.ReadAt(make([]byte, 3), 0); !errors.Is(err, syscall.EIO) || l.FailedReads() != n+1 {
			t.Fatal(err, l.FailedReads())
		}
	}
}
