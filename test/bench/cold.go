package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// readers is a process of consumers of old data. They are in a process of their
// own, which gets what the processors have left: consumers that are elsewhere
// would not take them from the broker and from the one who measures.
type readers struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// coldRate is how fast each of the consumers reads, in bytes a second. Four that
// read as fast as they can take both processors of a small machine, and what is
// measured then is whose turn it is.
const coldRate = 50e6

// startReaders starts four readers of a kind: "consume" lets consumers of the
// broker at an address read the deep log from its beginning, each its own
// partition; "files" reads the segments below a folder without a broker.
func startReaders(ctx context.Context, kind, of string) (*readers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", self, "-sink", kind, "-dir", of)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &readers{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

// stop ends them and gives the rate that they came to, in MB/s.
func (r *readers) stop() (rate float64, err error) {
	r.in.Close()
	text, err := r.out.ReadString('\n')
	if err = errors.Join(err, r.cmd.Wait()); err != nil {
		return 0, fmt.Errorf("consumers: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(text), 64)
}

// consume is the process of the consumers: it ends when its input does.
func consume(addr string) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	begin := time.Now()
	var bytes atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { errs[i] = readFrom(ctx, target{addr: addr}, int32(i), &bytes) })
	}
	all.Wait()
	fmt.Println(float64(bytes.Load()) / 1e6 / time.Since(begin).Seconds())
	return errors.Join(errs...)
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
	next, mine, begin := int64(0), int64(0), time.Now()
	for ctx.Err() == nil {
		pause(ctx, time.Until(begin.Add(time.Duration(float64(mine)/coldRate*1e9)))) //nolint:errcheck // the loop's condition tells
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
		mine += int64(len(records))
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
