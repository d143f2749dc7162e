package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Rows of issue 5: transactions and groups.

// txnRest is how long a producer rests between two transactions: both brokers
// have written by then that the last is complete.
const txnRest = 10 * time.Millisecond

// serialFlushes is how many flushes a transaction may wait for, one after the
// other; internal/broker counts them in a test.
const serialFlushes = 4

func txnRows() []*row {
	l := load{conns: 2, window: 1, partitions: int32(len(txnShape)), acks: -1, batch: batchSpec{size: len(txnBatch(4)), record: txnRecord}}
	of := func(id, work string, seen, end []limit) *row {
		return &row{id: id, work: work, load: l, latency: true, probe: "sync",
			metrics: []metric{{"begin to seen p50", "us", seen}, {"EndTxn p50", "us", end}, {"Produce p50", "us", nil}, {"begin to seen p99", "us", nil}},
			measure: measureTxns, floor: txnFloor}
	}
	asKafka := atMost(1.0, "kafka")
	asKafka.or = &limit{of: "floor", factor: 1.4}
	synced := of("T1-flush", "the same; Kafka with flush.messages=1 everywhere", []limit{atMost(0.4, "kafka")}, nil)
	synced.peerConfigs = []string{"flush.messages", "1"}
	synced.peerState = true
	return []*row{
		of("T1", "transaction (TV2), 10 records over 3 partitions", []limit{atMost(1.0, "kafka")}, []limit{asKafka}),
		synced,
		heartbeatRow(),
	}
}

// measureTxns gives p50 from begin to seen, of EndTxn alone, of the Produce before
// it, and p99 to seen.
func measureTxns(ctx context.Context, s *session, to target, topic string) ([]float64, error) {
	id := "bench-" + s.tag
	if !s.transacted[to.name] { // a JVM compiles what is used often
		s.transacted[to.name] = true
		d := time.Second
		if to.name == "kafka" {
			d = s.span(20 * time.Second)
		}
		if _, err := (transactions{d: d}).run(ctx, to, id, topic); err != nil {
			return nil, fmt.Errorf("warming: %w", err)
		}
	}
	got, err := transactions{d: s.span(3 * time.Second), rest: txnRest}.run(ctx, to, id, topic)
	if err != nil {
		return nil, err
	}
	seen := percentiles(got.seen)
	return []float64{seen[0], percentiles(got.end)[0], percentiles(got.write)[0], seen[1]}, nil
}

// txnFloor is what the disk takes for as many flushes as a transaction waits for,
// for that of its EndTxn, which is the third, and for the two of its Produce. They
// come at the row's pace, since a disk and a processor that rested are slower.
func txnFloor(ctx context.Context, s *session) ([]float64, error) {
	f, err := os.CreateTemp(s.dir, "paced-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var all, end, write []time.Duration
	block := make([]byte, 4<<10)
	for begin, at := time.Now(), int64(0); time.Since(begin) < s.span(1500*time.Millisecond); {
		if err := pause(ctx, txnRest); err != nil {
			return nil, err
		}
		var done [serialFlushes + 1]time.Time
		done[0] = time.Now()
		for i := range serialFlushes {
			if _, err := f.WriteAt(block, at); err != nil {
				return nil, err
			}
			at += int64(len(block))
			if err := fdatasync(f); err != nil {
				return nil, err
			}
			done[i+1] = time.Now()
		}
		all = append(all, done[serialFlushes].Sub(done[0]))
		write = append(write, done[2].Sub(done[0]))
		end = append(end, done[3].Sub(done[2]))
	}
	series := percentiles(all)
	return []float64{series[0], percentiles(end)[0], percentiles(write)[0], series[1]}, nil
}

// syncState has the peer flush its topic of transactions after each batch, or
// takes that back.
func syncState(ctx context.Context, to target, on bool) error {
	c, err := dial(ctx, to.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{"bench"}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "__transaction_state"
	set, each := kmsg.NewIncrementalAlterConfigsRequestResourceConfig(), "1"
	set.Name, set.Op, set.Value = "flush.messages", kmsg.IncrementalAlterConfigOpSet, &each
	if !on {
		set.Op, set.Value = kmsg.IncrementalAlterConfigOpDelete, nil
	}
	r.Configs = append(r.Configs, set)
	req.Resources = append(req.Resources, r)
	for {
		if _, err := c.call(find, 4); err != nil { // makes the topic, a moment later
			return err
		}
		resp, err := c.call(req, 1)
		if err != nil {
			return err
		}
		code := resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
		if code != kerr.UnknownTopicOrPartition.Code {
			return kerr.ErrorForCode(code)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
