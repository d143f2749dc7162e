package txn

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
)

// idKinds are what an id may cost; the figures stand in docs/performance.md. most
// has room for another version of Go.
var idKinds = []struct {
	name string
	most int // bytes
	tx   transaction
}{
	{"idle", 350, transaction{status: CompleteCommit, partitions: nil}},
	{"ongoing in three partitions", 750, transaction{status: Ongoing, partitions: []kafka.TopicPartition{
		{Topic: kafka.OffsetsTopic, Partition: 17}, {Topic: "orders", Partition: 3}, {Topic: "orders", Partition: 5}}}},
}

func recordOf(id string, producer int64, tx transaction) coordinator.Record {
	tx.ID, tx.Epoch, tx.previous, tx.next, tx.timeout = producer, 3, producer, kafka.NoProducer, 60_000
	tx.started, tx.updated, tx.client = time.Now().UnixMilli(), time.Now().UnixMilli(), version2
	return coordinator.Record{Key: recordKey(id), Value: tx.marshal(version2)}
}

// What a transactional id costs in memory bounds how many a broker can keep, and
// what an expired one leaves behind how many it can have had.
func TestMemoryOfIDs(t *testing.T) {
	const ids = 20_000
	for _, k := range idKinds {
		s, err := New(Config{Partitions: func() int32 { return 1 }, Open: func(context.Context, int32) (coordinator.Log, int32, error) { return nil, 0, kafka.NotCoordinator },
			NewProducerID: func(context.Context) (int64, error) { return 0, nil }, Markers: &desk{}, Level: func() int16 { return version2 }, Now: time.Now,
			MaxTimeout: 1, AbortEvery: 1, Expiration: 1, ExpireEvery: 1})
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		sh := newShard(s, 0, coordinator.NewTimeline())
		for i := range ids {
			if err := sh.Replay(recordOf(fmt.Sprintf("application-%06d", i), int64(i), k.tx)); err != nil {
				t.Fatal(err)
			}
		}
		each := int(heap()-before) / ids
		t.Logf("%s: %d bytes", k.name, each)
		if each > k.most {
			t.Errorf("%s: %d bytes each, %d are allowed", k.name, each, k.most)
		}
		for i := range ids {
			if err := sh.Replay(coordinator.Record{Key: recordKey(fmt.Sprintf("application-%06d", i))}); err != nil {
				t.Fatal(err)
			}
		}
		left := max(0, int(heap())-int(before)) / ids
		t.Logf("%s: %d bytes when all are forgotten", k.name, left)
		if left > 64 {
			t.Errorf("%s: %d bytes are left of each id", k.name, left)
		}
		runtime.KeepAlive(sh)
	}
}

// A million idle ids expire: those of one partition, in turns whose batches are
// small, and none of them is kept. See internal/broker for what is left in the log.
func TestIdleIDsExpire(t *testing.T) {
	ids := 20_000 // of a million, those of one partition of fifty
	if testing.Short() {
		ids = 3000
	}
	synctest.Test(t, func(t *testing.T) {
		log := slicelog.New(1)
		fill(log, ids, idKinds[0].tx)
		b := newBench(t, nil)
		defer b.stop()
		b.s.Resign(0, kafka.NoEpoch)
		synctest.Wait()
		b.log = log
		b.s.Elect(0, 1)
		synctest.Wait()
		if n := b.s.Standing().IDs; n != ids {
			t.Fatalf("%d ids are loaded", n)
		}
		_, begin := log.Span()
		time.Sleep(b.s.cfg.Expiration + 2*b.s.cfg.ExpireEvery)
		synctest.Wait()
		if n := b.s.Standing().IDs; n != 0 {
			t.Errorf("%d ids are left", n)
		}
		if n := b.s.Stats().Expired.Load(); n != int64(ids) {
			t.Errorf("%d ids are counted as expired", n)
		}
		for _, batch := range log.Batches() {
			if h, err := record.ParseHeader(batch); err == nil && h.BaseOffset >= begin && len(batch) > 2*atOnce {
				t.Errorf("%d bytes in one batch", len(batch))
			}
		}
	})
}

// fill appends a record for each id, each in a batch of its own as they are
// written.
func fill(log *slicelog.Log, ids int, tx transaction) {
	for i := range ids {
		r := recordOf(fmt.Sprintf("application-%06d", i), int64(i), tx)
		var build record.Builder
		build.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: r.Key, Value: r.Value})
		log.Add(build.Bytes())
	}
}

// TestLoadOfOpenIDs states what it takes to load ten thousand open transactions:
// the figures stand in docs/performance.md. Nothing is asserted of the time, which
// is the machine's.
func TestLoadOfOpenIDs(t *testing.T) {
	const ids = 10_000
	log := slicelog.New(1)
	fill(log, ids, idKinds[1].tx)
	last := idKinds[1].tx
	last.status = PrepareCommit // its markers are sent once all is loaded
	var build record.Builder
	r := recordOf("last", ids, last)
	build.Append(record.Record{Key: r.Key, Value: r.Value})
	log.Add(build.Bytes())
	loaded := make(chan struct{})
	var once sync.Once
	cfg := DefaultConfig()
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return log, 1, nil }
	cfg.NewProducerID = func(context.Context) (int64, error) { return 0, nil }
	cfg.Markers = &desk{check: func(Marker, kafka.TopicPartition) error {
		once.Do(func() { close(loaded) })
		return nil
	}}
	cfg.Level, cfg.Now = func() int16 { return version2 }, time.Now
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	before := heap()
	s.Elect(0, 1)
	<-loaded
	if n := s.Standing().IDs; n != ids+1 {
		t.Errorf("%d ids are loaded", n)
	}
	each := int(heap()-before) / ids
	t.Logf("%d open transactions: loaded in %v, %.1f MB, %d bytes each", ids, s.Coordinator().LongestLoad.Round(time.Millisecond), float64(each*ids)/1e6, each)
	if each > idKinds[1].most {
		t.Errorf("%d bytes each", each)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
