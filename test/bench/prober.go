package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// prober writes one record after the other to a partition with acks=all, as a
// producer with one request in flight does, and notes when each was
// acknowledged. It follows the leader.
type prober struct {
	addrs     func() []string
	topic     string
	partition int32

	mu     sync.Mutex
	acked  []time.Time
	errors []string // of requests that were not acknowledged, for a report
}

const (
	probeEvery   = 2 * time.Millisecond // between an answer and the next record
	probeTimeout = time.Second          // after which the connection is given up
	probeBackoff = 5 * time.Millisecond // before another try
)

// run writes until ctx ends.
func (p *prober) run(ctx context.Context) error {
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return err
	}
	frame := produceFrame(p.topic, p.partition, -1, b)
	var c *conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for ctx.Err() == nil {
		if c == nil {
			if c, err = p.leader(ctx); err != nil {
				p.failed(err)
				_ = pause(ctx, probeBackoff)
				continue
			}
		}
		if err := p.once(c, frame); err != nil {
			p.failed(err)
			c.Close()
			c = nil
			_ = pause(ctx, probeBackoff)
			continue
		}
		p.mu.Lock()
		p.acked = append(p.acked, time.Now())
		p.mu.Unlock()
		_ = pause(ctx, probeEvery)
	}
	return nil
}

func (p *prober) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := err.Error(); !slices.Contains(p.errors, text) {
		p.errors = append(p.errors, text)
	}
}

// leader connects to who leads the partition.
func (p *prober) leader(ctx context.Context) (*conn, error) {
	all, err := leaders(ctx, p.addrs(), p.topic)
	if err != nil {
		return nil, err
	}
	addr, ok := all[p.partition]
	if !ok {
		return nil, errors.New("no leader")
	}
	return dial(ctx, addr)
}

func (p *prober) once(c *conn, frame []byte) error {
	if err := c.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return err
	}
	body, err := c.exchange(frame)
	if err != nil {
		return err
	}
	code, _, err := answerError(body, false)
	if err == nil && code != 0 {
		err = fmt.Errorf("error code %d", code)
	}
	return err
}

// gap is the longest time without an acknowledgement that touches from..to.
func (p *prober) gap(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest, last := time.Duration(0), time.Time{}
	for _, at := range p.acked {
		if !last.IsZero() && at.After(from) && last.Before(to) {
			longest = max(longest, at.Sub(last))
		}
		last = at
	}
	if last.Before(to) {
		longest = max(longest, to.Sub(last))
	}
	return longest
}

// since waits for an acknowledgement after a moment.
func (p *prober) since(ctx context.Context, at time.Time) error {
	for {
		p.mu.Lock()
		n := len(p.acked)
		done := n > 0 && p.acked[n-1].After(at)
		p.mu.Unlock()
		if done {
			return nil
		}
		if err := pause(ctx, probeEvery); err != nil {
			return err
		}
	}
}

// probers is one for each of three partitions.
type probers struct {
	all  []*prober
	stop func() error
}

func (t *trio) probe(ctx context.Context, topic string) *probers {
	ctx, cancel := context.WithCancel(ctx)
	out := &probers{}
	var group sync.WaitGroup
	errs := make([]error, len(t.nodes))
	for i := range t.nodes {
		p := &prober{addrs: t.addrs, topic: topic, partition: int32(i)}
		out.all = append(out.all, p)
		group.Go(func() { errs[i] = p.run(ctx) })
	}
	out.stop = func() error { cancel(); group.Wait(); return errors.Join(errs...) }
	return out
}

// settled waits until each has been acknowledged anew.
func (p *probers) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now := time.Now()
	for _, one := range p.all {
		if err := one.since(ctx, now); err != nil {
			return fmt.Errorf("partition %d is not served: %w (%v)", one.partition, err, one.errors)
		}
	}
	return nil
}
