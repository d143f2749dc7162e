package replica

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestResign has a leader's disk hang while its followers flush: it gives up its
// leadership, refuses who waits and who comes, and says that its replica is lost,
// and where it is once the disk answers. As long as the followers are no further
// than the leader, it stays.
func TestResign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, said, r := overseen(t)
		defer func() { _ = r.stop() }()
		role := partition.Assignment{Leader: self, LeaderEpoch: 3, Replicas: []int32{self, 2, 3}, ISR: []int32{self, 2, 3}}
		rep := r.hold(func(a *Assignment) { a.Role, a.Dir, a.Config.MinISR = role, topicID(177), 2 })
		has := func(offset int64) {
			for id := int32(2); id < 4; id++ {
				rep.Fetched(partition.Fetch{Replica: id, Offset: offset, LeaderEpoch: 3, BrokerEpoch: 1, Eligible: true}, time.Now().UnixMilli())
			}
		}
		has(0)
		slowSyncs(fs, 10*time.Second)
		must(t, rep, client(t, batchOf(1, 10), true))
		waits := await(rep, 1, false, nil)
		time.Sleep(3 * time.Second)
		if told := said.list(); len(told) > 0 || waits.calls() > 0 {
			t.Fatalf("told %v, answered %d: the followers are as slow", told, waits.calls())
		}
		has(1)
		time.Sleep(time.Second)
		if told := said.list(); len(told) != 1 || told[0].Dir != kafka.DirLost || kafka.CodeOf(waits.told()) != kafka.NotLeaderOrFollower {
			t.Fatalf("told %v, answered %d times: %v", told, waits.calls(), waits.told())
		}
		if _, err := rep.Append(client(t, batchOf(1, 10), true)); kafka.CodeOf(err) != kafka.NotLeaderOrFollower {
			t.Error("it takes records:", err)
		}
		time.Sleep(10 * time.Second) // the sync is through
		if told := said.list(); len(told) != 2 || told[1].Dir != topicID(177) {
			t.Fatalf("told %v", told)
		}
		must(t, rep, client(t, batchOf(1, 10), false)) // nobody else was elected
	})
}

// overseen starts a table whose directory has an id, under a controller that does
// not answer, and keeps what the metadata is told.
func overseen(t *testing.T) (*vfs.Mem, *placings, *rig) {
	fs, said := vfs.NewMem(vfs.MemConfig{Now: time.Now}), new(placings)
	return fs, said, start(t, fs, "/data", func(c *Config) {
		c.Dirs[0].ID, c.Named, c.ISR = topicID(177), said.add, ignored{}
	})
}

// placings are what the metadata was told.
type placings struct {
	mu  sync.Mutex
	all []Placed
}

func (p *placings) add(list []Placed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, list...)
}

func (p *placings) list() []Placed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.all)
}

// ignored is a controller that does not answer.
type ignored struct{}

func (ignored) Propose(kafka.TopicPartition, partition.ISRChange) {}

// TestResignFull has a leader's disk run nearly full: it refuses records, so another
// is to lead.
func TestResignFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, said, r := overseen(t)
		defer func() { _ = r.stop() }()
		watch, end := context.WithCancel(t.Context())
		watched := make(chan error, 1)
		go func() { watched <- r.home.Run(watch) }()
		defer func() { end(); <-watched }()
		role := partition.Assignment{Leader: self, LeaderEpoch: 3, Replicas: []int32{self, 2}, ISR: []int32{self, 2}}
		rep := r.hold(func(a *Assignment) { a.Role, a.Dir = role, topicID(177) })
		fs.SetBytes(fs.Used() + 1<<10)
		for range 30 {
			time.Sleep(200 * time.Millisecond)
			rep.Fetched(partition.Fetch{Replica: 2, LeaderEpoch: 3, BrokerEpoch: 1, Eligible: true}, time.Now().UnixMilli())
		}
		if told := said.list(); len(told) != 1 || told[0].Dir != kafka.DirLost {
			t.Fatalf("told %v, room %v", told, r.home.Room())
		}
		fs.SetBytes(1 << 40)
		time.Sleep(3 * time.Second)
		if told := said.list(); len(told) != 2 || told[1].Dir != topicID(177) {
			t.Fatalf("told %v, room %v", told, r.home.Room())
		}
	})
}
