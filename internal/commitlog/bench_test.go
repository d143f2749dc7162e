package commitlog

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// benchLog opens a log on the machine's disk that keeps its size bounded by
// deleting behind itself.
func benchLog(b *testing.B, onFlushed func(int64, error)) (*Home, *Log) {
	b.Helper()
	now := time.Now
	h, err := OpenHome(HomeConfig{FS: vfs.OS(), Path: b.TempDir(), Now: now})
	if err != nil {
		b.Fatal(err)
	}
	l, _, err := Open(Config{Home: h, Topic: "t", Now: now, OnFlushed: onFlushed, Tunables: Tunables{SegmentBytes: 256 << 20}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return h, l
}

// BenchmarkAppend is the hot path: one batch, one pwritev, published.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			_, l := benchLog(b, nil)
			batch := makeBatch(batchSpec{n: 1, size: size - 80, ts: 1})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			batches := []Batch{batch}
			for b.Loop() {
				at := l.End()
				record.Stamp(batch.Bytes, at, 0)
				batches[0].Header.BaseOffset = at
				if err := l.Append(batches); err != nil {
					b.Fatal(err)
				}
				if at%(1<<15) == 1<<15-1 {
					b.StopTimer()
					if err := l.DeleteTo(at); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkReadTail is a consumer at the end of the log.
func BenchmarkReadTail(b *testing.B) {
	_, l := benchLog(b, nil)
	for range 100 {
		if err := l.Append([]Batch{makeBatch(batchSpec{at: l.End(), size: 16 << 10, ts: 1})}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Read(95, 1<<20, 99, true)
		if err != nil || r.Len() == 0 {
			b.Fatal(err)
		}
		r.Release()
	}
}

// BenchmarkReadCold finds a batch by the index.
func BenchmarkReadCold(b *testing.B) {
	_, l := benchLog(b, nil)
	for range 1000 {
		if err := l.Append([]Batch{makeBatch(batchSpec{at: l.End(), size: 16 << 10, ts: 1})}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		i = (i + 37) % 900
		r, err := l.Read(i, 1<<20, 1000, true)
		if err != nil || r.Len() == 0 {
			b.Fatal(err)
		}
		r.Release()
	}
}

// BenchmarkGroupCommit is 128 producers of 1 KiB over 8 logs, each waiting for
// its flush: the shape of row P4.
func BenchmarkGroupCommit(b *testing.B) {
	const logs, perLog = 8, 16
	h, err := OpenHome(HomeConfig{FS: vfs.OS(), Path: b.TempDir(), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	f := NewFlusher(FlusherConfig{Now: time.Now})
	ctx, cancel := context.WithCancel(b.Context())
	var flushers, producers sync.WaitGroup
	flushers.Go(func() { _ = f.Run(ctx) })
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for i := range logs {
		var mu sync.Mutex
		flushed := sync.NewCond(&mu)
		l, _, err := Open(Config{Home: h, Topic: "t", Partition: int32(i), Now: time.Now, OnFlushed: func(int64, error) {
			mu.Lock()
			defer mu.Unlock()
			flushed.Broadcast()
		}})
		if err != nil {
			b.Fatal(err)
		}
		turn := new(slot)
		for range perLog {
			producers.Go(func() {
				batch := makeBatch(batchSpec{size: 1 << 10, ts: 1})
				for left.Add(-1) >= 0 {
					turn.lock()
					at := l.End()
					record.Stamp(batch.Bytes, at, 0)
					batch.Header.BaseOffset = at
					err := l.Append([]Batch{batch})
					turn.unlock()
					if err != nil {
						b.Error(err)
					}
					f.Schedule(l, true)
					mu.Lock()
					for l.Flushed() <= at {
						flushed.Wait()
					}
					mu.Unlock()
				}
			})
		}
	}
	producers.Wait()
	b.StopTimer()
	cancel()
	flushers.Wait()
}

// BenchmarkDurable is one lone producer that waits for each flush; beside it,
// the bare fdatasync that is its floor.
func BenchmarkDurable(b *testing.B) {
	done := make(chan error, 1)
	_, l := benchLog(b, func(_ int64, err error) { done <- err })
	f := NewFlusher(FlusherConfig{Now: time.Now})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	batch := makeBatch(batchSpec{size: 4000, ts: 1})
	b.Run("flusher", func(b *testing.B) {
		for b.Loop() {
			at := l.End()
			record.Stamp(batch.Bytes, at, 0)
			batch.Header.BaseOffset = at
			if err := l.Append([]Batch{batch}); err != nil {
				b.Fatal(err)
			}
			f.Schedule(l, true)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fdatasync", func(b *testing.B) {
		file, err := vfs.OS().Create(b.TempDir() + "/f")
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		off := int64(0)
		for b.Loop() {
			if _, err := file.WriteAt(batch.Bytes, off); err != nil {
				b.Fatal(err)
			}
			if err := file.Sync(); err != nil {
				b.Fatal(err)
			}
			off += int64(len(batch.Bytes))
		}
	})
}
