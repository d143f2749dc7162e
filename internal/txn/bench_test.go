package txn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// sliceLog is a partition of __transaction_state in memory. Commits come by
// themselves, or are held until commit or lose is called.
type sliceLog struct {
	mu        sync.Mutex
	epoch     int32
	batches   [][]byte // stamped
	end       int64
	committed int64
	hold      bool
	refuse    error // of the next append
	waiters   []waiter
	onAppend  func() // called without the lock
}

type waiter struct {
	end  int64
	done func(error)
}

func (l *sliceLog) set(change func(l *sliceLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *sliceLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	if err := l.refuse; err != nil {
		l.refuse = nil
		l.mu.Unlock()
		return 0, err
	}
	if epoch != l.epoch {
		l.mu.Unlock()
		return 0, kafka.NotLeaderOrFollower
	}
	b := bytes.Clone(batch)
	record.Stamp(b, l.end, epoch)
	h, err := record.Check(b)
	if err != nil {
		l.mu.Unlock()
		return 0, err
	}
	l.batches, l.end = append(l.batches, b), h.NextOffset()
	end, told := l.end, l.onAppend
	l.mu.Unlock()
	if told != nil {
		told()
	}
	return end, nil
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
	l.set(func(l *sliceLog) { end, l.hold = l.end, false })
	l.finish(nil, end)
}

// lose cuts off what is not committed, as a new leader without it would.
func (l *sliceLog) lose() {
	l.mu.Lock()
	for len(l.batches) > 0 {
		base := int64(binary.BigEndian.Uint64(l.batches[len(l.batches)-1]))
		if base < l.committed {
			break
		}
		l.batches, l.end = l.batches[:len(l.batches)-1], base
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
		if h, err := record.ParseHeader(b); err != nil {
			return nil, 0, err
		} else if h.NextOffset() > from {
			return bytes.Clone(b), h.NextOffset(), nil
		}
	}
	return nil, from, nil
}

// leads is the epoch in which the log takes appends.
func (l *sliceLog) leads() (epoch int32) {
	l.set(func(l *sliceLog) { epoch = l.epoch })
	return epoch
}

// records lists what the log holds, oldest first.
func (l *sliceLog) records(t testing.TB) (list []coordinator.Record) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var r record.Reader
	for _, b := range l.batches {
		for r.Reset(b, record.DefaultLimit); r.Next(); {
			list = append(list, coordinator.Record{Key: bytes.Clone(r.Record().Key), Value: bytes.Clone(r.Record().Value)})
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	return list
}

// desk is where markers arrive. It notes them, keeps them waiting while it is
// closed, and refuses those of some partitions.
type desk struct {
	mu     sync.Mutex
	taken  []string
	refuse map[kafka.TopicPartition]kafka.Code
	gate   chan struct{} // nil: open
	check  func(m Marker, tp kafka.TopicPartition)
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
			d.check(m, tp)
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
	log   *sliceLog
	desk  *desk
	level int16
	ids   int64 // producer ids given out
	noIDs bool
	stop  func()
}

// newBench starts a service in a bubble; stop ends it.
func newBench(t *testing.T, adjust func(*Config)) *bench {
	b := &bench{t: t, log: &sliceLog{epoch: 1}, desk: &desk{refuse: map[kafka.TopicPartition]kafka.Code{}}, level: 2, ids: 100}
	cfg := DefaultConfig()
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return b.log, b.log.leads(), nil }
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
	b.log.set(func(l *sliceLog) { l.epoch++ })
	b.s.Elect(0, b.log.leads())
	synctest.Wait()
}
