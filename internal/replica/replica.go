package replica

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
)

// Replica is this broker's copy of one partition. All methods may be called by
// any number of goroutines.
type Replica struct {
	board   // role, offsets, who waits
	mooring // the log, and where it lies
	guards  // transactions about to begin

	id     kafka.UUID
	env    *env
	set    atomic.Pointer[settings]
	turn   turn
	stamp  int64  // LogAppendTime never steps back; belongs to whoever holds the turn
	plight plight // its overseer's
	shut   bool   // the log was closed to be opened anew; belongs to who serves the lane
	count  Counters
}

// env is what all replicas of a table share.
type env struct {
	self    int32
	pool    *record.Pool
	entries sync.Pool
	holders sync.Pool
	shared  atomic.Pointer[settings] // those that a replica got last
	sharing atomic.Bool              // a partition here has, or had, other replicas
	now     func() time.Time
	isr     partition.ISR
	roled   func(*Replica) // nil: nobody is told
	logger  *slog.Logger
	lagMax  time.Duration
	stall   time.Duration
	ill     func(kafka.TopicPartition, error)
}

func (e *env) nowMs() int64 { return e.now().UnixMilli() }

// rules are what package partition needs to know of a topic's configuration.
func (e *env) rules(c *TopicConfig) partition.Config {
	return partition.Config{Self: e.self, MinISR: c.MinISR, LagMax: e.lagMax.Milliseconds(), StallMax: e.stall.Milliseconds()}
}

// holder is scratch memory of whoever holds the turn, from env.holders.
type holder struct {
	group   []*entry
	batches []commitlog.Batch
	writes  []*entry // those of group that are written
	undo    commitlog.Undo
}

// Counters are totals since the replica was opened, for metrics.
type Counters struct {
	BytesIn        atomic.Int64 // of batches appended
	MessagesIn     atomic.Int64 // records appended
	BytesOut       atomic.Int64 // handed out by Read to consumers
	ReplicatedIn   atomic.Int64 // of batches that came from the leader
	ReplicatedOut  atomic.Int64 // handed out by Read to followers
	FailedProduce  atomic.Int64 // appends refused or failed
	FailedFetch    atomic.Int64 // reads refused or failed
	TotalProduce   atomic.Int64 // calls of Append
	TotalFetch     atomic.Int64 // calls of Read
	Duplicates     atomic.Int64 // appends answered from the producer's last batches
	OpenedForRules atomic.Int64 // batches whose records had to be opened
}

// add takes what another counted in.
func (c *Counters) add(o *Counters) {
	for _, p := range [][2]*atomic.Int64{
		{&c.BytesIn, &o.BytesIn}, {&c.MessagesIn, &o.MessagesIn}, {&c.BytesOut, &o.BytesOut}, {&c.ReplicatedOut, &o.ReplicatedOut},
		{&c.ReplicatedIn, &o.ReplicatedIn},
		{&c.FailedProduce, &o.FailedProduce}, {&c.FailedFetch, &o.FailedFetch}, {&c.TotalProduce, &o.TotalProduce},
		{&c.TotalFetch, &o.TotalFetch}, {&c.Duplicates, &o.Duplicates}, {&c.OpenedForRules, &o.OpenedForRules},
	} {
		p[0].Add(p[1].Load())
	}
}

// TopicPartition names the replica.
func (r *Replica) TopicPartition() kafka.TopicPartition { return r.tp }

// TopicID is the id of its topic.
func (r *Replica) TopicID() kafka.UUID { return r.id }

// Counters gives the totals; they go on counting.
func (r *Replica) Counters() *Counters { return &r.count }

// Leads says whether this broker leads the partition.
func (r *Replica) Leads() bool {
	id, _ := r.Leader()
	return id == r.env.self
}

// Config is the topic's configuration as it applies now.
func (r *Replica) Config() TopicConfig { return r.set.Load().TopicConfig }

// SetConfig applies a changed topic configuration, in a turn of its own: what a
// turn admits by the one must not be written by the other.
func (r *Replica) SetConfig(c TopicConfig) {
	r.turn.lock()
	r.set.Store(r.env.settings(&c))
	r.log().SetConfig(c.Log)
	r.caching.Store(c.WriteCaching)
	r.turn.leave()
	r.mu.Lock()
	a := r.settle(r.mu.part.SetConfig(r.env.rules(&c)))
	r.mu.Unlock()
	a.run(&r.board)
}
