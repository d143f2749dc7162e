package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type produceFlags struct {
	format    string
	key       string
	headers   []string
	partition int32
	codec     string
	file      string
	acks      string
	txn       string
	tombstone bool
	create    bool
	maxBytes  int32
}

func produceCmd(a *app) *cobra.Command {
	var p produceFlags
	c := &cobra.Command{
		Use: "produce TOPIC", Short: "Write records, one a line or as -f says", Args: cobra.ExactArgs(1),
		Example: "  echo hello | myelin produce greetings\n" +
			"  printf 'k1 v1\\nk2 v2\\n' | myelin produce t -f '%k %v\\n'\n" +
			"  myelin produce t -k user-7 --tombstone",
		ValidArgsFunction: a.completeTopics,
		RunE:              func(c *cobra.Command, args []string) error { return a.runProduce(c.Context(), args[0], p) },
	}
	f := c.Flags()
	f.StringVarP(&p.format, "format", "f", `%v\n`, "what a record looks like: %k key, %v value, %h{...} headers, %p partition, %K %V sizes, %d time")
	f.StringVarP(&p.key, "key", "k", "", "key of all records that -f gives none")
	f.StringArrayVarP(&p.headers, "header", "H", nil, "header NAME:VALUE; repeatable")
	f.Int32VarP(&p.partition, "partition", "p", -1, "write to this partition; -1 lets the key decide")
	f.StringVarP(&p.codec, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&p.file, "file", "", "read from a file rather than stdin")
	f.StringVar(&p.acks, "acks", "all", "who must have a record before it counts: all, leader or none")
	f.StringVar(&p.txn, "txn", "", "write all records in one transaction of this transactional id: all of them count, or none")
	f.Int32Var(&p.maxBytes, "max-bytes", 1048588, "the largest batch; a topic's limit is its max.message.bytes")
	f.BoolVar(&p.tombstone, "tombstone", false, "write one record with the key of -k and no value")
	f.BoolVar(&p.create, "create", true, "let the broker create the topic if it does not exist")
	return c
}

// options turns flags into those of the client.
func (p produceFlags) options() ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, ok := codecs[p.codec]
	if !ok {
		return nil, usage("-z %s: want none, gzip, snappy, lz4 or zstd", p.codec)
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.UnknownTopicRetries(2), kgo.ProducerBatchMaxBytes(p.maxBytes),
		kgo.BrokerMaxWriteBytes(max(100<<20, p.maxBytes+1<<20))}
	switch p.acks {
	case "all", "-1":
	case "leader", "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "none", "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usage("--acks %s: want all, leader or none", p.acks)
	}
	if p.txn != "" {
		if p.acks != "all" && p.acks != "-1" {
			return nil, usage("--txn: a transaction needs --acks all")
		}
		opts = append(opts, kgo.TransactionalID(p.txn))
	}
	if p.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	if p.create {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	return opts, nil
}

func (a *app) runProduce(ctx context.Context, topic string, p produceFlags) error {
	next, closeInput, err := a.records(p)
	if err != nil {
		return err
	}
	defer closeInput()
	opts, err := p.options()
	if err != nil {
		return err
	}
	// Tries are counted so that they end before the time does: then what the
	// broker said last is known.
	const pause = 250 * time.Millisecond
	opts = append(opts, kgo.RecordDeliveryTimeout(a.timeout), kgo.RecordRetries(max(2, int(a.timeout/(2*pause)))),
		kgo.RetryBackoffFn(func(int) time.Duration { return pause }))
	cl, err := a.connect(ctx, opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if terminal(a.In) && p.file == "" && !p.tombstone {
		a.hint("type records, one a line; end with Ctrl-D")
	}
	if p.txn != "" {
		return a.produceInTransaction(ctx, cl, topic, p, next)
	}
	return a.produceAll(ctx, cl, topic, p, next)
}

// produceInTransaction is produceAll, of which all counts or nothing.
func (a *app) produceInTransaction(ctx context.Context, cl *kgo.Client, topic string, p produceFlags, next func() (*kgo.Record, error)) error {
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	err := a.produceAll(ctx, cl, topic, p, next)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
	defer cancel()
	if err == nil {
		return cl.EndTransaction(ending, kgo.TryCommit)
	}
	return errors.Join(err, cl.AbortBufferedRecords(ending), cl.EndTransaction(ending, kgo.TryAbort))
}

// produceAll writes records until next says io.EOF, and waits for all of them.
func (a *app) produceAll(ctx context.Context, cl *kgo.Client, topic string, p produceFlags, next func() (*kgo.Record, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	var say sync.Mutex
	lost := map[place]int64{} // say's: records of partitions that nobody serves
	promise := func(r *kgo.Record, err error) {
		say.Lock()
		defer say.Unlock()
		switch p := (place{r.Topic, r.Partition}); {
		case err == nil:
			done.Add(1)
			a.produced(r)
		case away(err) && !errors.Is(err, kerr.KafkaStorageError):
			if lost[p]++; lost[p] == 1 {
				a.hint("topic %s, partition %d is offline: its records are not written", r.Topic, r.Partition)
			}
		default:
			cancel(&unwritten{r, err})
		}
	}
	var readErr error
	for ctx.Err() == nil {
		var r *kgo.Record
		if r, readErr = next(); readErr != nil {
			break
		}
		if r.Topic == "" {
			r.Topic = topic
		}
		if p.partition >= 0 {
			r.Partition = p.partition
		}
		cl.Produce(ctx, r, promise)
	}
	flushErr := cl.Flush(ctx)
	if cause := context.Cause(ctx); cause != nil {
		if un := (*unwritten)(nil); errors.As(cause, &un) {
			a.hint("%d records were written", done.Load())
			cause = a.produceError(context.WithoutCancel(ctx), cl, un.record, un.err)
		}
		return cause
	}
	if flushErr != nil {
		return flushErr
	}
	if !errors.Is(readErr, io.EOF) {
		return usage("record %d does not look like -f %s: %s", done.Load()+1, strconv.Quote(p.format), oneLine(readErr))
	}
	noun := "records"
	if done.Load() == 1 {
		noun = "record"
	}
	a.hint("%d %s to %s", done.Load(), noun, topic)
	return lostFault(done.Load(), lost)
}

// unwritten is why a record was not written.
type unwritten struct {
	record *kgo.Record
	err    error
}

func (u *unwritten) Error() string { return u.err.Error() }

// lostFault says how many records were not written since nobody serves their
// partitions; nil if none.
func lostFault(done int64, lost map[place]int64) error {
	if len(lost) == 0 {
		return nil
	}
	var n int64
	var list []place
	for p, records := range lost {
		n, list = n+records, append(list, p)
	}
	sortPlaces(list)
	code := exitPartial
	if done == 0 {
		code = exitFailed
	}
	return &fault{code, fmt.Sprintf("%d records were not written; ", n) + offlineText(list)}
}

// produceError says why a record was not written, and what to do.
func (a *app) produceError(ctx context.Context, cl *kgo.Client, r *kgo.Record, err error) error {
	switch {
	case errors.Is(err, kerr.KafkaStorageError):
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		return diskFault(ctx, kadm.NewClient(cl), place{r.Topic, r.Partition})
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return &fault{exitFailed, fmt.Sprintf("a record of %d bytes is too large for topic %s; raise its limit with: myelin topic config set %s max.message.bytes=N, and then add --max-bytes N", len(r.Key)+len(r.Value), r.Topic, r.Topic)}
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return missing("topic %s does not exist; create it with: myelin topic create %s", r.Topic, r.Topic)
	}
	return refusal("topic "+r.Topic, err, "")
}

type producedRecord struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp"`
}

// produced tells where a record went, for those who asked for data.
func (a *app) produced(r *kgo.Record) {
	switch a.output {
	case "json", "jsonl":
		line, _ := json.Marshal(producedRecord{r.Topic, r.Partition, r.Offset, r.Timestamp.UnixMilli()})
		fmt.Fprintf(a.Out, "%s\n", line)
	default:
		if a.verbose {
			a.hint("partition %d offset %d", r.Partition, r.Offset)
		}
	}
}

// records opens the input and returns what yields one record after the other,
// io.EOF at the end.
func (a *app) records(p produceFlags) (next func() (*kgo.Record, error), closeInput func(), err error) {
	closeInput = func() {}
	var headers []kgo.RecordHeader
	for _, h := range p.headers {
		k, v, ok := strings.Cut(h, ":")
		if !ok {
			return nil, nil, usage("-H %s: want NAME:VALUE", h)
		}
		headers = append(headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	if p.tombstone {
		if p.key == "" {
			return nil, nil, usage("--tombstone: say whose, with -k KEY")
		}
		one := []*kgo.Record{{Key: []byte(p.key), Headers: headers}}
		return func() (*kgo.Record, error) {
			if len(one) == 0 {
				return nil, io.EOF
			}
			r := one[0]
			one = nil
			return r, nil
		}, closeInput, nil
	}
	in := a.In
	if p.file != "" {
		f, err := os.Open(p.file)
		if err != nil {
			return nil, nil, err
		}
		in, closeInput = f, func() { f.Close() }
	}
	read, err := recordReader(in, p.format)
	if err != nil {
		closeInput()
		return nil, nil, usage("-f: %s", oneLine(err))
	}
	return func() (*kgo.Record, error) {
		r, err := read()
		if err != nil {
			return nil, err
		}
		if r.Key == nil && p.key != "" {
			r.Key = []byte(p.key)
		}
		r.Headers = append(r.Headers, headers...)
		return r, nil
	}, closeInput, nil
}

// recordReader reads records as layout says. The default, one value a line,
// also takes a last line without an end, of any length.
func recordReader(in io.Reader, layout string) (func() (*kgo.Record, error), error) {
	if layout != `%v\n` {
		r, err := kgo.NewRecordReader(in, layout)
		if err != nil {
			return nil, err
		}
		return r.ReadRecord, nil
	}
	lines := bufio.NewReaderSize(in, 64<<10)
	return func() (*kgo.Record, error) {
		line, err := lines.ReadBytes('\n')
		if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return nil, err
		}
		line = []byte(strings.TrimSuffix(string(line), "\n"))
		return &kgo.Record{Value: slices.Clip(line)}, nil
	}, nil
}
