package myelintest_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin"
	"github.com/myelin-stream/myelin/myelintest"
)

// roundTrip writes a record and reads it back.
func roundTrip(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("orders"), kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, kgo.StringRecord("one")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := cl.PollFetches(ctx)
	if err := got.Err(); err != nil || got.NumRecords() != 1 || string(got.Records()[0].Value) != "one" {
		t.Fatalf("read %d records, %v", got.NumRecords(), err)
	}
}

func TestStart(t *testing.T) { roundTrip(t, myelintest.Start(t).Addr()) }

func TestStartOnDisk(t *testing.T) {
	roundTrip(t, myelintest.Start(t, myelintest.OnDisk(t.TempDir())).Addr())
}

// Fifty in parallel leave no goroutine and no port behind; how soon they are ready is
// printed, not judged: BenchmarkStart and BenchmarkStartOnDisk are for that.
func TestFiftyInParallel(t *testing.T) {
	before := runtime.NumGoroutine()
	took := make([]time.Duration, 50)
	addrs := make([]string, len(took))
	t.Run("all", func(t *testing.T) {
		for i := range took {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				b := myelintest.Start(t)
				took[i], addrs[i] = time.Since(start), b.Addr()
				if i%10 == 0 {
					roundTrip(t, b.Addr())
				}
			})
		}
	})
	for _, addr := range addrs {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("%s is still open", addr)
		}
	}
	slices.Sort(took)
	t.Logf("ready within: median %v, slowest %v", took[len(took)/2], took[len(took)-1])
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if n := strings.Count(string(stacks), "myelin/internal/"); n > 0 {
		t.Fatalf("%d frames of the broker are left:\n%s", n, stacks)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		startAndStop(b, myelin.Config{})
	}
}

func BenchmarkStartOnDisk(b *testing.B) {
	for b.Loop() {
		startAndStop(b, myelin.Config{Dir: b.TempDir()})
	}
}

// startAndStop counts the time until ready only.
func startAndStop(b *testing.B, cfg myelin.Config) {
	br, err := myelin.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := br.Close(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

// again reads what roundTrip and others wrote: want records from the beginning.
func again(t *testing.T, addr string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for n := 0; n < want; {
		got := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d records of %d: %v", n, want, got.Err())
		}
		n += got.NumRecords()
	}
}
