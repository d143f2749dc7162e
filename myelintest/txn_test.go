package myelintest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/myelintest"
)

// connect makes a client that is closed with the test.
func connect(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func withTopic(t *testing.T, c *kgo.Client, topic string, partitions int32) *kadm.Client {
	t.Helper()
	adm := kadm.NewClient(c)
	if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	return adm
}

// read polls until n records have come, and gives their values in order of
// partition and offset.
func read(t *testing.T, c *kgo.Client, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []string
	for len(got) < n {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	slices.Sort(got)
	return got
}

// TestTransactions commits and aborts transactions over three partitions; a
// consumer of committed records sees the former whole and nothing of the latter.
func TestTransactions(t *testing.T) {
	addr := myelintest.Start(t).Addr()
	p := connect(t, addr, kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	adm := withTopic(t, p, "orders", 3)
	c := connect(t, addr, kgo.ConsumeTopics("orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var want []string
	for i := range 6 {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		commit := i%3 != 1
		for part := range int32(3) {
			v := fmt.Sprintf("%d-%d", i, part)
			if commit {
				want = append(want, v)
			}
			p.Produce(t.Context(), &kgo.Record{Topic: "orders", Partition: part, Value: []byte(v)}, nil)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(i, err)
		}
	}
	slices.Sort(want)
	if got := read(t, c, len(want)); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	eventually(t, func() error {
		txns, err := adm.DescribeTransactions(t.Context(), "tx")
		if err != nil {
			return err
		}
		if d := txns["tx"]; d.Err != nil || d.State != "CompleteCommit" || len(d.Topics) != 0 {
			return fmt.Errorf("described as %+v", d)
		}
		return nil
	})
	ends, err := adm.ListEndOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	stable, err := adm.ListCommittedOffsets(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if s, _ := stable.Lookup(o.Topic, o.Partition); o.Offset != 12 || s.Offset != 12 {
			t.Errorf("partition %d ends at %d, is stable up to %d; six records and as many markers make 12", o.Partition, o.Offset, s.Offset)
		}
	})
}

// eventually asks the broker until it says what is expected.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestFencing: a second producer of a transactional id aborts what the first has
// open, and fences it.
func TestFencing(t *testing.T) {
	addr := myelintest.Start(t).Addr()
	first := connect(t, addr, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("t"))
	adm := withTopic(t, first, "t", 1)
	if err := errors.Join(first.BeginTransaction(), first.ProduceSync(t.Context(), kgo.StringRecord("lost")).FirstErr()); err != nil {
		t.Fatal(err)
	}
	if txns, err := adm.ListTransactions(t.Context(), nil, []string{"Ongoing"}); err != nil || !slices.Equal(txns.TransactionalIDs(), []string{"tx"}) {
		t.Fatal(txns, err)
	}
	second := connect(t, addr, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("t"))
	err := errors.Join(second.BeginTransaction(), second.ProduceSync(t.Context(), kgo.StringRecord("kept")).FirstErr(),
		second.EndTransaction(t.Context(), kgo.TryCommit))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.ProduceSync(t.Context(), kgo.StringRecord("late")).FirstErr(); !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("the first producer goes on writing: %v", err)
	}
	c := connect(t, addr, kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if got := read(t, c, 1); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("read %v", got)
	}
}

// TestOverdueTransaction: a transaction beyond its timeout is aborted, and does
// not hold back readers any more.
func TestOverdueTransaction(t *testing.T) {
	addr := myelintest.Start(t, myelintest.Property("transaction.abort.timed.out.transaction.cleanup.interval.ms", "50")).Addr()
	p := connect(t, addr, kgo.TransactionalID("tx"), kgo.TransactionTimeout(200*time.Millisecond), kgo.DefaultProduceTopic("t"))
	withTopic(t, p, "t", 1)
	if err := errors.Join(p.BeginTransaction(), p.ProduceSync(t.Context(), kgo.StringRecord("lost")).FirstErr()); err != nil {
		t.Fatal(err)
	}
	plain := connect(t, addr, kgo.DefaultProduceTopic("t"))
	if err := plain.ProduceSync(t.Context(), kgo.StringRecord("behind")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c := connect(t, addr, kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if got := read(t, c, 1); !slices.Equal(got, []string{"behind"}) {
		t.Errorf("read %v", got)
	}
	err := p.EndTransaction(t.Context(), kgo.TryCommit)
	if err == nil || strings.Contains(err.Error(), "context") {
		t.Errorf("the commit of a transaction that was aborted: %v", err)
	}
}
