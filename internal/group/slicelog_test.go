package group

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// sliceLog is a coordinator's log in memory. Commits come by themselves, or are
// held until commit or lose is called.
type sliceLog struct {
	mu        sync.Mutex
	epoch     int32
	batches   [][]byte // stamped
	end       int64
	committed int64
	hold      bool
	refuse    error // of the next append
	waiters   []waiter
}

type waiter struct {
	end  int64
	done func(error)
}

// set changes what the log does from now on.
func (l *sliceLog) set(change func(l *sliceLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *sliceLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuse; err != nil {
		l.refuse = nil
		return 0, err
	}
	if epoch != l.epoch {
		return 0, kafka.NotLeaderOrFollower
	}
	h, err := record.Check(batch)
	if err != nil {
		return 0, err
	}
	b := append([]byte(nil), batch...)
	record.Stamp(b, l.end, epoch)
	l.batches = append(l.batches, b)
	l.end += int64(h.LastOffsetDelta) + 1
	return l.end, nil
}

func (l *sliceLog) Committed(end int64, done func(error)) {
	l.mu.Lock()
	if !l.hold {
		l.committed = l.end
	}
	if end > l.committed {
		l.waiters = append(l.waiters, waiter{end, done})
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	done(nil)
}

// commit lets everything up to the end be committed.
func (l *sliceLog) commit() {
	var end int64
	l.set(func(l *sliceLog) { end = l.end })
	l.finish(nil, end)
}

// lose cuts off what is not committed, as a new leader without it would.
func (l *sliceLog) lose(epoch int32) {
	l.mu.Lock()
	l.epoch = epoch
	for len(l.batches) > 0 {
		last := l.batches[len(l.batches)-1]
		base := int64(binary.BigEndian.Uint64(last))
		if base < l.committed {
			break
		}
		l.batches = l.batches[:len(l.batches)-1]
		l.end = base
	}
	committed := l.committed
	l.mu.Unlock()
	l.finish(kafka.NotLeaderOrFollower, committed)
}

func (l *sliceLog) finish(err error, committed int64) {
	l.mu.Lock()
	l.committed = committed
	woken := l.waiters
	l.waiters = nil
	l.mu.Unlock()
	for _, w := range woken {
		w.done(err)
	}
}

func (l *sliceLog) Read(from int64) ([]byte, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		h, err := record.ParseHeader(b)
		if err != nil {
			return nil, 0, err
		}
		if h.NextOffset() > from {
			return append([]byte(nil), b...), h.NextOffset(), nil
		}
	}
	return nil, from, nil
}

// records lists what the log holds, newest last.
func (l *sliceLog) records(t testing.TB) []coordinator.Record {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	return parseBatches(t, bytes.Join(l.batches, nil))
}

func parseBatches(t testing.TB, b []byte) []coordinator.Record {
	t.Helper()
	var list []coordinator.Record
	var r record.Reader
	for n := record.Size(b); n > 0 && n <= len(b); n = record.Size(b) {
		if h, err := record.ParseHeader(b); err == nil && h.Attributes.Has(record.Control) {
			b = b[n:]
			continue
		}
		for r.Reset(b[:n], record.DefaultLimit); r.Next(); {
			list = append(list, coordinator.Record{Key: bytes.Clone(r.Record().Key), Value: bytes.Clone(r.Record().Value)})
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		b = b[n:]
	}
	return list
}

// open starts a service on one partition that lies in log. It ends with ctx;
// wait for it then.
func open(ctx context.Context, t testing.TB, log *sliceLog, adjust func(*Config)) (s *Service, wait func()) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return log, log.leads(), nil }
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
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	return s, func() { <-done }
}

// leads is the epoch in which the log takes appends.
func (l *sliceLog) leads() (epoch int32) {
	l.set(func(l *sliceLog) { epoch = l.epoch })
	return epoch
}
