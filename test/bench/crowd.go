package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// crowd is a data directory of a broker that has many partitions, each with one
// segment that holds one record.
type crowd struct {
	dir        string
	partitions int
	written    float64 // MB of resident memory after all were made and written
	made       time.Duration
	ended      time.Duration // how long the clean end took
}

// perTopic is how many partitions a topic of a crowd has.
const perTopic = 1000

func crowdTopic(i int) string { return fmt.Sprintf("crowd-%03d", i) }

func crowdRows() []*row {
	of := func(n int, memory, start float64) []*row {
		l := load{conns: 1, window: 1, partitions: int32(n), acks: -1, batch: batchSpec{size: oneRecord}}
		what := fmt.Sprintf("%d,000 partitions of one segment", n/1000)
		return []*row{
			{id: fmt.Sprintf("P12-%dk", n/1000), work: "resident memory, " + what, load: l, own: crowdMemory,
				metrics: []metric{{"written", "MB", []limit{atMost(memory, "")}}, {"started", "MB", []limit{atMost(memory, "")}}}},
			{id: fmt.Sprintf("P13-%dk", n/1000), work: "clean start to first record, " + what, load: l, own: crowdStart,
				metrics: []metric{{"median", "s", []limit{atMost(start, "")}}}},
			{id: fmt.Sprintf("P12L-%dk", n/1000), work: "produce with acks=all, one after the other, among " + what, load: l, own: crowdLatency,
				metrics: []metric{{"p50 first", "us", nil}, {"p99 first", "us", nil}, {"p50 again", "us", nil}, {"p99 again", "us", nil}}},
		}
	}
	return append(of(10_000, 110, 0.7), of(100_000, 800, 5)...)
}

// crowd makes the directory of a row, once in a run.
func (s *session) crowd(ctx context.Context, n int) (*crowd, error) {
	if c := s.crowds[n]; c != nil {
		return c, nil
	}
	dir, err := os.MkdirTemp(s.dir, "crowd-")
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	m, err := serve(ctx, s.binary, dir)
	if err != nil {
		return nil, err
	}
	c := &crowd{dir: dir, partitions: n}
	err = c.fill(ctx, m.target)
	if err == nil {
		c.made = time.Since(begin)
		c.written, err = settled(ctx, m.target)
	}
	begin = time.Now()
	err = errors.Join(err, m.end(2*time.Minute))
	c.ended = time.Since(begin)
	if err != nil {
		return nil, fmt.Errorf("%d partitions: %w; the broker's log:\n%s", n, err, m.log())
	}
	s.crowds[n] = c
	return c, nil
}

// settled is the resident memory in MB once what was under way is over.
func settled(ctx context.Context, t target) (float64, error) {
	if err := pause(ctx, 3*time.Second); err != nil {
		return 0, err
	}
	now, _, err := t.memory()
	return float64(now) / 1e6, err
}

// fill makes the topics and writes a record into each partition.
func (c *crowd) fill(ctx context.Context, to target) error {
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return err
	}
	for i := range c.partitions / perTopic {
		spec := topicSpec{name: crowdTopic(i), partitions: perTopic, configs: topicConfigs(nil)}
		if err := createTopic(ctx, to.addr, spec); err != nil {
			return err
		}
		if err := writeEach(ctx, to, spec, b); err != nil {
			return fmt.Errorf("%s: %w", spec.name, err)
		}
	}
	return nil
}

// writeEach writes a batch into every partition of a topic, one request after
// the other.
func writeEach(ctx context.Context, to target, spec topicSpec, b batch) error {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	const atOnce = 250
	for from := int32(0); from < spec.partitions; from += atOnce {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 60_000
		t := kmsg.NewProduceRequestTopic()
		t.Topic = spec.name
		for i := from; i < min(from+atOnce, spec.partitions); i++ {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition, p.Records = i, b.bytes
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
		resp, err := c.call(req, produceVersion)
		if err != nil {
			return err
		}
		for _, t := range resp.(*kmsg.ProduceResponse).Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return &refusal{fmt.Sprintf("produce to %s-%d", spec.name, p.Partition), p.ErrorCode, ""}
				}
			}
		}
	}
	return nil
}

// start starts a broker on the crowd and gives the time from before its start
// until a record in one of its partitions is acknowledged with acks=all.
func (c *crowd) start(ctx context.Context, binary string) (*myelin, time.Duration, error) {
	addr, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, 0, err
	}
	frame := produceFrame(crowdTopic(rand.IntN(c.partitions/perTopic)), rand.Int32N(perTopic), -1, b)
	begin := time.Now()
	m, err := spawn(binary, c.dir, "--listen", addr)
	if err != nil {
		return nil, 0, err
	}
	m.addr = addr
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err = produceUntil(ctx, addr, frame)
	took := time.Since(begin)
	if err != nil {
		err = fmt.Errorf("first record: %w; the broker's log:\n%s", err, m.log())
		return nil, 0, errors.Join(err, m.end(time.Minute))
	}
	return m, took, nil
}

// produceUntil sends a request until it is acknowledged.
func produceUntil(ctx context.Context, addr string, frame []byte) error {
	c, err := dialUntil(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.produceUntil(ctx, frame)
}

func crowdMemory(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	c, err := s.crowd(ctx, int(of.load.partitions))
	if err != nil {
		return nil, err
	}
	m, _, err := c.start(ctx, s.binary)
	if err != nil {
		return nil, err
	}
	started, err := settled(ctx, m.target)
	r.add("myelin", []float64{c.written, started})
	r.note = fmt.Sprintf("(made and written in %.1f s, ended in %.1f s)", c.made.Seconds(), c.ended.Seconds())
	return r, errors.Join(err, m.end(2*time.Minute))
}

func crowdStart(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	c, err := s.crowd(ctx, int(of.load.partitions))
	if err != nil {
		return nil, err
	}
	for range s.times {
		m, took, err := c.start(ctx, s.binary)
		if err != nil {
			return nil, err
		}
		r.add("myelin", []float64{took.Seconds()})
		if err := m.end(2 * time.Minute); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// touched is how many partitions of a crowd the latency rows write to.
const touched = 2000

// crowdLatency is how long a record takes with acks=all among so many partitions,
// one after the other: each to a partition that nobody has written to since the
// start, which is opened for it, and then to the same ones again. What it is held
// against is one partition alone on a broker of its own.
func crowdLatency(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	n := int(of.load.partitions)
	c, err := s.crowd(ctx, n)
	if err != nil {
		return nil, err
	}
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, err
	}
	frames := make([][]byte, touched)
	for i, p := range rand.Perm(n)[:touched] {
		frames[i] = produceFrame(crowdTopic(p/perTopic), int32(p%perTopic), -1, b)
	}
	m, _, err := c.start(ctx, s.binary)
	if err != nil {
		return nil, err
	}
	if _, err = settled(ctx, m.target); err != nil {
		return nil, errors.Join(err, m.end(2*time.Minute))
	}
	var own []float64
	for range 2 {
		took, lerr := oneByOne(ctx, m.target, frames)
		err, own = errors.Join(err, lerr), append(own, took...)
	}
	if err = errors.Join(err, m.end(2*time.Minute)); err != nil {
		return nil, err
	}
	r.add("myelin", own)
	err = s.alone(ctx, b, func(took []float64) { r.add("plain", append(took, took...)) })
	return r, err
}

// alone measures a topic of one partition on a broker that has nothing else.
func (s *session) alone(ctx context.Context, b batch, add func([]float64)) error {
	dir, err := os.MkdirTemp(s.dir, "alone-")
	if err != nil {
		return err
	}
	return s.with(ctx, dir, nil, func(to target) error {
		if err := createTopic(ctx, to.addr, topicSpec{crowdTopic(0), 1, topicConfigs(nil)}); err != nil {
			return err
		}
		frames := make([][]byte, touched)
		for i := range frames {
			frames[i] = produceFrame(crowdTopic(0), 0, -1, b)
		}
		took, err := oneByOne(ctx, to, frames)
		add(took)
		return err
	})
}

// oneByOne sends requests one after the other's answer and gives the p50 and p99
// in microseconds.
func oneByOne(ctx context.Context, to target, frames [][]byte) ([]float64, error) {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	took := make([]time.Duration, 0, len(frames))
	for _, frame := range frames {
		at := time.Now()
		if err := c.produceUntil(ctx, frame); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at))
	}
	return percentiles(took), nil
}
