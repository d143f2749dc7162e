package commitlog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

const (
	// watchEvery is how often a Home looks at the room on its volume, and askEvery
	// how often at the calls of its device.
	watchEvery = time.Second
	askEvery   = watchEvery / 2
)

// How long a call of the device may take, in looks at it.
const (
	slowTicks    = 3  // more than 1 s: warned of
	stalledTicks = 21 // more than 10 s
)

// manyFailed is how many logs of a directory may fail for good before the
// directory itself counts as failed.
const manyFailed = 3

// device is what a Home knows of the disk it is on: how much room is left, and
// whether it answers.
type device struct {
	fs     vfs.FS
	path   string
	logger *slog.Logger
	cfg    RoomConfig

	// Room: see room.go.
	state       atomic.Int32
	free, total atomic.Int64
	full        atomic.Pointer[error] // what clients are told; nil while there is plenty
	hits        atomic.Int64          // writes that found the volume full
	look        chan struct{}         // one element: look now
	turn        slot                  // of who changes the ballast
	ballast     atomic.Int64
	again       atomic.Bool // the ballast was given up before

	// Failure.
	fault atomic.Pointer[error] // why the directory is offline; set once
	down  chan struct{}         // closed then
	once  sync.Once
	lost  atomic.Int64 // logs that failed for good

	// Calls under way.
	oldest  atomic.Int64     // ticks that the oldest has seen, 0 if none is slow
	warned  map[string]int64 // those that were told of, the watcher's own
	stalled atomic.Bool
}

func newDevice(cfg *HomeConfig, path string, logger *slog.Logger) *device {
	return &device{fs: cfg.FS, path: path, logger: logger, cfg: cfg.Room, look: make(chan struct{}, 1),
		down: make(chan struct{}), warned: map[string]int64{}}
}

// Health is the state of a log directory, for metrics.
type Health struct {
	Path        string
	Offline     bool
	Room        Room
	Free, Total int64         // bytes of the volume, as of the last look
	Ballast     int64         // bytes kept for when it is full
	Full        int64         // writes that found the volume full
	Slowest     time.Duration // age of the oldest call under way, 0 while none is slow
	Waiting     int64         // calls that wait for a token
	FailedReads int64         // reads that the device answered with an error
	// ClockDoubted: the wall clock jumped, see log.retention.clock.settle.ms.
	ClockDoubted bool
}

// Health gives it as of the last look.
func (h *Home) Health() Health {
	d := h.device
	out := Health{Path: d.path, Offline: d.Failed() != nil, Room: d.Room(), Free: d.free.Load(), Total: d.total.Load(),
		Ballast: d.ballast.Load(), Full: d.hits.Load(), Slowest: time.Duration(d.oldest.Load()) * askEvery}
	out.ClockDoubted = h.clock.Doubted()
	if l, ok := d.fs.(*vfs.Limited); ok {
		out.Waiting, out.FailedReads = l.Waiting(), l.FailedReads()
	}
	return out
}

// Slow says that a call to the device has been under way for more than 1 s, as of
// the last look.
func (d *device) Slow() bool { return d.oldest.Load() > 0 }

// Stalled says so of more than 10 s.
func (d *device) Stalled() bool { return d.stalled.Load() }

// Failed is why the whole directory is offline, nil while it is not. It wraps
// KAFKA_STORAGE_ERROR.
func (d *device) Failed() error {
	if err := d.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Down is closed once the directory has failed.
func (d *device) Down() <-chan struct{} { return d.down }

// Fail takes the directory offline until the process ends: its logs write and
// flush no more, and who waits for them is told by [Home.Run]. The first cause
// stays.
func (d *device) Fail(cause error) {
	d.once.Do(func() {
		err := fmt.Errorf("log directory %s is offline: %w: %w", d.path, kafka.KafkaStorageError, cause)
		d.fault.Store(&err)
		d.logger.Error("log directory is offline", "dir", d.path, "cause", cause)
		close(d.down)
	})
}

// suspect hears of every error that ended a log, and decides whether it is the
// directory's: when the device is gone or read-only, or when several logs failed.
func (d *device) suspect(err error) {
	if vfs.IsNoSpace(err) {
		return
	}
	if vfs.IsGone(err) || d.lost.Add(1) >= manyFailed {
		d.Fail(err)
	}
}

// Run watches the directory until ctx ends: the room on its volume, calls that
// do not come back, and its failure, which it tells to all who wait. Whoever
// does not run it has a directory that never runs full.
func (h *Home) Run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() {
		h.watchRoom(ctx, func() {
			if h.now != nil { // a jump is noticed when it happens, not when something is deleted next
				h.Safe(h.now())
			}
		})
	})
	both.Go(func() { h.watchDevice(ctx, func() { tellAll(h) }) })
	both.Wait()
	return nil
}

func (d *device) watchRoom(ctx context.Context, also func()) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		//house:select whichever comes, the room is looked at anew
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.look:
		}
		d.lookAtRoom()
		also()
	}
}

// watchDevice has a goroutine of its own, so that a device that does not even
// tell its free space is noticed.
func (d *device) watchDevice(ctx context.Context, tellAll func()) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	down := d.down
	for {
		//house:select each is acted on in its own round
		select {
		case <-ctx.Done():
			return
		case <-down:
			down = nil
			tellAll()
		case <-ticker.C:
			d.tick()
		}
	}
}

// tick looks for calls that take long.
func (d *device) tick() {
	l, ok := d.fs.(*vfs.Limited)
	if !ok {
		return
	}
	oldest, still := int64(0), map[string]int64{}
	slow := l.Tick(slowTicks)
	slices.SortFunc(slow, func(a, b vfs.Call) int { return int(b.Ticks - a.Ticks) })
	for _, c := range slow {
		oldest = max(oldest, c.Ticks-1)
		key := c.Kind.String() + " " + c.Name
		if _, twice := still[key]; twice {
			continue // the oldest of its kind stands for all
		}
		still[key] = c.Ticks
		if before := d.warned[key]; before > 0 && c.Ticks > before && (c.Ticks < stalledTicks || before >= stalledTicks) {
			continue // it was told
		}
		d.logger.Warn("the device is slow: a call does not come back", "dir", d.path, "call", c.Kind.String(), "file", c.Name,
			"age", time.Duration(c.Ticks-1)*askEvery, "waiting", l.Waiting())
	}
	d.warned = still
	d.oldest.Store(oldest)
	if stalled := oldest >= stalledTicks-1; stalled != d.stalled.Swap(stalled) && !stalled {
		d.logger.Info("the device answers again", "dir", d.path)
	}
}

// tellAll ends every open log, and tells who waits for its flush.
func tellAll(h *Home) {
	for _, l := range h.openLogs() {
		err := l.fail(h.Failed())
		if l.onFlushed != nil {
			l.onFlushed(l.Flushed(), err)
		}
	}
}
