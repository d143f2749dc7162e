package replica

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

const self = 1

// rig is a table that runs on a file system, inside or outside a bubble.
type rig struct {
	t     testing.TB
	fs    vfs.FS
	home  *commitlog.Home
	table *Table
	stop  func() error
}

// start runs a table on fs at dir. It is stopped at the end of the test unless
// the test stops it.
func start(t testing.TB, fs vfs.FS, dir string, change ...func(*Config)) *rig {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	home, err := commitlog.OpenHome(commitlog.HomeConfig{FS: fs, Path: dir, Logger: logger, Now: time.Now, Room: commitlog.RoomConfig{SoftBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	flusher := commitlog.NewFlusher(commitlog.FlusherConfig{Now: time.Now, Logger: logger})
	cfg := Config{Self: self, Dirs: []Dir{{Home: home, FS: fs, Flusher: flusher}}, Pool: record.NewPool(record.PoolConfig{}), Now: time.Now, Logger: logger}
	for _, c := range change {
		c(&cfg)
	}
	r := &rig{t: t, fs: fs, home: home, table: NewTable(cfg)}
	flushCtx, stopFlusher := context.WithCancel(context.Background())
	tableCtx, stopTable := context.WithCancel(context.Background())
	flushed, closed := make(chan error, 1), make(chan error, 1)
	go func() { flushed <- flusher.Run(flushCtx) }()
	go func() { closed <- r.table.Run(tableCtx) }()
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		stopTable()
		err := <-closed
		stopFlusher()
		<-flushed
		if cerr := home.Close(err == nil); err == nil {
			err = cerr
		}
		return err
	}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// bubble runs a test on a file system in memory, with false time.
func bubble(t *testing.T, do func(t *testing.T, fs *vfs.Mem, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{Now: time.Now})
		r := start(t, fs, "/data")
		defer func() { _ = r.stop() }()
		do(t, fs, r)
	})
}

func topicID(n byte) kafka.UUID { return kafka.UUID{15: n} }

// single assigns partition 0 of a topic to this broker alone.
func single(topic string, change ...func(*Assignment)) Assignment {
	a := Assignment{TopicPartition: kafka.TopicPartition{Topic: topic}, TopicID: topicID(1), Config: new(DefaultTopicConfig()),
		Role: partition.Assignment{Leader: self, Replicas: []int32{self}, ISR: []int32{self}}}
	for _, c := range change {
		c(&a)
	}
	return a
}

// hold makes topic t and gives its replica.
func (r *rig) hold(change ...func(*Assignment)) *Replica {
	r.t.Helper()
	r.table.Apply(Delta{Assigned: []Assignment{single("t", change...)}})
	rep, err := r.table.Get("t", 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

func config(do func(*TopicConfig)) func(*Assignment) {
	return func(a *Assignment) { do(a.Config) }
}

// batchOf builds a client's batch of n records of size bytes.
func batchOf(n, size int) []byte {
	var b record.Builder
	for range n {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: make([]byte, size)})
	}
	return b.Bytes()
}

// from makes it a producer's batch.
func from(id int64, sequence int32, n int) []byte {
	b := record.Builder{Producer: &record.Producer{ID: id, Sequence: sequence}}
	for range n {
		b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
	}
	return b.Bytes()
}

func client(t testing.TB, b []byte, durable bool) Batch {
	t.Helper()
	h, err := record.CheckClient(b)
	if err != nil {
		t.Fatal(err)
	}
	return Batch{Bytes: b, Header: h, Epoch: kafka.NoEpoch, Durable: durable}
}

// must appends what has to be accepted.
func must(t testing.TB, r *Replica, b Batch) Appended {
	t.Helper()
	got, err := r.Append(b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// answer is a waiter that keeps what it was told.
type answer struct {
	Waiter
	mu  sync.Mutex
	n   int
	err error
}

// calls is how often it was told.
func (a *answer) calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// told is what it was told.
func (a *answer) told() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

func await(r *Replica, offset int64, durable bool, also func()) *answer {
	a := &answer{}
	a.Offset, a.Durable = offset, durable
	a.Done = func(err error) {
		a.mu.Lock()
		a.n++
		a.err = err
		a.mu.Unlock()
		if also != nil {
			also()
		}
	}
	r.AwaitCommitted(&a.Waiter)
	return a
}

// consume reads what a consumer sees from an offset on and gives the base
// offsets of the batches.
func consume(t testing.TB, r *Replica, offset int64, i Isolation) (bases []int64) {
	t.Helper()
	for {
		b, next, err := r.Batches(offset, 1<<20, i)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return bases
		}
		for len(b) > 0 {
			n := record.Size(b)
			h, err := record.Check(b[:n])
			if err != nil {
				t.Fatal(err)
			}
			bases = append(bases, h.BaseOffset)
			b = b[n:]
		}
		offset = next
	}
}
