package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// load is the work of a throughput row: what is sent, on how many connections,
// how many requests ahead of their answers.
type load struct {
	conns      int
	window     int
	partitions int32
	acks       int16
	batch      batchSpec
	fetch      int32    // bytes a Fetch asks for; 0 means that the row produces
	bytes      int64    // how much to move in one measurement
	configs    []string // of the topic
}

// worked is what a measurement has moved.
type worked struct {
	requests, bytes, records int64
	elapsed                  time.Duration
	cpu                      time.Duration // of the target's process, user and system
}

func (w worked) cpuPerGB() float64      { return w.cpu.Seconds() / (float64(w.bytes) / 1e9) }
func (w worked) cpuPerRequest() float64 { return w.cpu.Seconds() * 1e6 / float64(w.requests) }
func (w worked) cpuPerRecord() float64  { return w.cpu.Seconds() * 1e6 / float64(w.records) }
func (w worked) mbPerSecond() float64   { return float64(w.bytes) / 1e6 / w.elapsed.Seconds() }
func (w worked) perSecond() float64     { return float64(w.requests) / w.elapsed.Seconds() }

// lane is one connection of a load with its own frame.
type lane struct {
	c        *conn
	frame    []byte
	requests int
	window   int
	isFetch  bool
	answered int                     // bytes that an answer has at least
	advance  func([]byte)            // changes the frame before it is sent again; may be nil
	check    func(body []byte) error // of an answer that is neither Produce's nor Fetch's
}

// run sends the load to a topic of a target and measures the target's process.
// A tenth of the work goes before, uncounted, so that connections, buffers and
// files are open.
func (l load) run(ctx context.Context, to target, topic string) (worked, error) {
	b, err := l.batch.build()
	if err != nil {
		return worked{}, err
	}
	unit := int64(len(b.bytes))
	perRequest := int64(b.count)
	if l.fetch > 0 {
		perRequest *= int64(l.fetch) / unit
		unit = int64(l.fetch)
	}
	each := max(1, int(l.bytes/unit)/l.conns)
	lanes := make([]*lane, l.conns)
	for i := range lanes {
		if lanes[i], err = l.lane(ctx, to, topic, int32(i)%l.partitions); err != nil {
			return worked{}, err
		}
		defer lanes[i].c.Close()
	}
	w, err := drivePrepared(ctx, to, lanes, each, l.window)
	w.bytes, w.records = w.requests*unit, w.requests*perRequest
	return w, err
}

// drivePrepared lets every lane send each requests and measures the target's
// process, after a tenth of that which does not count.
func drivePrepared(ctx context.Context, to target, lanes []*lane, each, window int) (worked, error) {
	if err := drive(ctx, lanes, max(window, each/10)); err != nil {
		return worked{}, err
	}
	before, err := to.cpu()
	if err != nil {
		return worked{}, err
	}
	begin := time.Now()
	if err := drive(ctx, lanes, each); err != nil {
		return worked{}, err
	}
	elapsed := time.Since(begin)
	after, err := to.cpu()
	return worked{requests: int64(each) * int64(len(lanes)), elapsed: elapsed, cpu: after - before}, err
}

func (l load) lane(ctx context.Context, to target, topic string, partition int32) (*lane, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	b, err := l.batch.build()
	if err != nil {
		return nil, err
	}
	if l.fetch == 0 {
		return &lane{c: c, window: l.window, frame: produceFrame(topic, partition, l.acks, b)}, nil
	}
	frame, at := fetchAsk{topic: topic, partition: partition, maxBytes: l.fetch, minBytes: 1, maxWait: 500}.frame()
	step := uint64(b.count) * uint64(l.fetch) / uint64(len(b.bytes))
	end := step * uint64(l.bytesPerPartition()/int64(l.fetch))
	next := uint64(0)
	return &lane{c: c, window: l.window, frame: frame, isFetch: true, answered: int(l.fetch), advance: func(frame []byte) {
		binary.BigEndian.PutUint64(frame[at:], next)
		next = (next + step) % end
	}}, nil
}

// bytesPerPartition is how much a fetch row finds in each partition: enough to
// be more than one range, little enough to stay in the page cache.
func (l load) bytesPerPartition() int64 { return 64 << 20 }

// prepare writes what a fetch row reads.
func (l load) prepare(ctx context.Context, to target, topic string) error {
	if l.fetch == 0 {
		return nil
	}
	fill := l
	fill.fetch, fill.acks, fill.window, fill.conns = 0, 1, 2, int(l.partitions)
	lanes := make([]*lane, fill.conns)
	for i := range lanes {
		var err error
		if lanes[i], err = fill.lane(ctx, to, topic, int32(i)); err != nil {
			return err
		}
		defer lanes[i].c.Close()
	}
	return drive(ctx, lanes, int(l.bytesPerPartition()/int64(l.batch.size)))
}

// drive lets every lane send its frame n times and waits for all answers.
func drive(ctx context.Context, lanes []*lane, n int) error {
	stop := context.AfterFunc(ctx, func() {
		for _, l := range lanes {
			l.c.SetDeadline(time.Now())
		}
	})
	defer stop()
	errs := make([]error, len(lanes))
	var all sync.WaitGroup
	for i, l := range lanes {
		all.Go(func() { errs[i] = l.drive(n) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// drive sends n requests, at most window of them unanswered.
func (l *lane) drive(n int) error {
	if l.window == 1 {
		return l.pingPong(n)
	}
	ahead := make(chan struct{}, l.window)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for range n {
			ahead <- struct{}{}
			if err := l.send(); err != nil {
				failed <- err
				return
			}
		}
	}()
	var err error
	for i := 0; i < n && err == nil; i++ {
		if err = l.receive(); err == nil {
			<-ahead
		}
	}
	if err != nil {
		l.c.Close() // the sender may wait for room in the socket
		for done := false; !done; {
			select {
			case <-ahead:
			case _, more := <-failed:
				done = !more
			}
		}
		return err
	}
	return <-failed
}

func (l *lane) pingPong(n int) error {
	for range n {
		if err := l.send(); err != nil {
			return err
		}
		if err := l.receive(); err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) send() error {
	l.requests++
	binary.BigEndian.PutUint32(l.frame[corrAt:], uint32(l.requests))
	if l.advance != nil {
		l.advance(l.frame)
	}
	_, err := l.c.Write(l.frame)
	return err
}

func (l *lane) receive() error {
	body, err := l.c.answer()
	if err != nil {
		return err
	}
	if l.check != nil {
		return l.check(body)
	}
	code, _, err := answerError(body, l.isFetch)
	switch {
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("the broker answered with error code %d", code)
	case len(body) < l.answered:
		return fmt.Errorf("a fetch of %d bytes was answered with %d", l.answered, len(body))
	}
	return nil
}
