package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// coolDown makes the machine forget what it holds of the segment files below a
// folder.
func coolDown(folder string) error {
	return filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".log") {
			return err
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := fdatasync(f); err != nil {
			return err
		}
		return forget(f)
	})
}

// readings is what consumers of old data have got.
type readings struct {
	bytes int64
	took  time.Duration
	err   error
}

// readCold lets four consumers read the deep log from its beginning, each its
// own partition, until ctx ends.
func readCold(ctx context.Context, to target) readings {
	begin := time.Now()
	var bytes atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { errs[i] = readFrom(ctx, to, int32(i), &bytes) })
	}
	all.Wait()
	return readings{bytes.Load(), time.Since(begin), errors.Join(errs...)}
}

// readFrom reads a partition in order, a MiB at a time.
func readFrom(ctx context.Context, to target, partition int32, moved *atomic.Int64) error {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	frame, at := fetchAsk{topic: deepTopic, partition: partition, maxBytes: mib, minBytes: 1, maxWait: 500}.frame()
	next := int64(0)
	for ctx.Err() == nil {
		binary.BigEndian.PutUint64(frame[at:], uint64(next))
		body, err := c.exchange(frame)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		records, err := fetchedRecords(body)
		if err != nil {
			return err
		}
		if len(records) < batchHeader {
			next = 0 // it has seen all: again, though it is cold no more
			continue
		}
		moved.Add(int64(len(records)))
		for len(records) >= batchHeader {
			size := 12 + int(binary.BigEndian.Uint32(records[8:]))
			if size > len(records) {
				break
			}
			next = int64(binary.BigEndian.Uint64(records)) + int64(binary.BigEndian.Uint32(records[23:])) + 1
			records = records[size:]
		}
	}
	return nil
}

// paced sends a frame at a fixed rate, whatever the answers do, and gives the
// p50 and p99 of the time from sending it until its answer.
func paced(ctx context.Context, to target, frame []byte, rate int, d time.Duration) ([]float64, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	l := &lane{c: c, window: 1, frame: frame}
	if err := l.pingPong(50); err != nil {
		return nil, err
	}
	n := int(float64(rate) * d.Seconds())
	interval := time.Second / time.Duration(rate)
	c.SetDeadline(time.Now().Add(d + 10*time.Second))
	begin := time.Now()
	var all sync.WaitGroup
	var sendErr error
	sent := make([]atomic.Int64, n) // ns since begin
	all.Go(func() {
		for i := range n {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * interval)))
			sent[i].Store(int64(time.Since(begin)))
			if sendErr = l.send(); sendErr != nil {
				return
			}
		}
	})
	took := make([]time.Duration, 0, n)
	for i := range n {
		if err = l.receive(); err != nil {
			c.Close()
			break
		}
		took = append(took, time.Since(begin)-time.Duration(sent[i].Load()))
	}
	all.Wait()
	if err = errors.Join(err, sendErr, ctx.Err()); err != nil {
		return nil, err
	}
	return percentiles(took), nil
}
