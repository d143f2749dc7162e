package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// percentiles gives p50 and p99 of some durations in microseconds.
func percentiles(all []time.Duration) []float64 {
	slices.Sort(all)
	at := func(q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))]) / 1e3
	}
	return []float64{at(0.50), at(0.99)}
}

// pingPong sends one request after the other's answer for a while and gives the
// p50 and p99 of the round trips.
func pingPong(ctx context.Context, to target, frame []byte, d time.Duration) ([]float64, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	l := &lane{c: c, window: 1, frame: frame}
	if err := l.pingPong(50); err != nil {
		return nil, err
	}
	var took []time.Duration
	for begin := time.Now(); time.Since(begin) < d && ctx.Err() == nil; {
		at := time.Now()
		if err := l.pingPong(1); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at))
	}
	return percentiles(took), ctx.Err()
}

// endToEnd produces at a fixed rate, whatever the answers do, and measures for
// each record the time from its sending until a consumer that waits has it.
func endToEnd(ctx context.Context, to target, topic string, w pace) ([]float64, error) {
	producer, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	consumer, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, err
	}
	l := &lane{c: producer, window: 1, frame: produceFrame(topic, 0, w.acks, b)}
	if err := l.send(); err != nil {
		return nil, err
	}
	first, err := l.base()
	if err != nil {
		return nil, err
	}
	e := &e2e{lane: l, consumer: consumer, topic: topic, next: first + 1, first: first + 1,
		sent: make([]atomic.Int64, int(w.rate*w.d.Seconds())), epoch: time.Now()}
	return e.run(w)
}

// pace is the rate of an open loop: it does not slow down when answers do.
type pace struct {
	acks int16
	rate float64 // records a second
	d    time.Duration
}

// base reads the offset that a Produce was given.
func (l *lane) base() (int64, error) {
	body, err := l.c.answer()
	if err != nil {
		return 0, err
	}
	code, rest, err := answerError(body, false)
	if err != nil || code != 0 || len(rest) < 8 {
		return 0, fmt.Errorf("produce: error code %d: %w", code, err)
	}
	return int64(binary.BigEndian.Uint64(rest)), nil
}

// e2e is one run from a producer to a parked consumer.
type e2e struct {
	lane        *lane
	consumer    *conn
	topic       string
	first, next int64 // offsets: the first that counts, the next to fetch
	epoch       time.Time
	sent        []atomic.Int64 // by record, ns since epoch
	took        []time.Duration
}

func (e *e2e) run(w pace) ([]float64, error) {
	interval := time.Duration(1e9 / w.rate)
	limit := time.Now().Add(time.Duration(len(e.sent))*interval + 10*time.Second)
	e.consumer.SetDeadline(limit)
	e.lane.c.SetDeadline(limit)

	var all sync.WaitGroup
	var sendErr, answerErr error
	all.Go(func() {
		due := time.Now().Add(20 * time.Millisecond) // the consumer is waiting by then
		for i := range e.sent {
			time.Sleep(time.Until(due))
			due = due.Add(interval)
			e.sent[i].Store(int64(time.Since(e.epoch)))
			if sendErr = e.lane.send(); sendErr != nil {
				return
			}
		}
	})
	all.Go(func() {
		for range e.sent {
			if answerErr = e.lane.receive(); answerErr != nil {
				return
			}
		}
	})
	err := e.consume()
	if err != nil {
		e.lane.c.Close()
	}
	all.Wait()
	for _, err := range []error{err, sendErr, answerErr} {
		if err != nil {
			return nil, err
		}
	}
	return percentiles(e.took), nil
}

func (e *e2e) consume() error {
	end := e.first + int64(len(e.sent))
	frame, at := fetchAsk{topic: e.topic, offset: e.next, maxBytes: 1 << 20, minBytes: 1, maxWait: 500}.frame()
	for e.next < end {
		binary.BigEndian.PutUint64(frame[at:], uint64(e.next))
		body, err := e.consumer.exchange(frame)
		if err != nil {
			return err
		}
		now := time.Since(e.epoch)
		records, err := fetchedRecords(body)
		if err != nil {
			return err
		}
		for len(records) >= batchHeader {
			base := int64(binary.BigEndian.Uint64(records))
			size := 12 + int(binary.BigEndian.Uint32(records[8:]))
			if size > len(records) {
				break // the end of a fetch may cut a batch
			}
			if base >= e.next && base < end {
				e.took = append(e.took, now-time.Duration(e.sent[base-e.first].Load()))
				e.next = base + 1
			}
			records = records[size:]
		}
	}
	return nil
}
