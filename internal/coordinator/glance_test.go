package coordinator

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// TestGlanceWaitsForNoDisk: of partitions whose turns are held over an append a
// walk waits for a few, and not long; it sees the others, and those too once the
// disk answers.
func TestGlanceWaitsForNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 20
		logs, gate := map[int32]*slicelog.Log{}, make(chan struct{})
		for p := range int32(partitions) {
			logs[p] = slicelog.New(1)
		}
		rt, err := New(Config[notebook]{Topic: "t", Now: time.Now, New: func(int32, *Timeline) notebook { return notebook{} },
			Partitions: func() int32 { return partitions },
			Open:       func(_ context.Context, p int32) (Log, int32, error) { return logs[p], 1, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- rt.Run(ctx) }()
		for p := range int32(partitions) {
			rt.Elect(p, 1)
		}
		synctest.Wait()
		walk := func(when string, sees int, takes time.Duration) {
			t.Helper()
			seen, begin, glance := 0, time.Now(), rt.Glance()
			for _, p := range rt.Owned() {
				err := glance.Read(p, func(notebook) error { seen++; return nil })
				if err != nil && !errors.Is(err, kafka.CoordinatorLoadInProgress) {
					t.Errorf("%s: %v", when, err)
				}
			}
			if took := time.Since(begin); seen != sees || took != takes {
				t.Errorf("%s: saw %d partitions in %v, want %d in %v", when, seen, took, sees, takes)
			}
		}
		walk("at rest", partitions, 0)
		written := make(chan error, partitions)
		stall := func(p int32) {
			logs[p].Watch(func(int64, []byte) { <-gate })
			go func() {
				written <- rt.Write(ctx, p, func(_ notebook, t *Turn) error {
					t.Put([]byte("k"), []byte("v"))
					return nil
				})
			}()
		}
		stall(3)
		synctest.Wait()
		walk("one stalls", partitions-1, glanceWait)
		for p := range int32(partitions - 1) {
			if p != 3 {
				stall(p)
			}
		}
		synctest.Wait()
		walk("all but one stall", 1, glanceWaits*glanceWait)
		if f := rt.Figures(); f.LeftOut != partitions || f.Waiting != 0 {
			t.Errorf("%d left out, %d wait", f.LeftOut, f.Waiting)
		}
		time.AfterFunc(glanceWait/2, func() { close(gate) })
		walk("the disk answers", partitions, glanceWait/2)
		for range partitions - 1 {
			if err := <-written; err != nil {
				t.Error(err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestGlanceCountsLoading: one that loads is left out, and counted.
func TestGlanceCountsLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, err := New(Config[notebook]{Topic: "t", Now: time.Now, New: func(int32, *Timeline) notebook { return notebook{} },
			Partitions: func() int32 { return 1 },
			Open: func(ctx context.Context, _ int32) (Log, int32, error) {
				<-ctx.Done()
				return nil, 0, ctx.Err()
			}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- rt.Run(ctx) }()
		rt.Elect(0, 1)
		synctest.Wait()
		err = rt.Glance().Read(0, func(notebook) error { t.Error("there is nothing to see"); return nil })
		if !errors.Is(err, kafka.CoordinatorLoadInProgress) || rt.Figures().LeftOut != 1 {
			t.Errorf("%v, %d left out", err, rt.Figures().LeftOut)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
