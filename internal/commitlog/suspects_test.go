package commitlog

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestForgottenForGood: a log that was removed and made again under its topic id,
// as a partition that was elsewhere for a while, does not meet its old line in the
// manifest after a kill or a power cut, not even with files of the same size.
func TestForgottenForGood(t *testing.T) {
	for _, power := range []bool{false, true} {
		disk := vfs.NewMem(vfs.MemConfig{})
		h, logs := many(t, disk, 4)
		checkpoints(t, h, 3)
		write := func(l *Log, epoch int32) {
			t.Helper()
			for range 2 {
				b := makeBatch(batchSpec{at: l.End(), ts: 5, epoch: epoch, producer: &record.Producer{ID: 9, Sequence: int32(l.End())}})
				if err := errors.Join(l.Append([]Batch{b}), l.Flush()); err != nil {
					t.Fatal(err)
				}
			}
		}
		// It comes and goes between two checkpoints, and another's change takes its
		// line into the file.
		l := openMany(t, h, 5)
		write(l, 6)
		if err := l.Close(); err != nil || !h.RestsAs(manyName(5), kafka.UUID{1, 1}) {
			t.Fatal("not at rest", err)
		}
		write(logs[0], 6)
		if err := h.RemoveLog(manyName(5)); err != nil {
			t.Fatal(err)
		}
		l = openMany(t, h, 5)
		write(l, 7)
		if power {
			disk = disk.Crash(vfs.DropAll, nil)
		} else if err := h.lock.Close(); err != nil {
			t.Fatal(err)
		}
		h = openHome(t, disk, "/d")
		if known, ok := h.Resting(manyName(5)); ok {
			t.Errorf("power cut %v: it is said to be at rest: %+v", power, known)
		}
		l = openMany(t, h, 5)
		if l.LatestEpoch() != 7 || l.End() != 2 {
			t.Errorf("power cut %v: epoch %d, end %d", power, l.LatestEpoch(), l.End())
		}
	}
}

// TestCutThatFailsKeepsFlushed: a truncation for which there is no room leaves what
// is durable counted as durable, and can be asked again.
func TestCutThatFailsKeepsFlushed(t *testing.T) {
	r := newRig(t, Tunables{})
	r.fill(6, 1, 100)
	r.must(r.log.Flush())
	r.must(r.home.Checkpoint())
	r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if strings.Contains(op.Name, "checkpoint") {
			v.Err = syscall.ENOSPC
		}
		return v
	})
	for _, cut := range []func(int64) error{r.log.TruncateTo, r.log.ResetTo} {
		if err := cut(3); !vfs.IsNoSpace(err) {
			t.Fatal(err)
		}
		if r.log.Flushed() != 6 || r.log.End() != 6 || r.log.Failed() != nil {
			t.Fatal(r.log.Flushed(), r.log.End(), r.log.Failed())
		}
	}
	r.disk.SetHook(nil)
	r.must(r.log.TruncateTo(3))
	r.fill(2, 1, 100)
	r.must(r.log.Flush())
	r.whole(0, 5)
}

// TestStirredForGoodWaits: who takes something away from a log that was at rest
// does not go on before that the rest is over is durable, though a flush that runs
// has it in hand.
func TestStirredForGoodWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Tunables{})
		r.fill(1, 1, 100)
		r.must(r.log.Flush())
		checkpoints(t, r.home, 3)
		if r.log.stirred.Load() {
			t.Fatal("not at rest")
		}
		synced := time.Time{}
		r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, manifestFile) {
				v.Delay = time.Minute
				if synced.IsZero() {
					synced = time.Now().Add(v.Delay)
				}
			}
			return v
		})
		r.fill(1, 1, 100)
		flushed := make(chan error, 1)
		go func() { flushed <- r.log.Flush() }()
		synctest.Wait()
		r.must((rester{r.log}).stirForGood())
		if synced.IsZero() || time.Now().Before(synced) {
			t.Error("gone on before it was durable")
		}
		r.must(<-flushed)
		if r.log.mu.unsynced.stir {
			t.Error("still owed")
		}
		r.disk.SetHook(nil)
	})
}

// TestLeapFromEmptySegment: where the offsets leap too far for an active segment
// that is empty yet, it goes, and the one before does not say that it is missing.
func TestLeapFromEmptySegment(t *testing.T) {
	for _, tidy := range []bool{false, true} {
		r := newRig(t, Tunables{})
		r.fill(3, 1, 100)
		r.log.turn.lock()
		r.must(r.log.w.roll(r.log.End()))
		r.log.turn.unlock()
		r.must(r.log.Flush())
		if tidy {
			r.must(r.home.Checkpoint())
		}
		leap := r.log.End() + math.MaxInt32 + 10
		r.must(r.log.Append([]Batch{makeBatch(batchSpec{at: leap})}))
		r.must(r.log.Flush())
		r.must(r.home.Checkpoint())
		r.must(r.home.Checkpoint())
		if n := len(r.log.Segments()); n != 2 {
			t.Fatal(n, "segments")
		}
		r.kill()
		r.must(removeAny(r.disk, "/data/"+manifestFile)) // so that the folder is looked at
		r.start()
		if d := r.log.Damage(); len(d) > 0 || r.log.End() != leap+1 {
			t.Fatalf("tidy %v: %+v, end %d", tidy, d, r.log.End())
		}
		r.stop()
		if found, err := Check(CheckConfig{FS: r.disk, Path: "/data"}); err != nil || found.Damaged() {
			t.Fatal(err, found.Problems)
		}
	}
}

// TestRefusedWriteIsNotOwedTwice: what a full disk refused while a flush ran is
// taken from the debt once.
func TestRefusedWriteIsNotOwedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Tunables{})
		r.fill(1, 1, 100)
		r.must(r.log.Flush())
		r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Name, ".log") {
				v.Err, v.Delay = syscall.ENOSPC, time.Minute
			}
			if op.Kind == vfs.OpSync {
				v.Delay = 2 * time.Minute // it ends after the write
			}
			return v
		})
		refused := make(chan error, 1)
		go func() { refused <- r.produce(batchSpec{size: 100}) }()
		synctest.Wait()
		r.must(r.log.Flush())
		if err := <-refused; !vfs.IsNoSpace(err) {
			t.Fatal(err)
		}
		r.disk.SetHook(nil)
		if own, all := r.log.dirtyBytes.Load(), r.home.dirty.Load(); own != 0 || all != 0 {
			t.Errorf("%d bytes are owed, %d by all", own, all)
		}
	})
}

// TestPolishKeepsSnapshot: the snapshot that the manifest relies on is not written
// over by the one that is left for other programs, which is not synced.
func TestPolishKeepsSnapshot(t *testing.T) {
	r := newRig(t, Tunables{})
	for id := range int64(100) {
		r.must(r.produce(batchSpec{producer: &record.Producer{ID: id}}))
	}
	r.must(r.log.Flush())
	checkpoints(t, r.home, 3)
	known, ok := r.home.Resting(r.log.tp)
	if !ok || !known.snapshot {
		t.Fatalf("%+v", known)
	}
	name := r.log.snaps.name(r.log.End())
	before, err := vfs.ReadFile(r.disk, name, 1<<20)
	r.must(err)
	r.must(r.log.Close())
	for _, p := range vfs.Policies {
		after, err := vfs.ReadFile(r.disk.Crash(p, rand.New(rand.NewPCG(1, 2))), name, 1<<20)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: %d bytes, they were %d: %v", p, len(after), len(before), err)
		}
	}
	writes := 0
	r.must(r.open())
	r.disk.SetHook(func(op vfs.Op) vfs.Verdict {
		if strings.HasSuffix(op.Name, snapshotSuffix) && op.Kind.Changes() {
			writes++
		}
		return vfs.Verdict{}
	})
	r.must(r.log.Close())
	if writes > 0 {
		t.Error("written again")
	}
}
