package replica

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
)

// board is the part of a replica that knows where it stands: the partition's
// decisions, the offsets that follow from them, and who waits for those.
type board struct {
	tp        kafka.TopicPartition
	isr       partition.ISR
	logger    *slog.Logger
	producers *commitlog.ProducerState
	caching   atomic.Bool           // write.caching
	shared    atomic.Bool           // there are other replicas
	fault     atomic.Pointer[fault] // set by whatever took the replica offline
	ill       func(kafka.TopicPartition, error)

	// What readers see without the mutex. Written under it.
	hw, lso atomic.Int64
	lead    atomic.Uint64 // leader id and epoch, see pack

	mu struct {
		sync.Mutex // memory only: never held across I/O or a channel
		part       *partition.Partition
		committed  waitList  // for the high watermark
		durable    waitList  // for both it and the flushed end of the ISR
		filling    waitList  // for the flushed end of a follower
		plain      watchList // fetches that read up to the high watermark
		stable     watchList // and those that read up to the LSO
		all        watchList // followers, who read up to the log end
		end        int64     // the log's end as the partition knows it
		written    int64     // bytes appended since the log was opened
		seen       int64     // of those, bytes below the high watermark
		stableSeen int64     // and below the LSO
		closed     error     // once set, waiters are refused with it
		resigned   bool      // leadership was given up, whatever the image says yet: see resign.go
	}
}

// fault is why a replica is offline.
type fault struct{ err error }

// HW is the high watermark: consumers see what is below.
func (b *board) HW() int64 { return b.hw.Load() }

// LSO is the last stable offset: read_committed consumers see what is below.
func (b *board) LSO() int64 { return b.lso.Load() }

// Leader is the broker that leads the partition and its epoch.
func (b *board) Leader() (id, epoch int32) { return unpack(b.lead.Load()) }

func pack(id, epoch int32) uint64       { return uint64(uint32(id))<<32 | uint64(uint32(epoch)) }
func unpack(v uint64) (id, epoch int32) { return int32(v >> 32), int32(v) }

// InSync says how many replicas are assigned and in sync, and whether that is
// fewer than min.insync.replicas.
func (b *board) InSync() (assigned, inSync int, below bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.mu.part
	return len(p.Replicas()), len(p.ISR()), p.BelowMinISR()
}

// Offline is why the replica cannot be used, nil while it can: an error that
// wraps KAFKA_STORAGE_ERROR, or what closed it.
func (b *board) Offline() error {
	if f := b.fault.Load(); f != nil {
		return f.err
	}
	return nil
}

func (b *board) wrap(err error) error { return fmt.Errorf("partition %s: %w", b.tp, err) }

// check refuses reads of an offline replica, at another epoch, or of another
// leader's partition.
func (b *board) check(epoch int32, needLeader bool) error {
	if err := b.Offline(); err != nil {
		return err
	}
	b.mu.Lock()
	err := b.mu.part.CheckEpoch(epoch, needLeader)
	b.mu.Unlock()
	if err != nil {
		return b.wrap(err)
	}
	return nil
}

// spoil is fail without telling those who wait; the caller does that.
func (b *board) spoil(cause error) {
	f := &fault{err: fmt.Errorf("partition %s: %w: %w", b.tp, cause, kafka.KafkaStorageError)}
	if b.fault.CompareAndSwap(nil, f) {
		b.logger.Error("partition is offline", "partition", b.tp.String(), "cause", cause)
		if b.ill != nil {
			b.ill(b.tp, cause)
		}
	}
}

// aftermath is what a step leaves to be done once the mutex is free.
type aftermath struct {
	committed *Waiter
	durable   *Waiter
	filling   *Waiter
	wakes     wakes
	propose   *partition.ISRChange
}

func (a *aftermath) run(b *board) {
	finish(a.committed, nil)
	finish(a.durable, nil)
	finish(a.filling, nil)
	a.wakes.ring()
	if a.propose != nil && b.isr != nil {
		b.isr.Propose(b.tp, *a.propose)
	}
}

// settle publishes what a step of the partition changed and takes out who
// waited for it. The caller holds the mutex, and runs the aftermath without it.
func (b *board) settle(fx partition.Effects) (a aftermath) {
	p := b.mu.part
	a.propose = fx.Propose
	if fx.RoleChanged {
		id, epoch := p.Leader()
		b.lead.Store(pack(id, epoch))
	}
	if fx.Advanced {
		hw := p.HighWatermark()
		b.reveal(&a, hw)
		a.committed = b.mu.committed.cut(hw)
	}
	if b.mu.durable.head != nil {
		reached := p.HighWatermark()
		if !b.caching.Load() {
			reached = min(reached, p.Durable())
		}
		a.durable = b.mu.durable.cut(reached)
	}
	if b.mu.filling.head != nil && p.Role() == partition.Follower {
		a.filling = b.mu.filling.cut(p.Durable())
	}
	return a
}

// reveal moves the offsets that readers see, and tells watchers how many bytes
// that lets them read. While the high watermark is within what was written, its
// share in bytes is taken from its share in offsets; once it reaches the end the
// count is exact again.
func (b *board) reveal(a *aftermath, hw int64) {
	old, oldStable := b.hw.Load(), b.lso.Load()
	lso := hw
	if first, ok := b.producers.FirstUnstable(hw); ok && !invariant.Planted("replica/lso") {
		lso = min(lso, first)
		if invariant.Planted("replica/lso-step") {
			lso = min(hw, lso+1)
		}
	}
	lso = max(lso, min(oldStable, hw))
	b.hw.Store(hw)
	b.lso.Store(lso)
	end := b.mu.end
	n := share(hw-old, end-old, b.mu.written-b.mu.seen)
	b.mu.seen = min(b.mu.seen+n, b.mu.written)
	b.mu.plain.tell(a, n)
	n = share(lso-oldStable, end-oldStable, b.mu.written-b.mu.stableSeen)
	b.mu.stableSeen = min(b.mu.stableSeen+n, b.mu.written)
	b.mu.stable.tell(a, n)
	for w := b.mu.all.head; w != nil; w = w.next {
		if w.ToHW && hw > w.HW {
			w.ToHW = false
			a.wakes.add(w.Wake)
		}
	}
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

// dismiss refuses all who wait and rings for all who watch; with final it
// refuses whoever comes later too.
func (b *board) dismiss(reason error, final bool) {
	b.mu.Lock()
	if final && b.mu.closed == nil {
		b.mu.closed = reason
	}
	all := b.mu.committed.cut(maxOffset)
	durable, filling := b.mu.durable.cut(maxOffset), b.mu.filling.cut(maxOffset)
	b.mu.Unlock()
	finish(all, reason)
	finish(durable, reason)
	finish(filling, reason)
	b.ring()
}

// ring rings for every watcher, whatever it waits for: something changed that a
// fetch must look at.
func (b *board) ring() {
	var ws wakes
	b.mu.Lock()
	for _, l := range []*watchList{&b.mu.plain, &b.mu.stable, &b.mu.all} {
		for w := l.head; w != nil; w = w.next {
			ws.add(w.Wake)
		}
	}
	b.mu.Unlock()
	ws.ring()
}

const maxOffset = 1<<63 - 1
