package compact

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Config is what a [Compactor] needs. All but Settings and Logger must be set.
type Config struct {
	// Logs calls visit for every open log whose topic is compacted. It is called
	// often and must cost nothing for logs that nobody touches.
	Logs     func(visit func(Target))
	Settings Settings
	Now      func() time.Time
	// Rand is the compactor's alone.
	Rand   *rand.Rand
	Logger *slog.Logger
}

// Compactor is the activity that cleans a broker's logs: each of its threads
// takes the dirtiest log that is due, cleans it, and looks again.
type Compactor struct {
	logs    func(visit func(Target))
	now     func() time.Time
	rand    *rand.Rand
	logger  *slog.Logger
	pace    *pace
	changed chan struct{} // settings that need other threads
	picking chan struct{} // 1-slot lock of who chooses a log; held over I/O

	mu struct {
		sync.Mutex // memory only
		settings   Settings
		busy       map[kafka.TopicPartition]bool
		bad        map[kafka.TopicPartition]bad // uncleanable until opened anew
		figures    Figures
	}
}

// bad is a log that cannot be cleaned.
type bad struct {
	log *commitlog.Log
	err error
}

// Figures are what Kafka's metrics of the cleaner say.
type Figures struct {
	MaxDirtyPercent    int // of the dirtiest log, when one was last chosen
	MaxCompactionDelay time.Duration
	LastRun            time.Time
	Last               Stats // of the last round
	Uncleanable        []Uncleanable
}

// Uncleanable is a log that is left alone until it is opened anew.
type Uncleanable struct {
	Dir   string // its log directory
	Name  kafka.TopicPartition
	Bytes int64 // that wait to be cleaned
	Err   error
}

// New makes a compactor; nothing is cleaned before Run.
func New(cfg Config) *Compactor {
	c := &Compactor{logs: cfg.Logs, now: cfg.Now, rand: cfg.Rand, logger: cfg.Logger, pace: &pace{now: cfg.Now},
		changed: make(chan struct{}, 1), picking: make(chan struct{}, 1)}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	c.mu.busy, c.mu.bad = map[kafka.TopicPartition]bool{}, map[kafka.TopicPartition]bad{}
	c.mu.settings = cfg.Settings.withDefaults()
	c.pace.limit(cfg.Settings.BytesPerSecond)
	return c
}

// SetSettings changes the settings. Where the threads or their memory change,
// rounds under way are given up; they begin again.
func (c *Compactor) SetSettings(s Settings) {
	s = s.withDefaults()
	c.pace.limit(s.BytesPerSecond)
	c.mu.Lock()
	old := c.mu.settings
	c.mu.settings = s
	c.mu.Unlock()
	if old.Threads == s.Threads && old.Buffer == s.Buffer && old.Load == s.Load && old.Off == s.Off && old.Backoff == s.Backoff {
		return
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Run cleans until ctx ends.
func (c *Compactor) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		c.mu.Lock()
		set := c.mu.settings
		c.mu.Unlock()
		own, cancel := context.WithCancel(ctx)
		var threads sync.WaitGroup
		for range set.Threads {
			if set.Off {
				break
			}
			cleaner := &Cleaner{Settings: set, Now: c.now, pace: c.pace,
				Rand: rand.New(rand.NewPCG(c.rand.Uint64(), c.rand.Uint64()))}
			threads.Go(func() { c.thread(own, cleaner) })
		}
		//house:select after either the threads are ended
		select {
		case <-ctx.Done():
		case <-c.changed:
		}
		cancel()
		threads.Wait()
	}
	return nil
}

// thread cleans one log after the other.
func (c *Compactor) thread(ctx context.Context, cleaner *Cleaner) {
	for ctx.Err() == nil {
		t, p, ok := c.pick(ctx)
		if ok && c.one(ctx, cleaner, t, &p) {
			continue
		}
		cleaner.rest()
		timer := time.NewTimer(max(cleaner.Settings.Backoff, time.Millisecond))
		//house:select another look at the end does no harm
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pick chooses the dirtiest of the logs that are due and marks it as busy.
func (c *Compactor) pick(ctx context.Context) (best Target, plan plan, ok bool) {
	c.picking <- struct{}{}
	defer func() { <-c.picking }()
	now := c.now()
	figures := Figures{LastRun: now}
	here := map[kafka.TopicPartition]bool{} // of those that cannot be cleaned
	c.logs(func(t Target) {
		if ctx.Err() != nil || c.leave(t, &figures, here) {
			return
		}
		p, err := look(t, age(t, now))
		if err != nil {
			here[t.Log.Name()] = c.failed(ctx, t, err)
			return
		}
		figures.MaxDirtyPercent = max(figures.MaxDirtyPercent, int(100*p.ratio()))
		figures.MaxCompactionDelay = max(figures.MaxCompactionDelay, time.Duration(p.delay)*time.Millisecond)
		rules := commitlog.Rewriter{Log: t.Log}.Tunables().Compaction
		if p.cleanableBytes > 0 && p.due(&rules) && (!ok || p.before(&plan) < 0) {
			best, plan, ok = t, p, true
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.mu.busy[best.Log.Name()] = true
	}
	maps.DeleteFunc(c.mu.bad, func(name kafka.TopicPartition, _ bad) bool { return !here[name] && ctx.Err() == nil })
	figures.Last = c.mu.figures.Last
	c.mu.figures = figures
	return best, plan, ok
}

// leave tells whether a log is not to be looked at: another thread has it, or it
// cannot be cleaned.
func (c *Compactor) leave(t Target, figures *Figures, here map[kafka.TopicPartition]bool) bool {
	name := t.Log.Name()
	c.mu.Lock()
	b, is := c.mu.bad[name]
	busy := c.mu.busy[name]
	c.mu.Unlock()
	if is && b.log == t.Log { // and was not opened anew
		here[name] = true
		figures.Uncleanable = append(figures.Uncleanable, uncleanable(&b))
		return true
	}
	return busy
}

// uncleanable counts everything behind the clean point but the active segment.
func uncleanable(b *bad) Uncleanable {
	log := commitlog.Rewriter{Log: b.log}
	u := Uncleanable{Dir: b.log.Home().Path(), Name: b.log.Name(), Err: b.err}
	from, _ := log.CleanPoint() // it was read before
	for _, s := range log.Closed() {
		if s.Next > from {
			u.Bytes += s.Bytes
		}
	}
	return u
}

// one cleans a log that was picked. After a round that failed the thread pauses.
func (c *Compactor) one(ctx context.Context, cleaner *Cleaner, t Target, p *plan) (done bool) {
	stats, err := cleaner.run(ctx, t, p)
	c.mu.Lock()
	delete(c.mu.busy, t.Log.Name())
	if err == nil {
		c.mu.figures.Last = stats
	}
	c.mu.Unlock()
	if err != nil {
		c.failed(ctx, t, err)
		return false
	}
	c.logger.Info("compacted", "log", t.Log.Name().String(), "dirty", stats.Dirty, "end", stats.End,
		"read_bytes", stats.ReadBytes, "written_bytes", stats.WrittenBytes, "records", stats.ReadRecords,
		"kept", stats.KeptRecords, "keyless", stats.Keyless, "table_fill", stats.Fill, "ms", stats.Millis)
	return true
}

// failed judges the end of a round: what comes of others' doing passes, a full
// disk too; the rest leaves the log alone until it is opened anew.
func (c *Compactor) failed(ctx context.Context, t Target, err error) (uncleanable bool) {
	switch {
	case ctx.Err() != nil, errors.Is(err, commitlog.ErrOvertaken), t.Log.Failed() != nil:
		c.logger.Debug("compaction given up", "log", t.Log.Name().String(), "error", err)
		return false
	case vfs.IsNoSpace(err):
		c.logger.Warn("no room to compact", "log", t.Log.Name().String(), "error", err)
		return false
	}
	c.logger.Error("log cannot be compacted, it is left alone until it is opened anew", "log", t.Log.Name().String(), "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.bad[t.Log.Name()] = bad{t.Log, err}
	return true
}

// Figures gives the figures as they are now.
func (c *Compactor) Figures() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.figures
}
