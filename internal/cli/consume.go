package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	from, to      string
	group         string
	share, ack    string
	number        int64
	end           bool
	tail          bool
	format        string
	readCommitted bool
	skipDamaged   bool
	partitions    []int32
}

func consumeCmd(a *app) *cobra.Command {
	var f consumeFlags
	c := &cobra.Command{
		Use: "consume TOPIC...", Short: "Read records", Args: cobra.MinimumNArgs(1),
		Example: "  myelin consume orders\n" +
			"  myelin consume orders --from @2h -e -f '%p/%o %k=%v\\n'\n" +
			"  myelin consume orders -n 10 -o jsonl\n" +
			"  myelin consume orders --share workers --from start",
		ValidArgsFunction: a.completeTopics,
		RunE: func(c *cobra.Command, topics []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return a.runConsume(ctx, topics, f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.from, "from", "", "start, end, N, +N, -N or @TIME (default start; with -g where the group stands, else start)")
	fl.StringVar(&f.to, "to", "", "stop before: end, N, +N, -N or @TIME")
	fl.StringVarP(&f.group, "group", "g", "", "read as a member of this group and commit")
	fl.StringVar(&f.share, "share", "", "read as a member of this share group, which hands each record to one member")
	fl.StringVar(&f.ack, "ack", "accept", "with --share, what to say of records that were written: accept, release or reject")
	fl.Int64VarP(&f.number, "number", "n", 0, "stop after so many records")
	fl.BoolVarP(&f.end, "exit", "e", false, "stop at what is the end now (--to end)")
	fl.BoolVar(&f.tail, "tail", false, "begin at the end (--from end)")
	fl.StringVarP(&f.format, "format", "f", `%v\n`, "what to write: %t topic, %p partition, %o offset, %k key, %v value, %h{...} headers, %d time")
	fl.BoolVar(&f.readCommitted, "read-committed", false, "leave out records of open and aborted transactions")
	fl.BoolVar(&f.skipDamaged, "skip-damaged", false, "leave out offsets that the broker's disk has damaged, rather than stop there")
	fl.Int32SliceVar(&f.partitions, "partitions", nil, "only these partitions")
	return c
}

func (a *app) runConsume(ctx context.Context, topics []string, f consumeFlags) error {
	if f.tail {
		f.from = "end"
	}
	if f.end {
		f.to = "end"
	}
	write, err := a.recordWriter(f.format)
	if err != nil {
		return err
	}
	if f.share != "" {
		return a.consumeShare(ctx, topics, f, write)
	}
	opts := []kgo.Opt{kgo.KeepControlRecords(), kgo.KeepRetryableFetchErrors()}
	if f.readCommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if f.group != "" {
		return a.consumeGroup(ctx, topics, f, write, opts)
	}
	adm, done, err := a.admin(ctx)
	if err != nil {
		return err
	}
	defer done()
	from, until, b, err := a.consumePlan(ctx, adm, topics, f)
	if err != nil {
		return err
	}
	if from == nil {
		return b.offlineFault() // or everything asked for is empty
	}
	if until == nil {
		for _, p := range b.offline {
			a.hint("topic %s, partition %d is offline and left out", p.topic, p.partition)
		}
	}
	cl, err := a.connect(ctx, append(opts, kgo.ConsumePartitions(from))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	r := newReader(a, cl, from, until)
	r.write, r.number, r.skip = write, f.number, f.skipDamaged
	if err := r.poll(ctx); err != nil {
		return err
	}
	return b.offlineFault()
}

// consumePlan finds where each partition is to be read from, and, if it is to
// end, up to where. Partitions with nothing between are left out.
func (a *app) consumePlan(ctx context.Context, adm *kadm.Client, topics []string, f consumeFlags) (from map[string]map[int32]kgo.Offset, until map[place]int64, b bounds, err error) {
	if f.from == "" {
		f.from = "start"
	}
	if b, err = limits(ctx, adm, topics, f.partitions); err != nil {
		return nil, nil, b, err
	}
	if f.readCommitted {
		if err := a.stableEnds(ctx, adm, b); err != nil {
			return nil, nil, b, err
		}
	}
	resolve := func(s string) (map[place]int64, error) {
		at, err := parsePosition(s, time.Now())
		if err != nil {
			return nil, err
		}
		return b.resolve(ctx, adm, at)
	}
	starts, err := resolve(f.from)
	if err != nil {
		return nil, nil, b, err
	}
	if f.to != "" {
		if until, err = resolve(f.to); err != nil {
			return nil, nil, b, err
		}
	}
	from = map[string]map[int32]kgo.Offset{}
	for _, p := range b.sorted() {
		if until != nil && starts[p] >= until[p] {
			delete(until, p)
			continue
		}
		if from[p.topic] == nil {
			from[p.topic] = map[int32]kgo.Offset{}
		}
		from[p.topic][p.partition] = kgo.NewOffset().At(starts[p])
	}
	if len(from) == 0 {
		return nil, nil, b, nil
	}
	return from, until, b, nil
}

// stableEnds makes the last stable offsets the ends of b: a reader of committed
// records gets no further before the transactions behind them end.
func (a *app) stableEnds(ctx context.Context, adm *kadm.Client, b bounds) error {
	got, err := reachable(adm.ListCommittedOffsets(ctx, b.topics()...))
	if err != nil {
		return err
	}
	for _, p := range b.sorted() {
		if o, ok := got.Lookup(p.topic, p.partition); ok && o.Err == nil && o.Offset < b.end[p] {
			a.hint("%s: a transaction is open since offset %d; see: myelin txn list --state Ongoing", p, o.Offset)
			b.end[p] = o.Offset
		}
	}
	return nil
}

func (a *app) consumeGroup(ctx context.Context, topics []string, f consumeFlags, write func(*kgo.Record), opts []kgo.Opt) error {
	reset := kgo.NewOffset().AtStart()
	switch {
	case f.to != "" || len(f.partitions) > 0:
		return usage("-e, --to and --partitions read without a group: leave out -g, or stop with -n")
	case f.from == "end":
		reset = kgo.NewOffset().AtEnd()
	case f.from != "" && f.from != "start":
		return usage("--from %s: a group starts at start or end; move it with: myelin group seek %s --to %s --topics ...", f.from, f.group, f.from)
	}
	cl, err := a.connect(ctx, append(opts, kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(reset), kgo.AutoCommitMarks())...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		defer cancel()
		cl.CommitMarkedOffsets(end)
	}()
	details, err := kadm.NewClient(cl).ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return err
	}
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return refusal("topic "+t.Topic, t.Err, "")
		}
	}
	r := newReader(a, cl, nil, nil)
	r.number, r.group, r.skip = f.number, f.group, f.skipDamaged
	r.write = func(r *kgo.Record) { write(r); cl.MarkCommitRecords(r) }
	return r.poll(ctx)
}

type consumedRecord struct {
	Topic       string           `json:"topic"`
	Partition   int32            `json:"partition"`
	Offset      int64            `json:"offset"`
	Timestamp   int64            `json:"timestamp"`
	Key         *string          `json:"key"`
	Value       *string          `json:"value"`
	KeyBase64   string           `json:"key_base64,omitempty"`   // instead of key, if that is not UTF-8
	ValueBase64 string           `json:"value_base64,omitempty"` // instead of value, if that is not UTF-8
	Headers     []consumedHeader `json:"headers,omitempty"`
	Delivery    int32            `json:"delivery_count,omitempty"` // of a share group: how often it was given out
}

type consumedHeader struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
	Bytes string  `json:"value_base64,omitempty"`
}

// recordWriter writes one record as -o or -f says.
func (a *app) recordWriter(format string) (func(*kgo.Record), error) {
	switch a.output {
	case "json", "jsonl":
		return func(r *kgo.Record) {
			line, _ := json.Marshal(recordJSON(r))
			fmt.Fprintf(a.Out, "%s\n", line)
		}, nil
	case "help":
		return nil, show(a, []consumedRecord{})
	}
	f, err := kgo.NewRecordFormatter(format)
	if err != nil {
		return nil, usage("-f: %s", oneLine(err))
	}
	var buf []byte
	return func(r *kgo.Record) {
		buf = f.AppendRecord(buf[:0], r)
		a.Out.Write(buf)
	}, nil
}

func recordJSON(r *kgo.Record) consumedRecord {
	c := consumedRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Delivery: r.DeliveryCount()}
	c.Key, c.KeyBase64 = textOrBase64(r.Key)
	c.Value, c.ValueBase64 = textOrBase64(r.Value)
	for _, h := range r.Headers {
		row := consumedHeader{Key: h.Key}
		row.Value, row.Bytes = textOrBase64(h.Value)
		c.Headers = append(c.Headers, row)
	}
	return c
}

func textOrBase64(b []byte) (*string, string) {
	switch {
	case b == nil:
		return nil, ""
	case utf8.Valid(b):
		s := string(b)
		return &s, ""
	}
	return nil, base64.StdEncoding.EncodeToString(b)
}
