package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
)

const (
	// tickEvery is how often folders to remove are looked for.
	tickEvery = 500 * time.Millisecond
	// overseeEvery is how often followers that lag and disks that hang are looked
	// for.
	overseeEvery = 200 * time.Millisecond
)

// Run opens logs, applies roles and keeps house until ctx ends. Then it flushes
// and closes all logs; its error is that of the closing. The flushers must run
// until Run has returned.
//
// Each directory has activities of its own: one that stalls holds up no other.
func (t *Table) Run(ctx context.Context) error {
	placer{t}.survey()
	var workers sync.WaitGroup
	var shift time.Duration
	every := func(d time.Duration, do func()) {
		shift += time.Millisecond
		late := shift
		workers.Go(func() { repeat(ctx, d, late, do) })
	}
	for _, d := range t.dirs {
		for range t.cfg.Openers {
			workers.Go(func() { t.opener(ctx, d) })
		}
		every(tickEvery, func() { t.tidy(d) })
		every(t.cfg.CheckpointEvery, func() { t.checkpoint(d, d.Home.Checkpoint) })
		workers.Go(func() { t.checkpointWhenDue(ctx, d) })
		every(sleepEvery, func() { sleeper{t}.lull(ctx, d) })
		every(t.cfg.RetentionEvery, func() { t.retain(ctx, d) })
	}
	for range t.cfg.Movers {
		workers.Go(func() { mover{t}.work(ctx) })
	}
	every(tickEvery, func() { t.clock.Add(1) })
	every(overseeEvery, overseer{t}.oversee)
	workers.Wait()
	return t.closeAll()
}

// repeat calls do at intervals until ctx ends, each a little late, by an amount
// of its own: what keeps house for different directories does not go to their
// device all at once, and a simulated node does the same things in the same order
// each time, which timers that are due together would not.
func repeat(ctx context.Context, d, late time.Duration, do func()) {
	ticker := time.NewTicker(d + late)
	defer ticker.Stop()
	for {
		//house:select one more round at the end does no harm
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if late > 0 {
				ticker.Reset(d)
				late = 0
			}
			do()
		}
	}
}

// tidy looks for strays in a directory, for partitions to heal, and for folders
// and files to remove, which wait no longer once room is scarce.
func (t *Table) tidy(d *directory) {
	if d.Home.Failed() != nil {
		return
	}
	t.sweep(d)
	ward{t}.heal(d)
	now := t.env.now()
	d.Home.EmptyTrash(now)
	t.mu.Lock()
	var due, rest []doomed
	for _, g := range d.trash {
		if g.due.After(now) && d.Home.Room() == commitlog.Plenty {
			rest = append(rest, g)
		} else {
			due = append(due, g)
		}
	}
	d.trash = rest
	t.mu.Unlock()
	for _, g := range due {
		if err := d.FS.RemoveAll(g.path); err != nil {
			t.env.logger.Warn("folder of a deleted partition stays until the next start", "path", g.path, "error", err)
		}
	}
}

// sweep sets aside the folders that the complete image does not name.
func (t *Table) sweep(d *directory) {
	t.mu.Lock()
	wanted := d.sweep && t.mu.surveyed
	d.sweep = d.sweep && !wanted
	t.mu.Unlock()
	if !wanted {
		return
	}
	list, err := d.Home.Logs()
	if err != nil {
		d.suspect(err)
		t.env.logger.Warn("the log directory cannot be listed", "dir", d.Home.Path(), "error", err)
		return
	}
	t.mu.Lock()
	for _, tp := range list {
		if s := t.mu.slots[tp]; tp.Topic == kafka.MetadataTopic || d.lanes[tp] != nil || s != nil && s.lane == nil {
			continue // not ours, in use, or perhaps what a slot without a place should have
		}
		l := d.laneLocked(tp)
		l.old = append(l.old, &slot{tp: tp, lane: l, stray: true})
		d.queue.add(l)
	}
	d.found = nil
	n := d.queue.len()
	t.mu.Unlock()
	d.call(n)
	mover{t}.sweepFutures(d)
}

// moversAtOnce is of how many logs a checkpoint that is due syncs the caches at
// once.
const moversAtOnce = 8

// checkpointWhenDue writes the durable points of a directory down whenever much
// was flushed, until ctx ends.
func (t *Table) checkpointWhenDue(ctx context.Context, d *directory) {
	moved := commitlog.Moved{Home: d.Home, Parallel: moversAtOnce}
	for {
		//house:select one more round at the end does no harm
		select {
		case <-ctx.Done():
			return
		case <-moved.Due():
			t.checkpoint(d, moved.Checkpoint)
		}
	}
}

// checkpoint writes the durable points of a directory down, and which logs came
// to rest if write does that; it does nothing where nothing changed.
func (t *Table) checkpoint(d *directory, write func() error) {
	if d.Home.Failed() != nil {
		return
	}
	if err := write(); err != nil {
		d.suspect(err)
		t.env.logger.Warn("durable points are not written down", "dir", d.Home.Path(), "error", err)
	}
}

// retain runs retention over the replicas of a directory, one after the other.
func (t *Table) retain(ctx context.Context, d *directory) {
	t.eachIn(d, func(r *Replica) {
		if ctx.Err() != nil || d.Home.Failed() != nil {
			return
		}
		if err := r.retain(); err != nil {
			t.env.logger.Warn("retention", "partition", r.tp.String(), "error", err)
		}
	})
	sleeper{t}.overdue(d)
}

// closeAll closes every open replica, a few at a time in each directory.
func (t *Table) closeAll() error {
	var workers sync.WaitGroup
	errs := make([][]error, len(t.dirs))
	for i, d := range t.dirs {
		var list []*Replica
		t.eachIn(d, func(r *Replica) { list = append(list, r) })
		for _, s := range t.slots() { // no opener is left
			if s.kept != nil && s.kept.at.Load().dir == d {
				list = append(list, s.kept)
			}
		}
		errs[i] = make([]error, t.cfg.Openers)
		var next atomic.Int64
		for w := range errs[i] {
			workers.Go(func() {
				for n := next.Add(1) - 1; int(n) < len(list); n = next.Add(1) - 1 {
					errs[i][w] = errors.Join(errs[i][w], list[n].close(kafka.NotLeaderOrFollower))
				}
			})
		}
	}
	workers.Wait()
	return errors.Join(slices.Concat(errs...)...)
}
