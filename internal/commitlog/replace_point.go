package commitlog

import (
	"errors"
	"log/slog"
	"path"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// cleanPointFile is Kafka's table of how far each compacted log of a directory
// was cleaned. A lost entry costs a cleaning of the whole log; one that is too
// high would leave records uncleaned, so truncation lowers it first.
const cleanPointFile = "cleaner-offset-checkpoint"

// cleanPoints is that table, read at first use.
type cleanPoints struct {
	fs     vfs.FS
	name   string
	logger *slog.Logger
	turn   slot // of who reads or writes the file; held over I/O

	mu struct {
		sync.Mutex // memory only
		table      offsetTable
	}
}

func newCleanPoints(fs vfs.FS, dir string, logger *slog.Logger) *cleanPoints {
	return &cleanPoints{fs: fs, name: path.Join(dir, cleanPointFile), logger: logger}
}

// load reads the file unless that was done. The caller has the turn.
func (c *cleanPoints) load() error {
	c.mu.Lock()
	in := c.mu.table != nil
	c.mu.Unlock()
	if in {
		return nil
	}
	t, err := readOffsetTable(c.fs, c.name)
	if errors.Is(err, errMalformed) {
		c.logger.Warn("clean points are unreadable, compacted logs are cleaned whole", "error", err)
		t, err = offsetTable{}, nil
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.mu.table = t
	c.mu.Unlock()
	return nil
}

func (c *cleanPoints) get(tp kafka.TopicPartition) (offset int64, ok bool, err error) {
	c.turn.lock()
	defer c.turn.unlock()
	if err := c.load(); err != nil {
		return 0, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	offset, ok = c.mu.table[tp]
	return offset, ok, nil
}

// change gives a log another clean point, -1 takes it out, if permit agrees. It
// is durable on return.
func (c *cleanPoints) change(tp kafka.TopicPartition, offset int64, permit func(have int64) bool) error {
	c.turn.lock()
	defer c.turn.unlock()
	if err := c.load(); err != nil {
		return err
	}
	c.mu.Lock()
	have, ok := c.mu.table[tp]
	if !ok {
		have = -1
	}
	if have == offset || !permit(have) {
		c.mu.Unlock()
		return nil
	}
	if c.mu.table[tp] = offset; offset < 0 {
		delete(c.mu.table, tp)
	}
	data := c.mu.table.encode()
	c.mu.Unlock()
	return vfs.WriteAtomic(c.fs, c.name, data)
}

// cut lowers a log's clean point to where the log is going to end.
func (c *cleanPoints) cut(tp kafka.TopicPartition, end int64) error {
	return c.change(tp, end, func(have int64) bool { return have > end })
}

// forget takes out a log that is gone.
func (c *cleanPoints) forget(tp kafka.TopicPartition) error {
	return c.change(tp, -1, func(int64) bool { return true })
}

// CleanPoint is the offset up to which the log was cleaned, as checkpointed; -1
// if it never was.
func (l Rewriter) CleanPoint() (int64, error) {
	offset, ok, err := l.home.cleaned.get(l.tp)
	if !ok {
		offset = -1
	}
	return offset, storageError("log "+l.tp.String()+": clean point", err)
}

// SetCleanPoint notes up to where the log is clean; durable on return.
func (l Rewriter) SetCleanPoint(offset int64) error {
	return storageError("log "+l.tp.String()+": clean point",
		l.home.cleaned.change(l.tp, offset, func(int64) bool { return true }))
}
