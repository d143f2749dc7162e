package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestOnDisk goes through a log's life on the machine's own file system.
func TestOnDisk(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	open := func() *rig {
		r := &rig{t: t, fs: vfs.Limit(vfs.OS(), 4), now: now}
		var err error
		r.home, err = OpenHome(HomeConfig{FS: r.fs, Path: dir + "/deep/data", MaxOpenFiles: 2, IndexCacheBytes: 100})
		r.must(err)
		r.log, r.rec, err = Open(Config{Home: r.home, Topic: "t", TopicID: kafka.UUID{9}, Now: time.Now,
			Tunables: Tunables{SegmentBytes: 4000, IndexInterval: 300}})
		r.must(err)
		return r
	}
	r := open()
	r.fill(100, 2, 100)
	r.must(r.log.Flush())
	r.whole(0, 200)
	r.must(r.home.Checkpoint())
	r.must(r.log.DeleteTo(51))
	r.must(r.log.TruncateTo(190))
	r.fill(5, 2, 100)
	r.whole(51, 200)
	r.kill() // its files stay open, as a killed process's would not; nobody minds
	r = open()
	if r.rec.Clean || r.rec.SameBoot != (vfs.OS().BootID(".") != "") {
		t.Fatalf("%+v", r.rec)
	}
	r.whole(51, 200)
	r.stop()
	r = open()
	if !r.rec.Clean {
		t.Fatalf("%+v", r.rec)
	}
	r.whole(51, 200)
	r.stop()
}

// TestCheckpointOnFullDisk: what cannot be written then are caches, so the log
// stays in service, and the next checkpoint writes them.
func TestCheckpointOnFullDisk(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 300})
	r.fill(6, 1, 100)
	r.must(r.log.Flush())
	r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == vfs.OpWrite {
			v.Err = syscall.ENOSPC
		}
		return v
	})
	if err := r.home.Checkpoint(); !vfs.IsNoSpace(err) {
		t.Fatal(err)
	}
	r.disk.SetHook(nil)
	r.fill(1, 1, 100)
	r.must(r.log.Flush())
	r.must(r.home.Checkpoint())
	r.kill()
	r.start()
	if r.rec.RecoveryPoint != 7 || len(r.log.Segments()) < 3 {
		t.Fatalf("%+v, %d segments", r.rec, len(r.log.Segments()))
	}
	for _, s := range r.log.Segments()[1:] {
		if ok, err := vfs.Exists(r.disk, r.log.snaps.name(s.Base)); !ok || err != nil {
			t.Errorf("no producer snapshot at %d: %v", s.Base, err)
		}
	}
	r.whole(0, 7)
}

// TestReadersBesideWriter: readers see only whole batches below the end, while
// the log is appended, rolled, flushed, checkpointed and trimmed beside them.
func TestReadersBesideWriter(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 3000, IndexInterval: 300, RetentionAge: -1, RetentionBytes: 20_000})
	steps := 600
	if testing.Short() {
		steps = 150
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	run := func(step func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := step(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	run(r.log.Flush)
	run(r.home.Checkpoint)
	run(func() error { _, err := r.log.Retain(r.log.Flushed()); return err })
	for range 2 {
		from := int64(0)
		run(func() error {
			end := r.log.End()
			rng, err := r.log.Read(from, 2000, end, true)
			if errors.Is(err, kafka.OffsetOutOfRange) {
				from = r.log.Start() // retention overtook
				return nil
			}
			if err != nil || rng.Len() == 0 {
				return err
			}
			defer rng.Release()
			data := make([]byte, rng.Len())
			if _, err := rng.ReadAt(data, 0); err != nil {
				return err
			}
			next, err := checkRun(data, from, end)
			from = next
			return err
		})
	}
	for range steps {
		r.fill(1, 2, 60)
	}
	close(stop)
	wg.Wait()
	r.whole(r.log.Start(), int64(steps)*2)
	r.stop()
	r.start()
	r.whole(r.log.Start(), int64(steps)*2)
}

// checkRun walks over whole batches that begin at or before from and end at or
// before end, and gives the offset behind them.
func checkRun(data []byte, from, end int64) (int64, error) {
	for len(data) > 0 {
		s := newScanner(memory(data), 0, int64(len(data)))
		if !s.Next() {
			return 0, fmt.Errorf("at offset %d: %w", from, s.err)
		}
		if s.head.BaseOffset > from || s.head.NextOffset() > end {
			return 0, fmt.Errorf("batch of %d to %d at %d below %d", s.head.BaseOffset, s.head.LastOffset(), from, end)
		}
		from, data = s.head.NextOffset(), data[s.next:]
	}
	return from, nil
}

// memory is a file of these bytes.
func memory(data []byte) vfs.File {
	f, err := vfs.NewMem(vfs.MemConfig{}).Create("f")
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err != nil {
		panic(err)
	}
	return f
}

// TestRolledWhenDurable: a segment that was rolled when all of it was durable has
// caches that are not. The recovery point must not pass it before they are.
func TestRolledWhenDurable(t *testing.T) {
	r := newRig(t, Tunables{SegmentBytes: 600})
	p := record.Producer{ID: 9}
	r.must(r.produce(batchSpec{producer: &p, flags: record.Transactional}))
	end := bytes.Clone(record.EndTxnMarker(p, record.Abort, 0, r.now.UnixMilli()))
	record.Stamp(end, 1, 0)
	h, err := record.Check(end)
	r.must(err)
	r.must(r.log.Append([]Batch{{Bytes: end, Header: h}}))
	r.must(r.log.Flush())
	for len(r.log.Segments()) < 2 {
		before := r.log.End()
		r.must(r.produce(batchSpec{n: 2, size: 100}))
		if len(r.log.Segments()) < 2 {
			r.must(r.log.Flush())
		} else if r.log.Flushed() != before {
			t.Fatal("the segment was not durable when it was rolled")
		}
	}
	r.must(r.home.Checkpoint())
	r.crash(vfs.Zeros, 0)
	r.start()
	if got, err := r.log.Aborted(0, r.log.End()); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	again := record.Header{ProducerID: 9, Attributes: record.Transactional, Count: 1}
	if v, err := r.log.Producers().Check(&again); err != nil || !v.Duplicate {
		t.Fatal(v, err)
	}
}
