package replica

import (
	"errors"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
)

// AwaitCommitted has w.Done called once the high watermark reaches w.Offset, or
// once it is certain that this leadership will not bring it there. If either is
// so already, the caller's goroutine calls it before AwaitCommitted returns.
func (b *board) AwaitCommitted(w *Waiter) {
	b.mu.Lock()
	p := b.mu.part
	end, line := p.HighWatermark(), &b.mu.committed
	if w.Durable && !b.caching.Load() {
		end, line = min(end, p.Durable()), &b.mu.durable
	}
	var err error
	ready := false
	switch {
	case b.mu.closed != nil && !errors.Is(b.mu.closed, errAsleep):
		err = b.mu.closed
	case p.Role() != partition.Leader:
		err = b.wrap(kafka.NotLeaderOrFollower)
	case end >= w.Offset: // also where the replica went to sleep since: what is there is there
		ready = true
	case b.mu.resigned:
		err = b.wrap(kafka.NotLeaderOrFollower)
	case b.mu.closed != nil:
		err = b.mu.closed
	default:
		line.add(w)
	}
	b.mu.Unlock()
	if ready || err != nil {
		w.Done(err)
	}
}

// AwaitFlushed has w.Done called once a follower has flushed all below w.Offset:
// nil then, else why it will not in this role.
func (b *board) AwaitFlushed(w *Waiter) {
	b.mu.Lock()
	var err error
	ready := false
	switch p := b.mu.part; {
	case b.mu.closed != nil:
		err = b.mu.closed
	case p.Role() != partition.Follower:
		err = b.wrap(kafka.NotLeaderOrFollower)
	case p.Durable() >= w.Offset:
		ready = true
	default:
		b.mu.filling.add(w)
	}
	b.mu.Unlock()
	if ready || err != nil {
		w.Done(err)
	}
}

// Forget takes w back, for a request that ran out of time. False means that
// Done was called or is just being called.
func (b *board) Forget(w *Waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.list == nil {
		return false
	}
	w.list.remove(w)
	return true
}

// Watch counts what becomes readable for w.Wake until [Replica.Unwatch].
func (b *board) Watch(w *FetchWaiter) {
	b.mu.Lock()
	list, readable := &b.mu.plain, b.hw.Load()
	switch w.Isolation {
	case ReadCommitted:
		list, readable = &b.mu.stable, b.lso.Load()
	case ReadAll:
		list, readable = &b.mu.all, b.mu.end
	}
	list.add(w)
	ring := readable > w.Seen || b.mu.closed != nil || w.ToHW && b.hw.Load() > w.HW
	b.mu.Unlock()
	if ring {
		w.Wake.Ring()
	}
}

// Unwatch ends it; it is no error if w does not watch.
func (b *board) Unwatch(w *FetchWaiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.list != nil {
		w.list.remove(w)
	}
}

// Fetched notes where a follower fetches from, which is what it has on stable
// storage. The caller has compared the offset with the log by Read, in the leader
// epoch that it names here. It gives the offset up to which the whole ISR has
// flushed, which the follower is told; ok is false for one that is none.
func (b *board) Fetched(f partition.Fetch, now int64) (durable int64, ok bool) {
	b.mu.Lock()
	a := b.settle(b.mu.part.Fetched(f, now))
	durable, ok = b.mu.part.Durable(), b.mu.part.Assigned(f.Replica)
	b.mu.Unlock()
	a.run(b)
	return durable, ok
}

// Holding is [partition.Partition.Holding].
func (b *board) Holding(offset int64) []int32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.part.Holding(offset)
}

// ISRRefused takes back the proposal made at that partition epoch; see
// [partition.Partition.ISRRefused] for when that is safe.
func (b *board) ISRRefused(partitionEpoch int32) {
	b.mu.Lock()
	a := b.settle(b.mu.part.ISRRefused(partitionEpoch))
	b.mu.Unlock()
	a.run(b)
}

// ISR is the set of replicas that the controller counts as in sync.
func (b *board) ISR() []int32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.part.ISR()
}

// tick lets the partition look at the clock: followers that lag leave the ISR.
func (b *board) tick(now int64) {
	if b.Offline() != nil {
		return
	}
	b.mu.Lock()
	a := b.settle(b.mu.part.Tick(now))
	b.mu.Unlock()
	a.run(b)
}
