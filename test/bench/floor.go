package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startSink starts this program again as a sink.
func startSink(ctx context.Context, kind, dir string) (target, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return target{}, nil, err
	}
	dir, err = os.MkdirTemp(dir, "sink-")
	if err != nil {
		return target{}, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-sink", kind, "-dir", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return target{}, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return target{}, nil, err
	}
	if err := cmd.Start(); err != nil {
		return target{}, nil, err
	}
	stop := func() {
		in.Close() // tells it to end
		cmd.Wait()
		os.RemoveAll(dir)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return target{}, nil, fmt.Errorf("sink %s did not start: %w", kind, err)
	}
	return target{name: "floor", addr: strings.TrimSpace(addr), pid: cmd.Process.Pid}, stop, nil
}

// syncFloor is the p50 and p99 of appending 4 KiB and fdatasync.
func syncFloor(dir string, n int) ([]float64, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	took := make([]time.Duration, 0, n)
	block := make([]byte, 4<<10)
	for i := range n {
		at := time.Now()
		if _, err := f.WriteAt(block, int64(i)*int64(len(block))); err != nil {
			return nil, err
		}
		if err := fdatasync(f); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at))
	}
	return percentiles(took), nil
}

// warmCache reads holes until hardly any memory of the machine is unused.
//
// Memory that no one has touched since the host took it back costs ten times as
// much to write to; a broker that has run for a while has none of it. Pages of
// a hole cost no disk, and are clean, so they make room at once.
type warmCache struct {
	path string
	off  bool // do nothing
	at   int64
}

// unusedAtMost is the free memory at which the machine counts as warm.
const unusedAtMost = 1 << 30

func (w *warmCache) fill(ctx context.Context) error {
	if w.off || memFree() <= unusedAtMost+unusedAtMost/4 {
		return nil
	}
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4<<20)
	for memFree() > unusedAtMost && ctx.Err() == nil {
		if err := f.Truncate(w.at + 64<<20); err != nil {
			return err
		}
		for range 16 {
			n, err := f.ReadAt(block, w.at)
			if err != nil {
				return err
			}
			w.at += int64(n)
		}
	}
	return ctx.Err()
}

func newWarmCache(dir string, off bool) *warmCache {
	return &warmCache{path: filepath.Join(dir, "holes"), off: off}
}
