package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rows of issue 6: three nodes of ours, each a process. What breaks is a node.

const (
	trioTopic = "trio"
	moveCount = 10_000 // partitions of P19
)

func clusterRows() []*row {
	quantiles := func(who string, p50, p99 float64) []metric {
		return []metric{{who + " p50", "s", []limit{atMost(p50, "")}}, {who + " p99", "s", []limit{atMost(p99, "")}}}
	}
	replicated := load{conns: 9, window: 5, partitions: 9, acks: -1, bytes: 1e9, batch: batchSpec{size: kib64, record: 1024}}
	return []*row{
		{id: "P5", work: "produce acks=all rf=3, 64 KiB, three nodes, ours with fsync", load: replicated, own: replicateRow,
			metrics: []metric{{"CPU", "CPU-s/GB", []limit{atMost(0.35, "kafka"), atMost(1.5, "floor")}}, {"rate", "MB/s", nil}}},
		{id: "P15", work: "kill -9 of a leader, of the controller: to the next ack", own: killsRow, load: load{partitions: 3, acks: -1},
			metrics: slices.Concat(quantiles("leader", 1.0, 2.5), quantiles("controller", 1.0, 2.0), quantiles("follower", 1.0, 2.5))},
		{id: "P17", work: "restart of a node in order: longest time without an ack", own: restartsRow, load: load{partitions: 3, acks: -1},
			metrics: []metric{{"p50", "ms", []limit{atMost(50, "")}}, {"longest", "ms", []limit{atMost(50, "")}}}},
		{id: "P18", work: "catch-up of a follower that is far behind", own: catchUpRow, load: load{conns: 3, window: 4, partitions: 3, acks: -1,
			bytes: 10e9, batch: batchSpec{size: mib, record: 1024}},
			metrics: []metric{{"rate", "MB/s", []limit{{of: "floor", factor: 0.7, atLeast: true}}}, {"p99 meanwhile", "us", []limit{atMost(2, "plain")}}}},
		{id: "P19", work: "10,000 partitions rf 3: all leaders of a node move", own: moveRow, load: load{partitions: moveCount},
			metrics: []metric{{"moved", "s", []limit{atMost(1, "")}}}},
	}
}

// onTrio runs do on three fresh nodes with a topic of n partitions.
func (s *session) onTrio(ctx context.Context, n int32, do func(*trio) error) error {
	t, err := startTrio(ctx, s.binary, s.dir)
	if err != nil {
		return err
	}
	if err = t.create(ctx, trioTopic, n, "min.insync.replicas", "2"); err == nil {
		err = do(t)
	}
	return errors.Join(err, t.stop())
}

// replicateRow is P5. The peer has a share in it where it is a cluster.
func replicateRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	err := s.onTrio(ctx, of.load.partitions, func(t *trio) error {
		own := target{name: "myelin", addr: t.nodes[0].addr, pid: t.nodes[0].pid, peers: []int{t.nodes[1].pid, t.nodes[2].pid}}
		sides := []target{own}
		if s.peer != nil && len(s.peer.peers) == 2 {
			if err := spreadTopic(ctx, s.peer.addr, topicSpec{trioTopic, of.load.partitions, topicConfigs(nil)}); err != nil {
				return fmt.Errorf("kafka: %w", err)
			}
			sides = append(sides, *s.peer)
		} else {
			r.note = "(no Kafka of three nodes: PEER=host:port,pid,pid,pid)"
		}
		for i := -1; i < s.times; i++ {
			for _, to := range sides {
				w, err := s.replicate(ctx, to, of.load)
				if err != nil {
					return fmt.Errorf("%s: %w", to.name, err)
				}
				if i >= 0 {
					r.add(to.name, []float64{w.cpuPerGB(), w.mbPerSecond()})
				}
			}
			if i < 0 {
				continue
			}
			floor, err := s.onSink(ctx, "sync", func(to target) ([]float64, error) {
				w, err := s.scaled(of.load).run(ctx, to, "floor")
				return []float64{3 * w.cpuPerGB(), w.mbPerSecond()}, err // each byte is written three times
			})
			if err != nil {
				return fmt.Errorf("floor: %w", err)
			}
			r.add("floor", floor)
		}
		return nil
	})
	return r, err
}

// replicate sends a load to the leaders of its partitions.
func (s *session) replicate(ctx context.Context, to target, l load) (worked, error) {
	l = s.scaled(l)
	b, err := l.batch.build()
	if err != nil {
		return worked{}, err
	}
	at, err := leaders(ctx, []string{to.addr}, trioTopic)
	if err != nil {
		return worked{}, err
	}
	lanes := make([]*lane, l.conns)
	for i := range lanes {
		p := int32(i) % l.partitions
		if lanes[i], err = l.lane(ctx, target{addr: at[p]}, trioTopic, p); err != nil {
			return worked{}, err
		}
		defer lanes[i].c.Close()
	}
	w, err := drivePrepared(ctx, to, lanes, max(1, int(l.bytes)/len(b.bytes)/l.conns), l.window)
	w.bytes = w.requests * int64(len(b.bytes))
	return w, err
}

// killsRow is P15 and P15f.
func killsRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	kills := 50
	if s.quick {
		kills = 6
		r.note = fmt.Sprintf("(quick: %d kills of each)", kills)
	}
	var gaps [3][]time.Duration // of leaders, of the controller, of followers
	err := s.onTrio(ctx, of.load.partitions, func(t *trio) error {
		p := t.probe(ctx, trioTopic)
		defer p.stop() //nolint:errcheck // what it met shows in the gaps
		for i := range 2 * kills {
			at, err := t.controller(ctx)
			if err != nil {
				return err
			}
			victim, isController := at, i%2 == 1
			if !isController {
				victim = (at + 1 + i/2%2) % 3
			}
			own, others, err := t.killOne(ctx, p, victim)
			if err != nil {
				return fmt.Errorf("kill %d, of node %d: %w", i+1, victim+1, err)
			}
			if isController {
				gaps[1] = append(gaps[1], max(own, others))
				continue
			}
			gaps[0], gaps[2] = append(gaps[0], own), append(gaps[2], others)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var values []float64
	for _, g := range gaps {
		for _, us := range percentiles(g) {
			values = append(values, us/1e6)
		}
	}
	r.add("myelin", values)
	return r, nil
}

// killOne kills a node, waits until all is served again, starts the node, waits
// until all is as it was, and gives the longest time without an acknowledgement:
// of the partition that it led, and of the others, until it came back.
func (t *trio) killOne(ctx context.Context, p *probers, victim int) (own, others time.Duration, err error) {
	if err := p.settled(ctx); err != nil {
		return 0, 0, err
	}
	at := time.Now()
	t.nodes[victim].kill()
	if err := p.settled(ctx); err != nil {
		return 0, 0, err
	}
	for _, one := range p.all {
		g := one.gap(at, time.Now())
		if int(one.partition) == victim {
			own = g
		} else {
			others = max(others, g)
		}
	}
	if err := t.start(victim); err != nil {
		return 0, 0, err
	}
	return own, others, t.whole(ctx, trioTopic)
}

// restartsRow is P17.
func restartsRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	times := 12
	if s.quick {
		times = 3
	}
	var gaps []time.Duration
	err := s.onTrio(ctx, of.load.partitions, func(t *trio) error {
		p := t.probe(ctx, trioTopic)
		defer p.stop() //nolint:errcheck // what it met shows in the gaps
		for i := range times {
			if err := p.settled(ctx); err != nil {
				return err
			}
			at := time.Now()
			if err := t.nodes[i%3].end(30 * time.Second); err != nil {
				return err
			}
			if err := t.start(i % 3); err != nil {
				return err
			}
			if err := errors.Join(t.whole(ctx, trioTopic), p.settled(ctx)); err != nil {
				return err
			}
			for _, one := range p.all {
				gaps = append(gaps, one.gap(at, time.Now()))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(gaps)
	r.add("myelin", []float64{percentiles(gaps)[0] / 1e3, float64(gaps[len(gaps)-1]) / 1e6})
	return r, nil
}

// catchUpRow is P18: a node is down while the others take much.
func catchUpRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	l := s.scaled(of.load)
	err := s.onTrio(ctx, l.partitions, func(t *trio) error {
		if err := t.create(ctx, "tail", 3, "min.insync.replicas", "2"); err != nil {
			return err
		}
		beside := func(do func() error) (float64, error) {
			took := make(chan []float64, 1)
			failed := make(chan error, 1)
			during, cancel := context.WithCancel(ctx)
			go func() {
				v, err := t.tail(during)
				took <- v
				failed <- err
			}()
			err := do()
			cancel()
			v := <-took
			if err = errors.Join(err, <-failed); err != nil {
				return 0, err
			}
			return v[1], nil
		}
		plain, err := beside(func() error { return pause(ctx, s.span(10*time.Second)) })
		if err != nil {
			return err
		}
		if err := t.nodes[2].end(time.Minute); err != nil {
			return err
		}
		// Of the three partitions the node led one; its leader is another now.
		w, err := s.replicate(ctx, target{name: "myelin", addr: t.nodes[0].addr, pid: t.nodes[0].pid, peers: []int{t.nodes[1].pid}}, of.load)
		if err != nil {
			return err
		}
		begin := time.Now()
		p99, err := beside(func() error {
			if err := t.start(2); err != nil {
				return err
			}
			return t.whole(ctx, trioTopic)
		})
		if err != nil {
			return err
		}
		took := time.Since(begin)
		r.add("myelin", []float64{float64(w.bytes) / 1e6 / took.Seconds(), p99})
		r.add("plain", []float64{0, plain})
		copied, err := copyRate(t.nodes[0].dir, s.dir)
		r.add("floor", []float64{copied, 0})
		return err
	})
	return r, err
}

// tail writes to the partition of topic tail that node 1 leads until ctx ends,
// and gives p50 and p99.
func (t *trio) tail(ctx context.Context) ([]float64, error) {
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, t.nodes[0].addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	l := &lane{c: c, window: 1, frame: produceFrame("tail", 0, -1, b)}
	var took []time.Duration
	for ctx.Err() == nil {
		at := time.Now()
		if err := l.pingPong(1); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at))
		_ = pause(ctx, probeEvery)
	}
	return percentiles(took), nil
}

// copyRate copies the largest files of a node's log and syncs each, in MB/s.
func copyRate(from, dir string) (float64, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(from, "data"), func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".log" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	begin, sum := time.Now(), int64(0)
	for _, path := range files {
		n, err := copySynced(path, filepath.Join(dir, "copy"))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return float64(sum) / 1e6 / time.Since(begin).Seconds(), os.Remove(filepath.Join(dir, "copy"))
}

func copySynced(from, to string) (n int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if n, err = io.Copy(out, in); err != nil {
		return n, err
	}
	return n, fdatasync(out)
}

// moveRow is P19: a node ends in order; how long until nobody names it as leader.
func moveRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	n := of.load.partitions
	if s.quick {
		n /= 10
		r.note = fmt.Sprintf("(quick: %d partitions)", n)
	}
	err := s.onTrio(ctx, n, func(t *trio) error {
		begin := time.Now()
		if err := t.nodes[2].cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		for {
			m, err := picture(ctx, []string{t.nodes[0].addr}, trioTopic)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(m.Topics, func(t kmsg.MetadataResponseTopic) bool {
				return slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return p.Leader == 3 || p.Leader < 0 })
			}) {
				break
			}
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
		r.add("myelin", []float64{time.Since(begin).Seconds()})
		if err := <-t.nodes[2].gone; err != nil {
			return err
		}
		return t.start(2)
	})
	return r, err
}
