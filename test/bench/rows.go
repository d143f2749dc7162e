package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// row is a line of the table of what must be reached.
type row struct {
	id, work string
	load     load
	latency  bool // counts only while the machine is quiet: see session.latency
	metrics  []metric
	// measure gives one value per metric.
	measure func(ctx context.Context, s *session, to target, topic string) ([]float64, error)
	// floor gives the same from the least that could be done; may be nil.
	floor func(ctx context.Context, s *session) ([]float64, error)
	// plain gives our own values of another work that this row is held
	// against; may be nil.
	plain func(ctx context.Context, s *session, topic string) ([]float64, error)
	// own replaces everything above where the row starts brokers of its own.
	own func(ctx context.Context, s *session, r *row) (*result, error)

	peerConfigs []string // of the topic on the peer, besides load.configs
	peerState   bool     // the peer flushes what it knows of transactions, too
	probe       string   // what must hold still: "sync" or "echo"
}

// metric is one number of a row and what it must reach.
type metric struct {
	name, unit string
	limits     []limit
}

// limit compares with the peer ("kafka"), the floor ("floor"), the row's plain
// work ("plain") or, when of is empty, with a number of the metric's unit.
type limit struct {
	of      string
	factor  float64
	atLeast bool
	or      *limit // does as well
}

func (l limit) String() string {
	if l.or != nil {
		or := *l.or
		l.or = nil
		return l.String() + " or " + or.String()
	}
	sign := "<="
	if l.atLeast {
		sign = ">="
	}
	if l.of == "" {
		return fmt.Sprintf("%s %g", sign, l.factor)
	}
	return fmt.Sprintf("%s %.2f x %s", sign, l.factor, l.of)
}

func atMost(factor float64, of string) limit { return limit{of: of, factor: factor} }

// Six shapes of work that the rows share.
const (
	mib          = 1 << 20
	kib64, kib16 = 64 << 10, 16 << 10
)

func produceLoad(size, record int, bytes int64) load {
	return load{conns: 8, window: 5, partitions: 8, acks: 1, bytes: bytes, batch: batchSpec{size: size, record: record}}
}

func durableLoad(size int, bytes int64) load {
	return load{conns: 8, window: 16, partitions: 8, acks: -1, bytes: bytes, batch: batchSpec{size: size, record: 1024}}
}

func packedLoad(codec string) load {
	l := produceLoad(kib64, 1024, 500e6)
	l.batch.codec = codec
	return l
}

// rows is the table of issues 3 to 6: what is done, what is measured, what it must
// reach. Their order is that of the run: what starts brokers of its own is last.
func rows() []*row {
	return slices.Concat(produceRows(), durableRows(), packedRows(), fetchRows(), latencyRows(), txnRows(), cleanRows(), ownRows(), storageRows(), crowdRows(), hostRows(), clusterRows())
}

func produceRows() []*row {
	return []*row{
		throughput("P1", "produce, 1 MiB requests", produceLoad(mib, 1024, 2e9), cpuPerGB(atMost(0.40, "kafka"))),
		throughput("P2", "produce, 16 KiB requests", produceLoad(kib16, 1024, 1e9), cpuPerGB(atMost(0.55, "kafka"))),
		throughput("P3", "produce, one 1 KiB record a request", produceLoad(oneRecord, 0, 60_000*oneRecord),
			cpuPerRequest(atMost(0.40, "kafka"))),
		throughput("P9", "produce, 100-byte records in 16 KiB batches", produceLoad(kib16, 100, 500e6),
			measured{metric{"CPU", "us/record", []limit{atMost(0.45, "kafka")}}, worked.cpuPerRecord}),
	}
}

func durableRows() []*row {
	same := limit{of: "kafka", factor: 1, atLeast: true}
	return []*row{
		noFloor(throughput("P4", "produce acks=all, ours with fsync, 16 KiB requests", durableLoad(kib16, 600e6),
			measured{metric{"rate", "MB/s", []limit{same}}, worked.mbPerSecond})),
		noFloor(throughput("P4", "produce acks=all, ours with fsync, 1 KiB requests", durableLoad(oneRecord, 40_000*oneRecord),
			measured{metric{"rate", "requests/s", []limit{same}}, worked.perSecond})),
	}
}

func packedRows() []*row {
	packed := func(codec string, factor float64) *row {
		r := noFloor(throughput("P6", "produce, 64 KiB of records in "+codec, packedLoad(codec),
			cpuPerGB(atMost(1.1, "plain"), atMost(factor, "kafka"))))
		r.plain = func(ctx context.Context, s *session, topic string) ([]float64, error) {
			b, err := r.load.batch.build()
			if err != nil {
				return nil, err
			}
			w, err := s.scaled(produceLoad(len(b.bytes), 1024, r.load.bytes)).run(ctx, s.own.target, topic)
			return []float64{w.cpuPerGB()}, err
		}
		return r
	}
	return []*row{packed("lz4", 0.50), packed("zstd", 0.27)}
}

func fetchRows() []*row {
	big := load{conns: 4, window: 1, partitions: 4, fetch: mib, bytes: 4e9, batch: batchSpec{size: kib64, record: 1024}}
	small := load{conns: 8, window: 1, partitions: 8, fetch: kib16, bytes: 40_000 * kib16, batch: batchSpec{size: kib16, record: 1024}}
	return []*row{
		throughput("P7", "fetch hot, 1 MiB a request", big, cpuPerGB(atMost(1.1, "kafka"))),
		throughput("P8", "fetch hot, 16 KiB a request", small, cpuPerRequest(atMost(0.35, "kafka"))),
	}
}

// measured is a metric and how it comes out of a load.
type measured struct {
	metric
	of func(worked) float64
}

func cpuPerGB(limits ...limit) measured {
	return measured{metric{"CPU", "CPU-s/GB", limits}, worked.cpuPerGB}
}

func cpuPerRequest(limits ...limit) measured {
	return measured{metric{"CPU", "us/request", limits}, worked.cpuPerRequest}
}

func throughput(id, work string, l load, m measured) *row {
	kind := "produce"
	if l.fetch > 0 {
		kind = "fetch"
	}
	return &row{
		id: id, work: work, load: l, metrics: []metric{m.metric},
		measure: func(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
			w, err := s.scaled(l).run(ctx, to, topic)
			return []float64{m.of(w)}, err
		},
		floor: func(ctx context.Context, s *session) ([]float64, error) {
			to, stop, err := startSink(ctx, kind, s.dir)
			if err != nil {
				return nil, err
			}
			defer stop()
			w, err := s.scaled(l).run(ctx, to, "floor")
			return []float64{m.of(w)}, err
		},
	}
}

func noFloor(r *row) *row { r.floor = nil; return r }

func latencyRows() []*row {
	one := load{conns: 1, window: 1, partitions: 1, acks: 1, batch: batchSpec{size: oneRecord}}
	oneDurable := one
	oneDurable.acks = -1
	quantiles := func(p50, p99 limit) []metric {
		return []metric{{"p50", "us", []limit{p50}}, {"p99", "us", []limit{p99}}}
	}
	return []*row{
		{id: "P4p", work: "produce acks=all with fsync, ping-pong", load: oneDurable, latency: true, probe: "sync",
			metrics: []metric{{"p50", "us", []limit{atMost(1.3, "floor")}}}, peerConfigs: []string{"flush.messages", "1"},
			measure: func(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
				got, err := s.pingPong(ctx, to, topic, -1)
				return firstOf(got), err
			},
			floor: func(ctx context.Context, s *session) ([]float64, error) {
				got, err := syncFloor(s.dir, 500)
				return firstOf(got), err
			}},
		{id: "P10", work: "produce acks=1, ping-pong", load: one, latency: true, probe: "echo",
			metrics: quantiles(atMost(0.5, "kafka"), atMost(0.5, "kafka")),
			measure: func(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
				return s.pingPong(ctx, to, topic, 1)
			},
			floor: func(ctx context.Context, s *session) ([]float64, error) {
				return s.onSink(ctx, "produce", func(to target) ([]float64, error) { return s.pingPong(ctx, to, "floor", 1) })
			}},
		{id: "P11", work: "end to end to a parked consumer, acks=1, 1,000/s", load: one, latency: true, probe: "echo",
			metrics: quantiles(atMost(0.45, "kafka"), atMost(0.3, "kafka")), measure: endToEndWith(1), floor: relayFloor("relay")},
		{id: "P11d", work: "the same, acks=all with our fsync; Kafka as in P11", load: oneDurable, latency: true, probe: "sync",
			metrics: quantiles(atMost(1.3, "floor"), atMost(1.0, "kafka")), measure: endToEndWith(-1), floor: relayFloor("durable")},
	}
}

// endToEndWith measures ours with the given acks and the peer always with 1.
func endToEndWith(acks int16) func(context.Context, *session, target, string) ([]float64, error) {
	return func(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
		w := pace{acks: acks, rate: 1000, d: s.span(5 * time.Second)}
		if to.name == "kafka" {
			w.acks = 1
		}
		return endToEnd(ctx, to, topic, w)
	}
}

// relayFloor hands records on through a sink, at the pace of the row: a disk and
// a processor that rest in between are slower than busy ones.
func relayFloor(kind string) func(context.Context, *session) ([]float64, error) {
	return func(ctx context.Context, s *session) ([]float64, error) {
		return s.onSink(ctx, kind, func(to target) ([]float64, error) {
			return endToEnd(ctx, to, "floor", pace{acks: 1, rate: 1000, d: s.span(2 * time.Second)})
		})
	}
}

func firstOf(values []float64) []float64 { return values[:min(1, len(values))] }

func ownRows() []*row {
	return []*row{
		{id: "P12", work: "resident memory, idle and under P1", load: produceLoad(mib, 1024, 2e9), own: memoryRow,
			metrics: []metric{{"idle", "MB", []limit{atMost(30, "")}}, {"under P1, peak", "MB", []limit{atMost(150, "")}}}},
		{id: "P13", work: "start to first acks=all record, empty directory", own: startRow, probe: "sync", latency: true,
			load:    load{conns: 1, window: 1, partitions: 1, acks: -1, batch: batchSpec{size: oneRecord}},
			metrics: []metric{{"median", "ms", []limit{atMost(150, "")}}}},
	}
}

// describe says a row's work as it is printed.
func (r *row) describe() string {
	l := r.load
	what := fmt.Sprintf("acks=%d", l.acks)
	if l.fetch > 0 {
		what = fmt.Sprintf("fetch %d", l.fetch)
	}
	batch := fmt.Sprintf("%d B", l.batch.size)
	if l.batch.codec != "" {
		batch += " " + l.batch.codec
	}
	record := "one record"
	if l.batch.record > 0 {
		record = fmt.Sprintf("records of %d B", l.batch.record)
	}
	configs := strings.Join(topicConfigs(l.configs), " ")
	if len(r.peerConfigs) > 0 {
		configs += " (kafka: " + strings.Join(r.peerConfigs, " ") + ")"
	}
	return fmt.Sprintf("%-8s %5d %10d %6d  %-13s %-12s %-18s %s", r.id, l.conns, l.partitions, l.window, what, batch, record, configs)
}

// topicConfigs are the configs of every topic here: what is deleted goes at
// once, so that a run does not fill the disk, and nothing goes for its age, since
// all records are of one day that is long past.
func topicConfigs(more []string) []string {
	return append([]string{"file.delete.delay.ms", "1000", "retention.ms", "-1"}, more...)
}
