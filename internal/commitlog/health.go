package commitlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// watchEvery is how often a Home looks at its device and at the room on it.
const watchEvery = time.Second

// How long a call of the device may take, in looks at it.
const (
	slowTicks    = 2  // more than 1 s: warned of
	stalledTicks = 11 // more than 10 s: leadership should go elsewhere
)

// manyFailed is how many logs of a directory may fail for good before the
// directory itself counts as failed.
const manyFailed = 3

// health is what a Home knows of its device.
type health struct {
	fault atomic.Pointer[error] // why the directory is offline; set once
	down  chan struct{}         // closed then
	once  sync.Once
	lost  atomic.Int64 // logs that failed for good

	oldest  atomic.Int64 // ticks that the oldest call under way has seen, 0 if none is slow
	warned  map[string]int64
	stalled atomic.Bool
}

func newHealth() *health { return &health{down: make(chan struct{}), warned: map[string]int64{}} }

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
}

// Health gives it as of the last look.
func (h *Home) Health() Health {
	out := Health{Path: h.path, Offline: h.Failed() != nil, Room: h.Room(), Free: h.room.free.Load(), Total: h.room.total.Load(),
		Ballast: h.room.ballast.Load(), Full: h.room.hits.Load(), Slowest: time.Duration(h.health.oldest.Load()) * watchEvery}
	if l, ok := h.fs.(*vfs.Limited); ok {
		out.Waiting = l.Waiting()
	}
	return out
}

// Stalled says that a call to the device has been under way for more than 10 s:
// partitions that have another replica should be led there.
func (h *Home) Stalled() bool { return h.health.stalled.Load() }

// Failed is why the whole directory is offline, nil while it is not. It wraps
// KAFKA_STORAGE_ERROR.
func (h *Home) Failed() error {
	if err := h.health.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Down is closed once the directory has failed.
func (h *Home) Down() <-chan struct{} { return h.health.down }

// Fail takes the directory offline until the process ends: its logs write and
// flush no more, and who waits for them is told by [Home.Run]. The first cause
// stays.
func (h *Home) Fail(cause error) {
	h.health.once.Do(func() {
		err := fmt.Errorf("log directory %s is offline: %w: %w", h.path, kafka.KafkaStorageError, cause)
		h.health.fault.Store(&err)
		h.logger.Error("log directory is offline", "dir", h.path, "cause", cause)
		close(h.health.down)
	})
}

// suspect hears of every error that ended a log, and decides whether it is the
// directory's: when the device is gone or read-only, or when several logs failed.
func (h *Home) suspect(err error) {
	if vfs.IsNoSpace(err) {
		return
	}
	if isDeviceGone(err) || h.health.lost.Add(1) >= manyFailed {
		h.Fail(err)
	}
}

// isDeviceGone tells of errors that no single file has to itself.
func isDeviceGone(err error) bool {
	return slices.ContainsFunc([]error{syscall.EROFS, syscall.ENODEV, syscall.ENXIO}, func(e error) bool { return errors.Is(err, e) })
}

// Run watches the directory until ctx ends: the room on its volume, calls that
// do not come back, and its failure, which it tells to all who wait. Whoever
// does not run it has a directory that never runs full.
func (h *Home) Run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { h.watchRoom(ctx) })
	both.Go(func() { h.watchDevice(ctx) })
	both.Wait()
	return nil
}

func (h *Home) watchRoom(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		//house:select whichever comes, the room is looked at anew
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-h.room.look:
		}
		h.lookAtRoom()
	}
}

// watchDevice has a goroutine of its own, so that a device that does not even
// tell its free space is noticed.
func (h *Home) watchDevice(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	down := h.health.down
	for {
		//house:select each is acted on in its own round
		select {
		case <-ctx.Done():
			return
		case <-down:
			down = nil
			h.tellAll()
		case <-ticker.C:
			h.tick()
		}
	}
}

// tick looks for calls that take long.
func (h *Home) tick() {
	l, ok := h.fs.(*vfs.Limited)
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
		if before := h.health.warned[key]; before > 0 && c.Ticks > before && (c.Ticks < stalledTicks || before >= stalledTicks) {
			continue // it was told
		}
		h.logger.Warn("the device is slow: a call does not come back", "dir", h.path, "call", c.Kind.String(), "file", c.Name,
			"age", time.Duration(c.Ticks-1)*watchEvery, "waiting", l.Waiting())
	}
	h.health.warned = still
	h.health.oldest.Store(oldest)
	if stalled := oldest >= stalledTicks-1; stalled != h.health.stalled.Swap(stalled) && !stalled {
		h.logger.Info("the device answers again", "dir", h.path)
	}
}

// tellAll ends every open log, and tells who waits for its flush.
func (h *Home) tellAll() {
	for _, l := range h.openLogs() {
		err := l.fail(h.Failed())
		if l.onFlushed != nil {
			l.onFlushed(l.Flushed(), err)
		}
	}
}
