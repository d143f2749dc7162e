package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// coldFloor is the floor of S4: the p99 of a sink that writes, and of one that
// syncs too, beside four who just read the files at the rate of the consumers.
func (s *session) coldFloor(ctx context.Context, dir string, frame []byte) (p99s []float64, err error) {
	if err := coolDown(dir); err != nil {
		return nil, err
	}
	cold, err := startReaders(ctx, "files", dir)
	if err != nil {
		return nil, err
	}
	for _, kind := range []string{"produce", "sync"} {
		to, stop, serr := startSink(ctx, kind, s.dir)
		if serr != nil {
			err = errors.Join(err, serr)
			break
		}
		took, perr := paced(ctx, to, frame, 1000, s.span(6*time.Second))
		stop()
		if err = errors.Join(err, perr); err != nil {
			break
		}
		p99s = append(p99s, took[1])
	}
	_, cerr := cold.stop()
	return p99s, errors.Join(err, cerr)
}

// readFiles is the process of plain readers: it ends when its input does.
func readFiles(dir string) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	names, err := largeSegments(dir)
	if err != nil {
		return err
	}
	begin := time.Now()
	var bytes atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		all.Go(func() { errs[i] = readFile(ctx, names[i%len(names)], &bytes) })
	}
	all.Wait()
	fmt.Println(float64(bytes.Load()) / 1e6 / time.Since(begin).Seconds())
	return errors.Join(errs...)
}

// largeSegments are the files of the deep log that take a reader some seconds.
func largeSegments(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".log") || !strings.Contains(name, deepTopic) {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > 100e6 {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s: no large segments", dir)
	}
	return names, err
}

// readFile reads a file in order at coldRate, and again.
func readFile(ctx context.Context, name string, moved *atomic.Int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	begin, mine, at := time.Now(), int64(0), int64(0)
	for ctx.Err() == nil {
		pause(ctx, time.Until(begin.Add(time.Duration(float64(mine)/coldRate*1e9)))) //nolint:errcheck // the loop's condition tells
		n, err := f.ReadAt(buf, at)
		if errors.Is(err, io.EOF) {
			at = 0
			continue
		}
		if err != nil {
			return err
		}
		at, mine = at+int64(n), mine+int64(n)
		moved.Add(int64(n))
	}
	return nil
}
