package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// session is one run of the program over the chosen rows.
type session struct {
	binary  string
	dir     string
	quick   bool
	times   int // measurements per row and side
	tag     string
	cache   *warmCache
	own     *myelin
	peer    *target // nil when there is none
	log     func(format string, args ...any)
	crowds  map[int]*crowd // by partitions
	deepDir string         // of the deep log, once it is made

	transacted map[string]bool // by target: it has run transactions
}

// result is what a row's measurements came to: samples[side][metric][run].
type result struct {
	row     *row
	samples map[string][][]float64 // "myelin", "kafka", "floor", "plain"
	note    string                 // why it is not measured, or not all of it
}

func newResult(r *row) *result { return &result{row: r, samples: map[string][][]float64{}} }

func (r *result) add(side string, values []float64) {
	if r.samples[side] == nil {
		r.samples[side] = make([][]float64, len(r.row.metrics))
	}
	for i, v := range values {
		r.samples[side][i] = append(r.samples[side][i], v)
	}
}

// scaled makes a load shorter in a quick run.
func (s *session) scaled(l load) load {
	if s.quick {
		l.bytes /= 4
	}
	return l
}

// span makes a time shorter in a quick run.
func (s *session) span(d time.Duration) time.Duration {
	if s.quick {
		return d / 3
	}
	return d
}

func (s *session) targets() []target {
	out := []target{s.own.target}
	if s.peer != nil {
		out = append(out, *s.peer)
	}
	return out
}

// turn gives the order of the two sides in measurement i: A B, B A, A B, ...
// so that a machine that grows slower harms both.
func (s *session) turn(i int) []target {
	t := s.targets()
	if i%2 == 1 && len(t) == 2 {
		t[0], t[1] = t[1], t[0]
	}
	return t
}

// run measures one row on topics of its own, which it deletes afterwards.
func (s *session) run(ctx context.Context, r *row) *result {
	begin := time.Now()
	if err := s.cache.fill(ctx); err != nil {
		return failed(r, err)
	}
	var out *result
	var err error
	switch {
	case r.own != nil:
		out, err = r.own(ctx, s, r)
	case r.latency:
		out, err = s.onTopics(ctx, r, s.measureQuietly)
	default:
		out, err = s.onTopics(ctx, r, s.measure)
	}
	if err != nil {
		return failed(r, err)
	}
	s.log("%-8s %s: %.0f s %s", r.id, r.work, time.Since(begin).Seconds(), out.note)
	return out
}

func failed(r *row, err error) *result {
	out := newResult(r)
	out.note = "failed: " + err.Error()
	return out
}

// onTopics makes the row's topic on each side, lets do work with it, and
// deletes it.
func (s *session) onTopics(ctx context.Context, r *row, do func(context.Context, *row, string) (*result, error)) (*result, error) {
	name := fmt.Sprintf("bench-%s-%s-%04x", strings.ToLower(r.id), s.tag, rand.IntN(1<<16))
	for _, to := range s.targets() {
		configs := topicConfigs(r.load.configs)
		if to.name == "kafka" {
			configs = append(configs, r.peerConfigs...)
		}
		spec := topicSpec{name: name, partitions: r.load.partitions, configs: configs}
		if err := createTopic(ctx, to.addr, spec); err != nil {
			return nil, fmt.Errorf("%s: %w", to.name, err)
		}
		if err := r.load.prepare(ctx, to, name); err != nil {
			return nil, fmt.Errorf("%s: filling %s: %w", to.name, name, err)
		}
	}
	if r.peerState && s.peer != nil {
		if err := syncState(ctx, *s.peer, true); err != nil {
			return nil, fmt.Errorf("kafka: %w", err)
		}
	}
	out, err := do(ctx, r, name)
	if r.peerState && s.peer != nil {
		err = errors.Join(err, syncState(context.WithoutCancel(ctx), *s.peer, false))
	}
	for _, to := range s.targets() {
		err = errors.Join(err, deleteTopic(context.WithoutCancel(ctx), to.addr, name))
	}
	return out, err
}

// measure takes CPU rows: a round that does not count, then rounds that
// alternate.
func (s *session) measure(ctx context.Context, r *row, topic string) (*result, error) {
	out := newResult(r)
	for i := -1; i < s.times; i++ {
		for _, to := range s.turn(i + 1) {
			got, err := r.measure(ctx, s, to, topic)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", to.name, err)
			}
			if i >= 0 {
				out.add(to.name, got)
			}
		}
		if i < 0 {
			continue
		}
		if r.plain != nil {
			got, err := r.plain(ctx, s, topic)
			if err != nil {
				return nil, fmt.Errorf("plain: %w", err)
			}
			out.add("plain", got)
		}
		if r.floor != nil {
			got, err := r.floor(ctx, s)
			if err != nil {
				return nil, fmt.Errorf("floor: %w", err)
			}
			out.add("floor", got)
		}
	}
	return out, nil
}

// A latency counts only when the machine was quiet around it: the floor probed
// before and after differs by no more, and the host took no more time away.
const (
	maxDrift = 0.30
	maxSteal = 0.10
	maxTries = 10
)

// measureQuietly takes latency rows.
func (s *session) measureQuietly(ctx context.Context, r *row, topic string) (*result, error) {
	out := newResult(r)
	valid, try, lastWhy := 0, 0, ""
	for ; try < maxTries && valid < s.times; try++ {
		got := newResult(r)
		why, err := s.quietly(ctx, r.probe, func() error {
			for _, to := range s.turn(try) {
				values, err := r.measure(ctx, s, to, topic)
				if err != nil {
					return fmt.Errorf("%s: %w", to.name, err)
				}
				got.add(to.name, values)
			}
			values, err := r.floor(ctx, s)
			got.add("floor", values)
			return err
		})
		if err != nil {
			return nil, err
		}
		if why != "" {
			lastWhy = why
			continue
		}
		valid++
		for side, metrics := range got.samples {
			values := make([]float64, len(metrics))
			for i := range metrics {
				values[i] = metrics[i][0]
			}
			out.add(side, values)
		}
	}
	if valid < try {
		out.note = fmt.Sprintf("(%d of %d tries counted; the last that did not: %s)", valid, try, lastWhy)
	}
	return out, nil
}

// quietly runs do between two probes and says why what it measured does not
// count, or "".
func (s *session) quietly(ctx context.Context, probe string, do func() error) (why string, err error) {
	stolen := readMachineTime()
	before, err := s.probe(ctx, probe)
	if err != nil {
		return "", err
	}
	if err := do(); err != nil {
		return "", err
	}
	after, err := s.probe(ctx, probe)
	if err != nil {
		return "", err
	}
	if drift := max(before, after)/min(before, after) - 1; drift > maxDrift {
		return fmt.Sprintf("%s probe %.0f us before, %.0f us after", probe, before, after), nil
	}
	if steal := readMachineTime().stealSince(stolen); steal > maxSteal {
		return fmt.Sprintf("steal %.0f %%", steal*100), nil
	}
	return "", nil
}

// probe gives the p50 of a floor in microseconds.
func (s *session) probe(ctx context.Context, kind string) (float64, error) {
	if kind == "sync" {
		got, err := syncFloor(s.dir, 300)
		if err != nil {
			return 0, err
		}
		return got[0], nil
	}
	got, err := s.onSink(ctx, "produce", func(to target) ([]float64, error) {
		b, err := batchSpec{size: oneRecord}.build()
		if err != nil {
			return nil, err
		}
		return pingPong(ctx, to, produceFrame("floor", 0, 1, b), 300*time.Millisecond)
	})
	if err != nil {
		return 0, err
	}
	return got[0], nil
}

func (s *session) onSink(ctx context.Context, kind string, do func(target) ([]float64, error)) ([]float64, error) {
	to, stop, err := startSink(ctx, kind, s.dir)
	if err != nil {
		return nil, err
	}
	defer stop()
	return do(to)
}

func (s *session) pingPong(ctx context.Context, to target, topic string, acks int16) ([]float64, error) {
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, err
	}
	return pingPong(ctx, to, produceFrame(topic, 0, acks, b), s.span(4*time.Second))
}

// warm loads each side before anything counts: a JVM compiles what is used
// often, and a broker opens files and grows its buffers once.
func (s *session) warm(ctx context.Context) error {
	for _, to := range s.targets() {
		d := 3 * time.Second
		if to.name == "kafka" {
			d = s.span(60 * time.Second)
		}
		s.log("warming %s for %.0f s", to.name, d.Seconds())
		if err := s.warmTarget(ctx, to, d); err != nil {
			return fmt.Errorf("%s: %w", to.name, err)
		}
	}
	return nil
}

// warmTarget writes to a topic that keeps little, and reads from one that keeps
// all: what is fetched must not have been deleted meanwhile.
func (s *session) warmTarget(ctx context.Context, to target, d time.Duration) error {
	written, read := "bench-warm-"+s.tag, "bench-warm-read-"+s.tag
	small := topicConfigs([]string{"retention.bytes", "134217728", "segment.bytes", "67108864"})
	if err := createTopic(ctx, to.addr, topicSpec{written, 8, small}); err != nil {
		return err
	}
	if err := createTopic(ctx, to.addr, topicSpec{read, 8, topicConfigs(nil)}); err != nil {
		return err
	}
	begin := time.Now()
	fetch := load{conns: 8, window: 1, partitions: 8, fetch: kib16, bytes: 50e6, batch: batchSpec{size: kib16, record: 1024}}
	if err := fetch.prepare(ctx, to, read); err != nil {
		return err
	}
	for time.Since(begin) < d {
		for _, l := range []load{produceLoad(oneRecord, 0, 20e6), produceLoad(kib16, 100, 50e6), produceLoad(mib, 1024, 50e6),
			packedLoad("lz4"), packedLoad("zstd")} {
			l.bytes = min(l.bytes, 50e6)
			if _, err := l.run(ctx, to, written); err != nil {
				return err
			}
		}
		if _, err := fetch.run(ctx, to, read); err != nil {
			return err
		}
	}
	return errors.Join(deleteTopic(ctx, to.addr, written), deleteTopic(ctx, to.addr, read))
}

// memoryRow is P12: a fresh broker, idle, and then under P1.
func memoryRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	for range s.times {
		m, err := startMyelin(ctx, s.binary, s.dir)
		if err != nil {
			return nil, err
		}
		got, err := s.memoryOf(ctx, m.target, r.row.load)
		if err = errors.Join(err, m.stop()); err != nil {
			return nil, err
		}
		r.add("myelin", got)
	}
	if s.peer != nil {
		now, peak, err := s.peer.memory()
		if err != nil {
			return nil, err
		}
		r.add("kafka", []float64{float64(now) / 1e6, float64(peak) / 1e6})
		r.note = "(kafka: as it is after this run)"
	}
	return r, nil
}

func (s *session) memoryOf(ctx context.Context, to target, l load) ([]float64, error) {
	if err := pause(ctx, 2*time.Second); err != nil { // what starts a process settles
		return nil, err
	}
	idle, _, err := to.memory()
	if err != nil {
		return nil, err
	}
	name := "bench-p12-" + s.tag
	if err := createTopic(ctx, to.addr, topicSpec{name, l.partitions, topicConfigs(nil)}); err != nil {
		return nil, err
	}
	if _, err := s.scaled(l).run(ctx, to, name); err != nil {
		return nil, err
	}
	_, peak, err := to.memory()
	return []float64{float64(idle) / 1e6, float64(peak) / 1e6}, err
}

// startRow is P13: 20 starts, each on an empty directory.
func startRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	n := 20
	if s.quick {
		n = 5
	}
	for range maxTries {
		got := newResult(r.row)
		why, err := s.quietly(ctx, r.row.probe, func() error {
			for range n {
				took, err := firstAck(ctx, s.binary, s.dir)
				if err != nil {
					return err
				}
				got.add("myelin", []float64{took.Seconds() * 1e3})
				begin := time.Now()
				if _, err := s.onSink(ctx, "sync", func(to target) ([]float64, error) {
					return s.oneExchange(ctx, to, begin)
				}); err != nil {
					return err
				}
				got.add("floor", []float64{time.Since(begin).Seconds() * 1e3})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if why == "" {
			return got, nil
		}
		r.note = "(no try counted; the last not: " + why + ")"
	}
	return r, nil
}

// oneExchange is the floor of a start: one frame through a sink.
func (s *session) oneExchange(ctx context.Context, to target, begin time.Time) ([]float64, error) {
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, to.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_, err = c.exchange(produceFrame("floor", 0, -1, b))
	return []float64{time.Since(begin).Seconds() * 1e3}, err
}

// workDir is where brokers of this run write: below the given folder, or the
// machine's temporary one.
func workDir(parent string) (string, error) { return os.MkdirTemp(parent, "myelin-bench-") }
