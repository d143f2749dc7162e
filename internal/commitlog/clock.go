package commitlog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/record"
)

// jumpMax is by how much the wall clock may part from the monotonic one between
// two looks.
const jumpMax = 5 * time.Minute

// defaultSettle is how long a clock that has jumped is doubted: a day, in which
// somebody can see the alarm before anything is deleted.
const defaultSettle = 24 * time.Hour

// clock keeps what deletes by age from believing a wall clock that jumps: by a
// broken battery, a wrong hand, a machine that slept. The rule:
//
//	looked at every second, it must have moved as the monotonic clock did, give
//	or take five minutes. If it did not, it is doubted: what is deleted goes on
//	by the earlier of the wall clock and the time it would be without the jump,
//	so that the jump deletes nothing more. It is believed again once it is back
//	where it would be, or once it has moved steadily for a day.
//
// The zero value is ready; the first look is believed.
type clock struct {
	logger  *slog.Logger
	elapsed func() time.Duration // monotonic; nil: what the readings carry
	settle  time.Duration        // 0 is a day

	mu struct {
		sync.Mutex        // memory only
		last       moment // as last believed
		since      moment // when the doubt began
		doubted    bool
	}
}

// moment is a wall time and a monotonic one.
type moment struct {
	wall time.Time
	mono time.Duration
}

func (c *clock) at(now time.Time) moment {
	if c.elapsed != nil {
		return moment{now, c.elapsed()}
	}
	return moment{wall: now}
}

// ran is the monotonic time from a to b.
func (c *clock) ran(a, b moment) time.Duration {
	if c.elapsed != nil {
		return b.mono - a.mono
	}
	return b.wall.Sub(a.wall) // by their monotonic readings, if both have one
}

// parted is by how much the wall clock moved more than the monotonic one did.
func (c *clock) parted(a, b moment) time.Duration {
	return b.wall.Round(0).Sub(a.wall.Round(0)) - c.ran(a, b)
}

// Safe looks at the clock, which says now, and gives the time that deleting by age
// may go by: see log.retention.clock.settle.ms.
func (c *clock) Safe(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.at(now)
	if c.mu.last.wall.IsZero() {
		c.mu.last = m
		return now
	}
	jump := c.parted(c.mu.last, m)
	switch {
	case jump.Abs() <= jumpMax:
		c.tell(slog.LevelInfo, c.mu.doubted, "the wall clock is where it should be again", jump)
		c.mu.last, c.mu.doubted = m, false
		return now
	case !c.mu.doubted || c.parted(c.mu.since, m).Abs() > jumpMax:
		c.tell(slog.LevelError, true, "the wall clock jumped: nothing more is deleted for that", jump)
		c.mu.since, c.mu.doubted = m, true
	case c.ran(c.mu.since, m) >= c.settling():
		c.tell(slog.LevelWarn, true, "the wall clock has been steady since it jumped, and is believed", jump)
		c.mu.last, c.mu.doubted = m, false
		return now
	}
	if jump > 0 {
		return now.Add(-jump)
	}
	return now
}

func (c *clock) settling() time.Duration {
	if c.settle > 0 {
		return c.settle
	}
	return defaultSettle
}

func (c *clock) tell(level slog.Level, when bool, what string, jump time.Duration) {
	if when && c.logger != nil {
		c.logger.Log(context.Background(), level, what, "jump", jump.Round(time.Second))
	}
}

// Doubted tells whether the wall clock has jumped and is not believed yet.
func (c *clock) Doubted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.doubted
}

// LastAppendTime is the broker's own time in the log's last batch, in ms, below
// which no later one may be; -1 if the last batch has none or cannot be read.
func LastAppendTime(l *Log) int64 {
	end := l.End()
	if end <= l.Start() {
		return -1
	}
	r, err := l.Read(end-1, 1, end, true)
	if err != nil {
		return -1
	}
	defer r.Release()
	head := make([]byte, record.HeaderSize)
	if r.Len() < record.HeaderSize {
		return -1
	}
	if _, err := r.ReadAt(head, 0); err != nil {
		return -1
	}
	h, err := record.ParseHeader(head)
	if err != nil || !h.Attributes.Has(record.AppendTime) && !h.Attributes.Has(record.Control) {
		return -1
	}
	return h.MaxTimestamp
}
