package replica

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// tickEvery is how often lagging followers are looked for, and folders to
// remove.
const tickEvery = 500 * time.Millisecond

// Run opens logs, applies roles and keeps house until ctx ends. Then it flushes
// and closes all logs; its error is that of the closing. The flusher must run
// until Run has returned.
func (t *Table) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range t.cfg.Openers {
		workers.Go(func() { t.opener(ctx) })
	}
	workers.Go(func() { every(ctx, tickEvery, t.tick) })
	workers.Go(func() { every(ctx, t.cfg.CheckpointEvery, t.checkpoints()) })
	workers.Go(func() { every(ctx, t.cfg.RetentionEvery, func() { t.retain(ctx) }) })
	workers.Wait()
	return t.closeAll()
}

// every calls do at intervals until ctx ends.
func every(ctx context.Context, d time.Duration, do func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		//house:select one more round at the end does no harm
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// tick looks for followers that lag, strays on disk and folders to remove.
func (t *Table) tick() {
	if t.cfg.ISR != nil {
		now := t.env.nowMs()
		t.Each(func(r *Replica) {
			if r.Leads() {
				r.tick(now)
			}
		})
	}
	t.sweep()
	now := t.env.now()
	t.mu.Lock()
	var due, rest []doomed
	for _, d := range t.mu.trash {
		if d.due.After(now) {
			rest = append(rest, d)
		} else {
			due = append(due, d)
		}
	}
	t.mu.trash = rest
	t.mu.Unlock()
	for _, d := range due {
		if err := t.cfg.FS.RemoveAll(d.path); err != nil {
			t.env.logger.Warn("folder of a deleted partition stays until the next start", "path", d.path, "error", err)
		}
	}
}

// sweep sets aside the folders that the complete image does not name.
func (t *Table) sweep() {
	t.mu.Lock()
	wanted := t.mu.sweep
	t.mu.sweep = false
	t.mu.Unlock()
	if !wanted {
		return
	}
	list, err := t.cfg.Home.Logs()
	if err != nil {
		t.env.logger.Warn("the log directory cannot be listed", "error", err)
		return
	}
	t.mu.Lock()
	for _, tp := range list {
		if tp.Topic == kafka.MetadataTopic {
			continue
		}
		if t.mu.lanes[tp] == nil {
			l := t.laneLocked(tp)
			l.old = append(l.old, &slot{lane: l, stray: true, opened: make(chan struct{})})
			t.mu.queue.add(l)
		}
	}
	n := t.mu.queue.len()
	t.mu.Unlock()
	t.call(n)
}

// checkpoints gives a function that writes the durable points down if any moved
// since it last did.
func (t *Table) checkpoints() func() {
	var last int64
	return func() {
		var sum int64
		t.Each(func(r *Replica) { sum += r.Flushed() + r.LogStart() })
		if sum == last {
			return
		}
		if err := t.cfg.Home.Checkpoint(); err != nil {
			t.env.logger.Warn("durable points are not written down", "error", err)
			return
		}
		last = sum
	}
}

// retain runs retention over all replicas, one after the other.
func (t *Table) retain(ctx context.Context) {
	t.Each(func(r *Replica) {
		if ctx.Err() != nil {
			return
		}
		if err := r.retain(); err != nil {
			t.env.logger.Warn("retention", "partition", r.tp.String(), "error", err)
		}
	})
}

// closeAll closes every open replica, a few at a time.
func (t *Table) closeAll() error {
	list := t.index.Load().sorted
	var next atomic.Int64
	var workers sync.WaitGroup
	errs := make([]error, t.cfg.Openers)
	for w := range errs {
		workers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(list); i = next.Add(1) - 1 {
				if r := list[i].replica.Load(); r != nil {
					errs[w] = errors.Join(errs[w], r.close(kafka.NotLeaderOrFollower))
				}
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}
