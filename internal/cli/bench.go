package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

type benchFlags struct {
	records int64
	size    int
	codec   string
	acks    string
}

type benchResult struct {
	Work    string  `json:"work"`
	Records int64   `json:"records"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"records_per_second"`
	MBps    float64 `json:"mb_per_second"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
}

func benchCmd(a *app) *cobra.Command {
	var f benchFlags
	produce := &cobra.Command{
		Use: "produce TOPIC", Short: "How fast records can be written", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.benchProduce(ctx, args[0], f)
		},
	}
	consume := &cobra.Command{
		Use: "consume TOPIC", Short: "How fast the records of a topic can be read", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.benchConsume(ctx, args[0], f)
		},
	}
	for _, c := range []*cobra.Command{produce, consume} {
		c.Flags().Int64VarP(&f.records, "number", "n", 1_000_000, "records")
	}
	produce.Flags().IntVar(&f.size, "size", 100, "bytes of a record")
	produce.Flags().StringVarP(&f.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	produce.Flags().StringVar(&f.acks, "acks", "all", "all, leader or none")
	return parent("bench", "Measure a cluster through an ordinary client", produce, consume)
}

func (a *app) benchProduce(ctx context.Context, topic string, f benchFlags) error {
	if f.size < 1 || f.records < 1 {
		return usage("-n and --size must be positive")
	}
	opts, err := produceFlags{codec: f.codec, acks: f.acks, partition: -1, create: true, maxBytes: 1048588}.options()
	if err != nil {
		return err
	}
	cl, err := a.connect(ctx, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	value := make([]byte, f.size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = byte(' ' + random.IntN(90))
	}
	t := timings{begin: time.Now()}
	var failed *unwritten
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := int64(0); i < f.records && ctx.Err() == nil; i++ {
		sent := time.Now()
		cl.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(r *kgo.Record, err error) {
			t.add(time.Since(sent), len(r.Value), err == nil)
			if err != nil && ctx.Err() == nil {
				failed = &unwritten{r, err}
				cancel()
			}
		})
		a.progress("written", i+1, f.records)
	}
	cl.Flush(ctx)
	if failed != nil {
		return a.produceError(context.WithoutCancel(ctx), cl, failed.record, failed.err)
	}
	return showBench(a, "produce", &t)
}

func (a *app) benchConsume(ctx context.Context, topic string, f benchFlags) error {
	adm, done, err := a.admin(ctx)
	if err != nil {
		return err
	}
	defer done()
	from, until, b, err := a.consumePlan(ctx, adm, []string{topic}, consumeFlags{to: "end"})
	if err != nil {
		return err
	}
	if err := b.offlineFault(); err != nil {
		return err // the rest would be no measure
	}
	if from == nil {
		return missing("topic %s is empty; fill it with: myelin bench produce %s", topic, topic)
	}
	cl, err := a.connect(ctx, kgo.KeepControlRecords(), kgo.KeepRetryableFetchErrors(), kgo.ConsumePartitions(from))
	if err != nil {
		return err
	}
	defer cl.Close()
	t := timings{begin: time.Now()}
	r := newReader(a, cl, from, until)
	r.number = f.records
	r.write = func(r *kgo.Record) {
		t.add(0, len(r.Key)+len(r.Value), true)
		a.progress("read", t.records, f.records)
	}
	if err := r.poll(ctx); err != nil {
		return err
	}
	return showBench(a, "consume", &t)
}

// timings are safe for concurrent use through add.
type timings struct {
	begin time.Time

	mu      sync.Mutex
	records int64
	bytes   int64
	took    []time.Duration
}

func (t *timings) add(d time.Duration, bytes int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		t.records++
		t.bytes += int64(bytes)
		t.took = append(t.took, d)
	}
}

func showBench(a *app, work string, t *timings) error {
	seconds := time.Since(t.begin).Seconds()
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.took)
	at := func(q float64) float64 {
		if len(t.took) == 0 {
			return 0
		}
		return float64(t.took[int(q*float64(len(t.took)-1))].Microseconds()) / 1000
	}
	row := benchResult{work, t.records, seconds, float64(t.records) / seconds, float64(t.bytes) / seconds / 1e6, at(0.5), at(0.99)}
	num := func(pick func(benchResult) float64, digits int) func(benchResult) string {
		return func(r benchResult) string { return strconv.FormatFloat(pick(r), 'f', digits, 64) }
	}
	return show(a, []benchResult{row},
		column[benchResult]{"WORK", false, func(r benchResult) string { return r.Work }},
		column[benchResult]{"RECORDS", false, func(r benchResult) string { return strconv.FormatInt(r.Records, 10) }},
		column[benchResult]{"SECONDS", false, num(func(r benchResult) float64 { return r.Seconds }, 2)},
		column[benchResult]{"RECORDS/S", false, num(func(r benchResult) float64 { return r.Rate }, 0)},
		column[benchResult]{"MB/S", false, num(func(r benchResult) float64 { return r.MBps }, 1)},
		column[benchResult]{"P50-MS", false, num(func(r benchResult) float64 { return r.P50 }, 2)},
		column[benchResult]{"P99-MS", false, num(func(r benchResult) float64 { return r.P99 }, 2)})
}

// progress keeps a line up to date on a terminal, every 8192 steps.
func (a *app) progress(verb string, n, of int64) {
	if n%8192 != 0 && n != of || a.quiet || !terminal(a.Err) {
		return
	}
	fmt.Fprintf(a.Err, "\r%s %d of %d", verb, n, of)
	if n == of {
		fmt.Fprintln(a.Err)
	}
}
