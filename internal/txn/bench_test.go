package txn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// desk is where markers arrive. It notes them, keeps them waiting while it is
// closed, and refuses those of some partitions.
type desk struct {
	mu     sync.Mutex
	taken  []string
	refuse map[kafka.TopicPartition]kafka.Code
	gate   chan struct{}                                 // nil: open
	check  func(m Marker, tp kafka.TopicPartition) error // says what the partition says
}

func (d *desk) Write(ctx context.Context, m Marker, partitions []kafka.TopicPartition) []error {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	errs := make([]error, len(partitions))
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			for i := range errs {
				errs[i] = ctx.Err()
			}
			return errs
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	word := "abort"
	if m.Commit {
		word = "commit"
	}
	for i, tp := range partitions {
		if code := d.refuse[tp]; code != kafka.None {
			errs[i] = code
			continue
		}
		if d.check != nil {
			if errs[i] = d.check(m, tp); errs[i] != nil {
				continue
			}
		}
		d.taken = append(d.taken, fmt.Sprintf("%s %s by %d/%d, coordinator %d, version %d", word, tp, m.ID, m.Epoch, m.CoordinatorEpoch, m.Version))
	}
	return errs
}

// close keeps markers waiting, open lets them in.
func (d *desk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate == nil {
		d.gate = make(chan struct{})
	}
}

func (d *desk) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate != nil {
		close(d.gate)
		d.gate = nil
	}
}

// bench is a service on one partition.
type bench struct {
	t     *testing.T
	s     *Service
	log   *slicelog.Log
	desk  *desk
	level int16
	ids   int64 // producer ids given out
	noIDs bool
	live  atomic.Pointer[shard] // the newest
	stop  func()
}

// newBench starts a service in a bubble; stop ends it.
func newBench(t *testing.T, adjust func(*Config)) *bench {
	b := &bench{t: t, log: slicelog.New(1), desk: &desk{refuse: map[kafka.TopicPartition]kafka.Code{}}, level: 2, ids: 100}
	cfg := DefaultConfig()
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return b.log, b.log.Leads(), nil }
	cfg.NewProducerID = func(context.Context) (int64, error) {
		if b.noIDs {
			return 0, errors.Join(context.DeadlineExceeded)
		}
		b.ids++
		return b.ids, nil
	}
	cfg.Markers, cfg.Now = b.desk, time.Now
	cfg.Level = func() int16 { return b.level }
	if adjust != nil {
		adjust(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.s = s
	runs := s.runs()
	build := runs.New
	runs.New = func(p int32, tl *coordinator.Timeline) *shard {
		sh := build(p, tl)
		b.live.Store(sh)
		return sh
	}
	if s.rt, err = coordinator.New(runs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	b.stop = func() {
		cancel()
		<-done
	}
	s.Elect(0, 1)
	synctest.Wait()
	return b
}

// reload has the coordinator load its log again, under the next epoch.
func (b *bench) reload() {
	b.s.Resign(0, kafka.NoEpoch)
	synctest.Wait()
	b.log.Lead(b.log.Leads() + 1)
	b.s.Elect(0, b.log.Leads())
	synctest.Wait()
}
