package replica

import (
	"fmt"
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
	tp    kafka.TopicPartition
	id    kafka.UUID
	env   *env
	log   *commitlog.Log
	set   atomic.Pointer[settings]
	fault atomic.Pointer[fault] // set once, by whatever took the replica offline

	turn turn
	held holder // whoever holds the turn

	// What readers see without the mutex. Written under it.
	hw, lso atomic.Int64
	lead    atomic.Uint64 // leader id and epoch, see pack

	count Counters

	mu struct {
		sync.Mutex   // memory only: never held across I/O or a channel
		part         *partition.Partition
		committed    waitList  // for the high watermark
		durable      waitList  // for both it and the flushed end of the ISR
		plain        watchList // fetches that read up to the high watermark
		stable       watchList // and those that read up to the LSO
		all          watchList // followers, who read up to the log end
		end          int64     // the log's end as the partition knows it
		written      int64     // bytes appended since the log was opened
		seen         int64     // of those, bytes below the high watermark
		stableSeen   int64     // and below the LSO
		closedReason error     // once set, waiters are refused with it
	}
}

// env is what all replicas of a table share.
type env struct {
	self    int32
	flusher *commitlog.Flusher
	home    *commitlog.Home
	pool    *record.Pool
	entries sync.Pool
	now     func() time.Time
	isr     partition.ISR
	logger  *slog.Logger
	lagMax  time.Duration
	stall   time.Duration
}

// holder is scratch memory of whoever holds the turn.
type holder struct {
	group   []*entry
	batches []commitlog.Batch
	writes  []*entry // those of group that are written
	lastNow int64    // LogAppendTime never steps back
}

// Counters are totals since the replica was opened, for metrics.
type Counters struct {
	BytesIn        atomic.Int64 // of batches appended
	MessagesIn     atomic.Int64 // records appended
	BytesOut       atomic.Int64 // handed out by Read to consumers
	ReplicatedOut  atomic.Int64 // handed out by Read to followers
	FailedProduce  atomic.Int64 // appends refused or failed
	FailedFetch    atomic.Int64 // reads refused or failed
	TotalProduce   atomic.Int64 // calls of Append
	TotalFetch     atomic.Int64 // calls of Read
	Duplicates     atomic.Int64 // appends answered from the producer's last batches
	OpenedForRules atomic.Int64 // batches whose records had to be opened
}

// fault is why a replica is offline.
type fault struct{ err error }

// TopicPartition names the replica.
func (r *Replica) TopicPartition() kafka.TopicPartition { return r.tp }

// TopicID is the id of its topic.
func (r *Replica) TopicID() kafka.UUID { return r.id }

// Counters gives the totals; they go on counting.
func (r *Replica) Counters() *Counters { return &r.count }

// HW is the high watermark: consumers see what is below.
func (r *Replica) HW() int64 { return r.hw.Load() }

// LSO is the last stable offset: read_committed consumers see what is below.
func (r *Replica) LSO() int64 { return r.lso.Load() }

// LogStart is the first offset that can be read.
func (r *Replica) LogStart() int64 { return r.log.Start() }

// LogEnd is the offset that the next record gets.
func (r *Replica) LogEnd() int64 { return r.log.End() }

// Flushed is the offset below which this broker's disk has everything.
func (r *Replica) Flushed() int64 { return r.log.Flushed() }

// Size is the log's size in bytes.
func (r *Replica) Size() int64 { return r.log.Size() }

// Segments describes the log's files.
func (r *Replica) Segments() []commitlog.SegmentInfo { return r.log.Segments() }

// Leader is the broker that leads the partition and its epoch.
func (r *Replica) Leader() (id, epoch int32) { return unpack(r.lead.Load()) }

// Leads says whether this broker leads the partition.
func (r *Replica) Leads() bool {
	id, _ := r.Leader()
	return id == r.env.self
}

// InSync says how many replicas are assigned and in sync, and whether that is
// fewer than min.insync.replicas.
func (r *Replica) InSync() (assigned, inSync int, below bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.mu.part
	return len(p.Replicas()), len(p.ISR()), p.BelowMinISR()
}

// Offline is why the replica cannot be used, nil while it can. The error wraps
// KAFKA_STORAGE_ERROR.
func (r *Replica) Offline() error {
	if f := r.fault.Load(); f != nil {
		return f.err
	}
	return nil
}

// Config is the topic's configuration as it applies now.
func (r *Replica) Config() TopicConfig { return r.set.Load().TopicConfig }

// SetConfig applies a changed topic configuration.
func (r *Replica) SetConfig(c TopicConfig) {
	r.set.Store(newSettings(r.tp, c))
	r.log.SetConfig(c.Log)
	r.mu.Lock()
	a := r.settle(r.mu.part.SetConfig(r.partitionConfig(c)))
	r.mu.Unlock()
	a.run(r)
}

func (r *Replica) partitionConfig(c TopicConfig) partition.Config {
	return partition.Config{Self: r.env.self, MinISR: c.MinISR, LagMax: r.env.lagMax.Milliseconds(), StallMax: r.env.stall.Milliseconds()}
}

func pack(id, epoch int32) uint64       { return uint64(uint32(id))<<32 | uint64(uint32(epoch)) }
func unpack(v uint64) (id, epoch int32) { return int32(v >> 32), int32(v) }
func (r *Replica) nowMs() int64         { return r.env.now().UnixMilli() }
func (r *Replica) wrap(err error) error { return fmt.Errorf("partition %s: %w", r.tp, err) }
func (r *Replica) caching() bool        { return r.set.Load().WriteCaching }

// aftermath is what a step leaves to be done once the mutex is free.
type aftermath struct {
	committed *Waiter
	durable   *Waiter
	wakes     wakes
	propose   *partition.ISRChange
}

func (a *aftermath) run(r *Replica) {
	finish(a.committed, nil)
	finish(a.durable, nil)
	a.wakes.ring()
	if a.propose != nil && r.env.isr != nil {
		r.env.isr.Propose(r.tp, *a.propose)
	}
}

// settle publishes what a step of the partition changed and takes out who
// waited for it. The caller holds the mutex, and runs the aftermath without it.
func (r *Replica) settle(fx partition.Effects) (a aftermath) {
	p := r.mu.part
	a.propose = fx.Propose
	if fx.RoleChanged {
		id, epoch := p.Leader()
		r.lead.Store(pack(id, epoch))
	}
	if fx.Advanced {
		hw := p.HighWatermark()
		r.reveal(&a, hw)
		a.committed = r.mu.committed.cut(hw)
	}
	if r.mu.durable.head != nil {
		reached := p.HighWatermark()
		if !r.caching() {
			reached = min(reached, p.Durable())
		}
		a.durable = r.mu.durable.cut(reached)
	}
	return a
}

// reveal moves the offsets that readers see, and tells watchers how many bytes
// that lets them read. While the high watermark is within what was written, its
// share in bytes is taken from its share in offsets; once it reaches the end the
// count is exact again.
func (r *Replica) reveal(a *aftermath, hw int64) {
	old, oldStable := r.hw.Load(), r.lso.Load()
	lso := hw
	if first, ok := r.log.Producers().FirstUnstable(hw); ok {
		lso = min(lso, first)
	}
	lso = max(lso, min(oldStable, hw))
	r.hw.Store(hw)
	r.lso.Store(lso)
	end := r.mu.end
	n := share(hw-old, end-old, r.mu.written-r.mu.seen)
	r.mu.seen += n
	r.mu.plain.tell(a, n)
	n = share(lso-oldStable, end-oldStable, r.mu.written-r.mu.stableSeen)
	r.mu.stableSeen += n
	r.mu.stable.tell(a, n)
}

// share is the part of bytes that belongs to moved of the offsets left, at least
// one for any that moved.
func share(moved, left, bytes int64) int64 {
	switch {
	case moved <= 0:
		return 0
	case moved >= left:
		return max(bytes, 1)
	}
	return max(int64(float64(bytes)*float64(moved)/float64(left)), 1)
}

// tell counts n bytes for every watcher.
func (l *watchList) tell(a *aftermath, n int64) {
	if n == 0 {
		return
	}
	for w := l.head; w != nil; w = w.next {
		if w.Wake.count(n) {
			a.wakes.add(w.Wake)
		}
	}
}

// flushed is what the flusher reports: everything below end is on stable
// storage, or err is final.
func (r *Replica) flushed(end int64, err error) {
	if err != nil {
		r.fail(fmt.Errorf("flush: %w", err))
		return
	}
	r.mu.Lock()
	if r.fault.Load() != nil {
		r.mu.Unlock()
		return
	}
	a := r.settle(r.mu.part.Flushed(end))
	r.mu.Unlock()
	a.run(r)
}

// fail takes the replica offline for good: after a failed write or flush nobody
// can say what the disk holds. Whoever waits hears KAFKA_STORAGE_ERROR, and no
// acknowledgement leaves any more. Not to be called in a turn: those who are
// told may want one.
func (r *Replica) fail(cause error) {
	r.spoil(cause)
	r.dismiss(r.Offline(), true)
}

// spoil is fail without telling those who wait; the caller does that.
func (r *Replica) spoil(cause error) {
	f := &fault{err: fmt.Errorf("partition %s: %w: %w", r.tp, cause, kafka.KafkaStorageError)}
	if r.fault.CompareAndSwap(nil, f) {
		r.env.logger.Error("partition is offline", "partition", r.tp.String(), "cause", cause)
	}
}

// dismiss refuses all who wait and rings for all who watch; with final it
// refuses whoever comes later too.
func (r *Replica) dismiss(reason error, final bool) {
	r.mu.Lock()
	if final && r.mu.closedReason == nil {
		r.mu.closedReason = reason
	}
	all := r.mu.committed.cut(maxOffset)
	durable := r.mu.durable.cut(maxOffset)
	r.mu.Unlock()
	finish(all, reason)
	finish(durable, reason)
	r.ring()
}

// ring rings for every watcher, whatever it waits for: something changed that a
// fetch must look at.
func (r *Replica) ring() {
	var ws wakes
	r.mu.Lock()
	for _, l := range []*watchList{&r.mu.plain, &r.mu.stable, &r.mu.all} {
		for w := l.head; w != nil; w = w.next {
			ws.add(w.Wake)
		}
	}
	r.mu.Unlock()
	ws.ring()
}

const maxOffset = 1<<63 - 1
