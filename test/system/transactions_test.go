//go:build system

package system

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/history"
)

const (
	txnPartitions = 3
	txnTimeout    = 10 * time.Second
)

// TestTransactions kills the node under transactions over several partitions and
// under a loop that consumes, produces and commits its offsets in transactions.
// What everybody did and saw is checked against what Kafka promises.
func TestTransactions(t *testing.T) {
	kills := number(t, "SYSTEM_KILLS", 10)
	dice := dice(t)
	b := newBroker(t, folders(t, number(t, "SYSTEM_DIRS", 3)))
	b.start(t)
	x := startTransactions(t, transactionsConfig{addr: b.addr, seed: dice.Uint64()})
	since, slowest := time.Now(), time.Duration(0)
	for i := range kills {
		if err := b.await(20 * time.Second); err != nil {
			t.Fatalf("after %d kills: %v\n%s", i, err, b.tail())
		}
		if err := x.awaitProgress(1+dice.Int64N(25), 2*txnTimeout); err != nil {
			t.Fatalf("after %d kills: %v\n%s", i, err, b.tail())
		}
		pause(time.Duration(dice.IntN(30_000)) * time.Microsecond)
		b.kill()
		b.launch(t)
		slowest = max(slowest, time.Since(since))
		since = time.Now()
	}
	if err := b.await(20 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, b.tail())
	}
	x.finish(t)
	t.Logf("%d kills; the slowest life was %v", kills, slowest.Round(time.Millisecond))
	if t.Failed() {
		t.Logf("%s", b.tail())
	}
	b.stop(t)
	b.sound(t, false)
}

// transactions is a load of them, with the history that it makes.
type transactions struct {
	t    testing.TB
	addr string
	pace time.Duration

	// Writers write all over multi; what comes into source is copied to sink, exactly
	// once.
	multi, source, sink string
	group               string

	stop     chan struct{} // writers end
	copied   chan struct{} // copiers end
	writing  sync.WaitGroup
	copying  sync.WaitGroup
	reading  sync.WaitGroup
	quit     context.CancelFunc // readers end
	value    atomic.Int64
	process  atomic.Int64
	progress atomic.Int64 // transactions committed, of writers and copiers

	mu   sync.Mutex
	ops  []history.Op
	sent []int64 // values of source, acknowledged
}

// transactionsConfig says what load of transactions there is.
type transactionsConfig struct {
	addr     string
	seed     uint64
	replicas int16         // of the topics; 0 is 1
	era      string        // behind the names of topics, ids and the group
	pace     time.Duration // of writers; 0 is as fast as it goes
}

func startTransactions(t testing.TB, cfg transactionsConfig) *transactions {
	t.Helper()
	x := &transactions{t: t, addr: cfg.addr, pace: cfg.pace, stop: make(chan struct{}), copied: make(chan struct{}),
		multi: "multi" + cfg.era, source: "source" + cfg.era, sink: "sink" + cfg.era, group: "copiers" + cfg.era}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, topic := range []string{x.multi, x.source, x.sink} {
		if res, err := kadm.NewClient(client(t, x.addr)).CreateTopic(ctx, txnPartitions, max(cfg.replicas, 1), nil, topic); err != nil || res.Err != nil {
			t.Fatalf("creating %s: %v %v", topic, err, res.Err)
		}
	}
	reading, quit := context.WithCancel(context.Background())
	x.quit = quit
	t.Cleanup(func() { // when it was not finished
		x.end(x.stop, &x.writing)
		x.end(x.copied, &x.copying)
		x.quit()
		x.reading.Wait()
	})
	for i := range 3 {
		x.writing.Go(func() { x.write(fmt.Sprintf("writer-%d%s", i, cfg.era), rand.New(rand.NewPCG(cfg.seed, uint64(i)))) })
	}
	x.writing.Go(x.feed)
	for i := range 2 {
		x.copying.Go(func() { x.copy(fmt.Sprintf("copier-%d%s", i, cfg.era)) })
	}
	x.reading.Go(func() { x.read(reading, nil) })
	return x
}

// end tells those of a group to end, and waits for them.
func (x *transactions) end(signal chan struct{}, who *sync.WaitGroup) {
	select {
	case <-signal:
	default:
		close(signal)
	}
	who.Wait()
}

func ended(signal chan struct{}) bool {
	select {
	case <-signal:
		return true
	default:
		return false
	}
}

func (x *transactions) note(op history.Op) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ops = append(x.ops, op)
}

func encodeValue(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }

func keyOf(topic string, partition int32) string { return fmt.Sprintf("%s-%d", topic, partition) }

// write runs one transaction after another under one transactional id. Some are
// aborted, some left open by a client that goes away.
func (x *transactions) write(id string, dice *rand.Rand) {
	for !ended(x.stop) {
		cl := client(x.t, x.addr, kgo.TransactionalID(id), kgo.TransactionTimeout(txnTimeout),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
		process := int(x.process.Add(1))
		for goOn := true; goOn && !ended(x.stop); {
			goOn = x.transact(cl, process, dice)
			if x.pace > 0 {
				pause(x.pace)
			}
		}
		cl.Close()
	}
}

// transact runs one transaction and says whether the client is good for another.
func (x *transactions) transact(cl *kgo.Client, process int, dice *rand.Rand) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		return false
	}
	op := history.Op{Process: process, Outcome: history.Fail, Steps: make([]history.Step, 1+dice.IntN(5))}
	var failed atomic.Bool
	for i := range op.Steps {
		p, v := dice.Int32N(txnPartitions), x.value.Add(1)
		s := &op.Steps[i]
		*s = history.Step{Send: true, Sent: history.Record{Key: keyOf(x.multi, p), Offset: history.Unknown, Value: v}}
		cl.Produce(ctx, &kgo.Record{Topic: x.multi, Partition: p, Value: encodeValue(v)}, func(r *kgo.Record, err error) {
			if err != nil {
				failed.Store(true)
				return
			}
			s.Sent.Offset = r.Offset
		})
	}
	err := cl.Flush(ctx)
	// A flush that ends early leaves promises that write into op.
	for tries := 0; err != nil && tries < 3; tries++ {
		err = cl.AbortBufferedRecords(context.Background())
		failed.Store(true)
	}
	end := kgo.TransactionEndTry(dice.IntN(5) != 0 && !failed.Load())
	if dice.IntN(40) == 0 {
		x.note(op) // left open: nobody commits it any more
		return false
	}
	err = cl.EndTransaction(ctx, end)
	switch {
	case end == kgo.TryCommit && err == nil:
		op.Outcome = history.OK
		x.progress.Add(1)
	case end == kgo.TryCommit && !errors.Is(err, kerr.TransactionAbortable):
		op.Outcome = history.Info
	}
	x.note(op)
	return err == nil
}

// feed writes to the source what is to be copied, each value to one partition,
// rising.
func (x *transactions) feed() {
	cl := client(x.t, x.addr, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(64), kgo.StopProducerOnDataLossDetected())
	for !ended(x.stop) {
		v := x.value.Add(1)
		cl.Produce(context.Background(), &kgo.Record{Topic: x.source, Partition: int32(v % txnPartitions), Value: encodeValue(v)},
			func(_ *kgo.Record, err error) {
				if err != nil {
					x.t.Errorf("source: %v", err)
					return
				}
				x.mu.Lock()
				defer x.mu.Unlock()
				x.sent = append(x.sent, v)
			})
		pause(max(500*time.Microsecond, x.pace))
	}
	if err := cl.Flush(context.Background()); err != nil {
		x.t.Errorf("source: %v", err)
	}
}

// copy is the loop that Kafka's transactions are for.
func (x *transactions) copy(id string) {
	for !ended(x.copied) {
		s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(strings.Split(x.addr, ",")...), kgo.TransactionalID(id), kgo.TransactionTimeout(txnTimeout),
			kgo.ConsumerGroup(x.group), kgo.ConsumeTopics(x.source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.SessionTimeout(6*time.Second), kgo.MetadataMinAge(20*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond),
			kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.RequestRetries(1<<30), kgo.AlwaysRetryEOF())
		if err != nil {
			x.t.Error(err)
			return
		}
		for goOn := true; goOn && !ended(x.copied); {
			goOn = x.copySome(s)
		}
		s.Close()
	}
}

func (x *transactions) copySome(s *kgo.GroupTransactSession) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	fetches := s.PollFetches(ctx)
	if fetches.NumRecords() == 0 {
		return !fetches.IsClientClosed()
	}
	if err := s.Begin(); err != nil {
		return false
	}
	ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ok := true
	var mu sync.Mutex
	fetches.EachRecord(func(r *kgo.Record) {
		s.Produce(ctx, &kgo.Record{Topic: x.sink, Partition: r.Partition, Value: r.Value}, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			ok = ok && err == nil
		})
	})
	if err := s.Client().Flush(ctx); err != nil {
		return false
	}
	mu.Lock()
	commit := kgo.TransactionEndTry(ok)
	mu.Unlock()
	committed, err := s.End(ctx, commit)
	if committed {
		x.progress.Add(1)
	}
	return err == nil
}

// read follows multi from its start, read committed, until ctx ends or, if until
// is not nil, every partition's offsets below it have been read or passed.
func (x *transactions) read(ctx context.Context, until map[int32]int64) {
	cl := client(x.t, x.addr, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{x.multi: allFromStart()}))
	defer cl.Close()
	process := int(x.process.Add(1))
	at := map[int32]int64{}
	behind := func() bool {
		for p, end := range until {
			if at[p] < end {
				return true
			}
		}
		return until == nil
	}
	for behind() && ctx.Err() == nil {
		op := history.Op{Process: process, Steps: make([]history.Step, 1)}
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			at[r.Partition] = r.Offset + 1
			if r.Attrs.IsControl() {
				return
			}
			op.Steps[0].Polled = append(op.Steps[0].Polled, history.Record{
				Key: keyOf(x.multi, r.Partition), Offset: r.Offset, Value: int64(binary.BigEndian.Uint64(r.Value)),
			})
		})
		if len(op.Steps[0].Polled) > 0 {
			x.note(op)
		}
	}
}

func allFromStart() map[int32]kgo.Offset {
	out := map[int32]kgo.Offset{}
	for p := range int32(txnPartitions) {
		out[p] = kgo.NewOffset().AtStart()
	}
	return out
}

// awaitProgress waits for so many more committed transactions.
func (x *transactions) awaitProgress(n int64, limit time.Duration) error {
	until := x.progress.Load() + n
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for x.progress.Load() < until {
		select {
		case <-tick.C:
		case <-end.C:
			return fmt.Errorf("%d transactions were committed, no %d more within %v", x.progress.Load(), n, limit)
		}
	}
	return nil
}

// finish ends the load and checks all of it.
func (x *transactions) finish(t testing.TB) {
	x.end(x.stop, &x.writing)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	adm := kadm.NewClient(client(t, x.addr))
	x.awaitStable(ctx, t, adm, x.multi, x.source)
	x.awaitCopied(ctx, t, adm)
	x.end(x.copied, &x.copying)
	x.awaitStable(ctx, t, adm, x.sink)
	ends, err := adm.ListCommittedOffsets(ctx, x.multi)
	if err != nil {
		t.Fatal(err)
	}
	until := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { until[o.Partition] = o.Offset })
	x.read(ctx, until)
	if ctx.Err() != nil {
		t.Errorf("not everything could be read at the end: %v", until)
	}
	x.quit()
	x.reading.Wait()
	found := history.Check(x.ops, history.Options{Final: true})
	for _, a := range found[:min(len(found), 20)] {
		t.Error(a)
	}
	var n [3]int
	polled := 0
	for _, op := range x.ops {
		if op.Steps[0].Send {
			n[op.Outcome]++
		} else {
			polled += len(op.Steps[0].Polled)
		}
	}
	t.Logf("%d transactions committed, %d aborted or left, %d unknown, %d records read: %d anomalies; %d records copied",
		n[history.OK], n[history.Fail], n[history.Info], polled, len(found), len(x.sent))
}

// awaitStable waits until no transaction is open in the topics, which takes twice
// the time-out of one at most.
func (x *transactions) awaitStable(ctx context.Context, t testing.TB, adm *kadm.Client, topics ...string) {
	begun := time.Now()
	for {
		stable, err := adm.ListCommittedOffsets(ctx, topics...)
		ends, err2 := adm.ListEndOffsets(ctx, topics...)
		if err = errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		open := ""
		ends.Each(func(o kadm.ListedOffset) {
			if s, _ := stable.Lookup(o.Topic, o.Partition); s.Offset < o.Offset {
				open += fmt.Sprintf(" %s-%d: stable up to %d of %d", o.Topic, o.Partition, s.Offset, o.Offset)
			}
		})
		switch {
		case open == "":
			return
		case time.Since(begun) > 2*txnTimeout:
			t.Errorf("a transaction hangs:%s", open)
			return
		}
		pause(50 * time.Millisecond)
	}
}

// awaitCopied waits until all of the source is in the sink, and sees that it is
// there once, in order.
func (x *transactions) awaitCopied(ctx context.Context, t testing.TB, _ *kadm.Client) {
	cl := client(t, x.addr, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{x.sink: allFromStart()}))
	defer cl.Close()
	var got [txnPartitions][]int64
	limit, cancel := context.WithTimeout(ctx, 4*txnTimeout)
	defer cancel()
	for n := 0; n < len(x.sent) && limit.Err() == nil; {
		cl.PollFetches(limit).EachRecord(func(r *kgo.Record) {
			got[r.Partition] = append(got[r.Partition], int64(binary.BigEndian.Uint64(r.Value)))
			n++
		})
	}
	var want [txnPartitions][]int64
	for _, v := range slices.Sorted(slices.Values(x.sent)) {
		want[v%txnPartitions] = append(want[v%txnPartitions], v)
	}
	for p := range want {
		if !slices.Equal(got[p], want[p]) {
			t.Errorf("sink-%d holds %d values, %d were put in: %s", p, len(got[p]), len(want[p]), firstDifference(got[p], want[p]))
		}
	}
}

func firstDifference(got, want []int64) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("at %d stands %d, not %d; so often among all: %d", i, got[i], want[i],
				len(slices.DeleteFunc(slices.Clone(got), func(v int64) bool { return v != got[i] })))
		}
	}
	return fmt.Sprintf("the first %d are equal", min(len(got), len(want)))
}
