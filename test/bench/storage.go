package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// Rows of issue 4: what the keeping of data costs. They start brokers of their
// own, since they compare settings or need what lies in the directory.

// storageRows are in the order in which they share the deep log: P14 fills it.
func storageRows() []*row {
	added := func(id string, l load, m measured) *row {
		return &row{id: "S1-" + id, work: "what checksums and checkpoints add to " + id, load: l, metrics: []metric{m.metric},
			own: func(ctx context.Context, s *session, r *row) (*result, error) { return s.added(ctx, r, m) }}
	}
	atLeastPlain := limit{of: "plain", factor: 0.97, atLeast: true}
	tail := load{conns: 1, window: 1, partitions: 1, acks: 1, batch: batchSpec{size: oneRecord}}
	return []*row{
		// More than the kernel leaves in memory before it begins to write, a tenth of
		// it: else the data of one side would go to the device while it is measured,
		// that of the other after.
		added("P1", produceLoad(mib, 1024, 8e9), cpuPerGB(atMost(1.10, "plain"))),
		added("P2", produceLoad(kib16, 1024, 6e9), cpuPerGB(atMost(1.05, "plain"))),
		added("P3", produceLoad(oneRecord, 0, 60_000*oneRecord), cpuPerRequest(atMost(1.05, "plain"))),
		{id: "P14", work: "kill -9 under load, 10 GB of log, start to serving", load: produceLoad(mib, 1024, deepBytes), own: killRow,
			metrics: []metric{{"first", "s", []limit{atMost(1, "")}}, {"all partitions", "s", []limit{atMost(1, "")}}}},
		{id: "S3", work: "scrubber: rate of P1 beside it", load: produceLoad(mib, 1024, 1e9), own: scrubRow,
			metrics: []metric{{"at 20 MB/s", "MB/s", []limit{atLeastPlain}}, {"by default", "MB/s", []limit{atLeastPlain}},
				{"processors at 20 MB/s", "%", []limit{atMost(3, "")}}, {"processors by default", "%", []limit{atMost(3, "")}}}},
		{id: "S4", work: "tail produce, 1,000/s, beside 4 readers of cold data", load: tail, own: coldRow, latency: true, probe: "sync",
			metrics: []metric{{"p99 acks=1", "us", []limit{atMost(2, "plain")}}, {"p99 acks=all", "us", []limit{atMost(2, "plain")}}}},
		{id: "P16", work: "fetch at the head of 100 GB; 1,000 cold offsets", own: sparseRow,
			load:    load{conns: 4, window: 1, partitions: 1, fetch: sparseBatch, batch: batchSpec{size: sparseBatch}},
			metrics: []metric{{"CPU", "CPU-s/GB", []limit{atMost(1.1, "plain")}}, {"growth", "MB", []limit{atMost(100*mib/1e6, "")}}}},
	}
}

// with runs do beside a broker that it starts on dir and ends in order.
func (s *session) with(ctx context.Context, dir string, set []string, do func(target) error) error {
	m, err := serve(ctx, s.binary, dir, flags(set)...)
	if err != nil {
		return err
	}
	err = do(m.target)
	return errors.Join(err, m.end(time.Minute))
}

// flags makes arguments of broker properties.
func flags(set []string) []string {
	var out []string
	for _, kv := range set {
		out = append(out, "--set", kv)
	}
	return out
}

// onTopic runs a load on a topic of its own.
func (s *session) onTopic(ctx context.Context, to target, l load) (worked, error) {
	name := fmt.Sprintf("bench-%s-%d", s.tag, time.Now().UnixNano())
	if err := createTopic(ctx, to.addr, topicSpec{name, l.partitions, topicConfigs(l.configs)}); err != nil {
		return worked{}, err
	}
	w, err := l.run(ctx, to, name)
	return w, errors.Join(err, deleteTopic(context.WithoutCancel(ctx), to.addr, name))
}

// without is a broker that leaves durability of acks=1 and what it takes to
// know of rot to nobody.
var without = []string{"log.block.checksums=false", "log.flush.lazy.bytes=1000000000000", "log.flush.lazy.ms=86400000",
	"log.flush.offset.checkpoint.interval.ms=86400000", "log.flush.start.offset.checkpoint.interval.ms=86400000"}

// added is S1: the same work with and without, in alternation, each on a
// directory of its own. Both brokers run: what is idle costs nothing.
func (s *session) added(ctx context.Context, of *row, m measured) (*result, error) {
	r := newResult(of)
	sides := map[string][]string{"myelin": nil, "plain": without}
	order := []string{"myelin", "plain"}
	running := map[string]*myelin{}
	var err error
	for _, side := range order {
		var dir string
		if dir, err = os.MkdirTemp(s.dir, "added-"); err != nil {
			break
		}
		if running[side], err = serve(ctx, s.binary, dir, flags(sides[side])...); err != nil {
			break
		}
	}
	for i := -1; i < 2*s.times+1 && err == nil; i++ {
		for _, side := range order {
			var w worked
			if w, err = s.onTopic(ctx, running[side].target, s.scaled(of.load)); err != nil {
				break
			}
			if i >= 0 {
				r.add(side, []float64{m.of(w)})
			}
		}
		slices.Reverse(order)
	}
	for _, b := range running {
		err = errors.Join(err, b.stop())
	}
	return r, err
}

const (
	deepBytes      = 10e9
	deepTopic      = "deep"
	deepPartitions = 8
)

// deep is a directory of a broker that was ended in order and holds 10 GB.
func (s *session) deep(ctx context.Context) (string, error) {
	if s.deepDir != "" {
		return s.deepDir, nil
	}
	dir, err := os.MkdirTemp(s.dir, "deep-")
	if err != nil {
		return "", err
	}
	err = s.with(ctx, dir, nil, func(to target) error {
		if err := createTopic(ctx, to.addr, topicSpec{deepTopic, deepPartitions, topicConfigs(nil)}); err != nil {
			return err
		}
		_, err := s.scaled(produceLoad(mib, 1024, deepBytes)).run(ctx, to, deepTopic)
		return err
	})
	s.deepDir = dir
	return dir, err
}

// killRow is P14: a broker is killed in the middle of its work, and started on
// what that left.
func killRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	dir, err := s.deep(ctx)
	if err != nil {
		return nil, err
	}
	for range s.times {
		m, err := serve(ctx, s.binary, dir)
		if err != nil {
			return nil, err
		}
		work, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := produceLoad(mib, 1024, deepBytes).run(work, m.target, deepTopic)
			done <- err
		}()
		err = pause(ctx, s.span(3*time.Second))
		m.kill()
		cancel()
		<-done // it fails, as it should
		if err != nil {
			return nil, err
		}
		first, all, err := servesAgain(ctx, s.binary, dir)
		if err != nil {
			return nil, err
		}
		r.add("myelin", []float64{first.Seconds(), all.Seconds()})
	}
	return r, nil
}

// servesAgain starts a broker and gives the times from before its start until a
// record is acknowledged with acks=all in the first partition, and in all.
func servesAgain(ctx context.Context, binary, dir string) (first, all time.Duration, err error) {
	addr, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	m, err := spawn(binary, dir, "--listen", addr)
	if err != nil {
		return 0, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i := range int32(deepPartitions) {
		if err = produceUntil(limited, addr, produceFrame(deepTopic, i, -1, b)); err != nil {
			err = fmt.Errorf("partition %d: %w; the broker's log:\n%s", i, err, m.log())
			break
		}
		if i == 0 {
			first = time.Since(begin)
		}
	}
	all = time.Since(begin)
	return first, all, errors.Join(err, m.end(time.Minute))
}

// scrubRow is S3: the rate of produce with and without a scrubber that has
// 10 GB to go over, and what the scrubber takes of the processors while nobody
// produces. The rate is bound by the device, which others may share, and says 3 %
// only where that is quiet; the processors' time says it anywhere. A scrubber
// begins a minute after its broker, so each broker runs once, and until then
// nothing is measured.
func scrubRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	dir, err := s.deep(ctx)
	if err != nil {
		return nil, err
	}
	var got, used, read [3][]float64
	for side, set := range [][]string{
		{"log.scrub.bytes.per.second=0"},
		{"log.scrub.bytes.per.second=20971520", "log.scrub.interval.ms=60000"}, // so much that it never rests
		nil,
	} {
		err := s.with(ctx, dir, set, func(to target) error {
			if side > 0 {
				if err := awaitScrub(ctx, to); err != nil {
					return err
				}
			}
			for range 2*s.times + 1 {
				w, err := s.onTopic(ctx, to, s.scaled(of.load))
				if err != nil {
					return err
				}
				took, mb, err := s.atRest(ctx, to)
				if err != nil {
					return err
				}
				got[side], used[side], read[side] = append(got[side], w.mbPerSecond()), append(used[side], took), append(read[side], mb)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range got[0] {
		r.add("myelin", []float64{got[1][i], got[2][i], used[1][i] - used[0][i], used[2][i] - used[0][i]})
		r.add("plain", []float64{got[0][i], got[0][i], used[0][i], used[0][i]})
	}
	r.note = fmt.Sprintf("(at 20 MB/s it read %s MB/s, by default %s)", spread(read[1]), spread(read[2]))
	return r, nil
}

// awaitScrub returns when a broker to which nobody talks reads its files.
func awaitScrub(ctx context.Context, to target) error {
	for range 100 {
		before, err := to.read()
		if err == nil {
			err = pause(ctx, time.Second)
		}
		if err != nil {
			return err
		}
		if after, err := to.read(); err != nil || after-before > 500e3 {
			return err
		}
	}
	return errors.New("the scrubber did not begin within 100 s")
}

// atRest is what a broker to which nobody talks takes of the processors, in
// percent of all of them, and what it reads of its files, in MB/s.
func (s *session) atRest(ctx context.Context, to target) (percent, mbPerSecond float64, err error) {
	before, err := to.cpu()
	if err != nil {
		return 0, 0, err
	}
	read, err := to.read()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := pause(ctx, s.span(5*time.Second)); err != nil {
		return 0, 0, err
	}
	after, err := to.cpu()
	if err != nil {
		return 0, 0, err
	}
	more, err := to.read()
	took := time.Since(begin).Seconds()
	return 100 * (after - before).Seconds() / took / float64(runtime.NumCPU()), float64(more-read) / 1e6 / took, err
}

// coldRow is S4.
func coldRow(ctx context.Context, s *session, of *row) (*result, error) {
	r := newResult(of)
	dir, err := s.deep(ctx)
	if err != nil {
		return nil, err
	}
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return nil, err
	}
	frame := produceFrame("tail-"+s.tag, 0, 1, b)
	valid, lastWhy := 0, ""
	var rates []float64
	for try := 0; try < maxTries && valid < s.times; try++ {
		var own, plain, floor []float64
		var rate float64
		why, err := s.quietly(ctx, of.probe, func() error {
			if err := coolDown(filepath.Join(dir, "data")); err != nil {
				return err
			}
			err := s.with(ctx, dir, nil, func(to target) (err error) {
				own, plain, rate, err = s.besideCold(ctx, to)
				return err
			})
			if err != nil {
				return err
			}
			floor, err = s.coldFloor(ctx, filepath.Join(dir, "data"), frame)
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
		r.add("myelin", own)
		r.add("plain", plain)
		r.add("floor", floor)
		rates = append(rates, rate)
	}
	r.note = fmt.Sprintf("(the readers got %s MB/s)", spread(rates))
	if lastWhy != "" {
		r.note += fmt.Sprintf("\n(%d tries counted; the last that did not: %s)", valid, lastWhy)
	}
	return r, nil
}

// besideCold takes the p99 of produce at the end of a topic, alone and beside
// four consumers of the deep log, and how fast those were.
func (s *session) besideCold(ctx context.Context, to target) (own, plain []float64, rate float64, err error) {
	if err := createTopic(ctx, to.addr, topicSpec{"tail-" + s.tag, 1, topicConfigs(nil)}); err != nil {
		return nil, nil, 0, err
	}
	defer func() { err = errors.Join(err, deleteTopic(context.WithoutCancel(ctx), to.addr, "tail-"+s.tag)) }()
	for _, acks := range []int16{1, -1} { // alone first: the data is not cold again after
		p99, err := s.tailProduce(ctx, to, acks)
		if err != nil {
			return nil, nil, 0, err
		}
		plain = append(plain, p99)
	}
	cold, err := startReaders(ctx, "consume", to.addr)
	if err != nil {
		return nil, nil, 0, err
	}
	for _, acks := range []int16{1, -1} {
		p99, perr := s.tailProduce(ctx, to, acks)
		err = errors.Join(err, perr)
		own = append(own, p99)
	}
	rate, cerr := cold.stop()
	return own, plain, rate, errors.Join(err, cerr)
}

// tailProduce is the p99 in microseconds at 1,000 requests a second.
func (s *session) tailProduce(ctx context.Context, to target, acks int16) (float64, error) {
	b, err := batchSpec{size: oneRecord}.build()
	if err != nil {
		return 0, err
	}
	took, err := paced(ctx, to, produceFrame("tail-"+s.tag, 0, acks, b), 1000, s.span(6*time.Second))
	if err != nil {
		return 0, err
	}
	return took[1], nil
}
