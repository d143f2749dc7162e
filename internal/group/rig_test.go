package group

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// open starts a service on one partition that lies in log. It ends with ctx;
// wait for it then.
func open(ctx context.Context, t testing.TB, log *slicelog.Log, adjust func(*Config)) (s *Service, wait func()) {
	t.Helper()
	return openSeen(ctx, t, log, adjust, new(atomic.Pointer[shard]))
}

// openSeen is open for one who looks into the shard: live is the newest.
func openSeen(ctx context.Context, t testing.TB, log *slicelog.Log, adjust func(*Config), live *atomic.Pointer[shard]) (s *Service, wait func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return log, log.Leads(), nil }
	cfg.Topics = testTopics(t)
	cfg.Now = time.Now
	cfg.Rand = rand.New(rand.NewPCG(1, 2))
	cfg.Limits.InitialDelay = 0
	if adjust != nil {
		adjust(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runs := s.runs()
	build := runs.New
	runs.New = func(p int32, tl *coordinator.Timeline) *shard {
		sh := build(p, tl)
		live.Store(sh)
		return sh
	}
	if s.rt, err = coordinator.New(runs); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	return s, func() { <-done }
}
