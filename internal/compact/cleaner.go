package compact

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
)

// Target is a log that may be cleaned.
type Target struct {
	Log *commitlog.Log
	// Stable is its last stable offset, which is not above the high watermark:
	// nothing at or above it is looked at.
	Stable int64
	// HW is the high watermark: of the batch that ends there the header stays.
	HW int64
}

// Cleaner cleans one log at a time. The zero value is not ready: all fields but
// Pace must be set.
type Cleaner struct {
	Settings Settings
	Now      func() time.Time
	// Rand draws the secret of each round.
	Rand *rand.Rand
	pace *pace // shared with the other threads; nil is unlimited

	spare []uint32 // memory of the last round's keys
}

// Clean runs one round over the log, whether it is due or not, and writes down
// how far it came. False: there is nothing to clean.
//
// Errors: [commitlog.ErrOvertaken] if others changed the log meanwhile,
// CORRUPT_MESSAGE if it is damaged, KAFKA_STORAGE_ERROR. The log then is as it
// was, but for the groups of segments that were finished.
func (c *Cleaner) Clean(ctx context.Context, t Target) (Stats, bool, error) {
	p, err := look(t, age(t, c.Now()))
	if err != nil || p.cleanableBytes == 0 {
		return Stats{}, false, err
	}
	stats, err := c.run(ctx, t, &p)
	return stats, err == nil, err
}

// age is the time (ms) that tombstones and markers may be deleted by: a wall clock
// that jumped forward must not end them.
func age(t Target, now time.Time) int64 { return t.Log.Home().Safe(now).UnixMilli() }

// look makes a plan for a log as it is now.
func look(t Target, now int64) (plan, error) {
	log := commitlog.Rewriter{Log: t.Log}
	f := facts{start: log.Start(), end: log.End(), stable: t.Stable, closed: log.Closed(), now: now,
		rules: log.Tunables().Compaction, youngest: log.Youngest, first: log.First}
	f.active = f.end
	if n := len(f.closed); n > 0 {
		f.active = f.closed[n-1].Next
	} else {
		return plan{dirty: f.start, bound: f.start}, nil // only the active segment
	}
	var err error
	if f.cleaned, err = log.CleanPoint(); err != nil {
		return plan{}, err
	}
	return makePlan(&f)
}

// rest gives the memory back that rounds have used. The collector is told: it
// would let the next round's memory come on top.
func (c *Cleaner) rest() {
	if large := cap(c.spare) > 1<<18; c.spare != nil {
		c.spare = nil
		if large {
			runtime.GC()
		}
	}
}

// run cleans by a plan.
func (c *Cleaner) run(ctx context.Context, t Target, p *plan) (Stats, error) {
	began := c.Now()
	conf := c.Settings.withDefaults()
	r := &round{log: commitlog.Rewriter{Log: t.Log}, plan: *p, hw: t.HW, now: age(t, began)}
	r.conf = r.log.Tunables()
	r.pace = func(bytes int) error {
		if c.pace == nil {
			return nil
		}
		return c.pace.spend(ctx, bytes)
	}
	r.keys = newKeys(secret{c.Rand.Uint64(), c.Rand.Uint64()}, p.dirty,
		room{span: p.bound - p.dirty, memory: conf.keyBytes(), load: conf.Load, spare: c.spare})
	c.spare = r.keys.words
	if err := r.clean(ctx); err != nil {
		return r.stats, fmt.Errorf("cleaning %s from %d to %d: %w", t.Log.Name(), p.dirty, p.bound, err)
	}
	r.stats.Millis = c.Now().Sub(began).Milliseconds()
	return r.stats, r.log.SetCleanPoint(r.stats.End)
}
