package myelintest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/myelintest"
)

// TestThreeNodes writes through a killed leader, a paused one and one that is cut
// off: each record that was acknowledged is read in the end, once.
func TestThreeNodes(t *testing.T) {
	c := myelintest.Start(t, myelintest.Nodes(3))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.DefaultProduceTopic("orders"),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.ProduceRequestTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	create(ctx, t, cl)
	n := 0
	write := func(what string) {
		t.Helper()
		for range 5 {
			done := make(chan error, 1)
			cl.Produce(ctx, kgo.StringRecord(fmt.Sprint(n)), func(_ *kgo.Record, err error) { done <- err })
			select {
			case err := <-done:
				if err != nil {
					t.Fatalf("%s: record %d: %v", what, n, err)
				}
			case <-ctx.Done():
				t.Fatalf("%s: record %d is not acknowledged", what, n)
			}
			n++
		}
	}
	write("three nodes")
	leader := func() int {
		t.Helper()
		topics, err := kadm.NewClient(cl).ListTopics(ctx, "orders")
		if err != nil {
			t.Fatal(err)
		}
		return int(topics["orders"].Partitions[0].Leader)
	}
	whole := func() { t.Helper(); wholeAgain(ctx, t, cl) }
	first := leader()
	c.Kill(first)
	write("leader killed")
	c.Restart(first)
	write("leader back")
	whole()
	second := leader()
	c.Pause(second)
	write("leader paused")
	c.Resume(second)
	whole()
	third := leader()
	c.Partition(third)
	write("leader cut off")
	c.Heal()
	whole()
	c.SlowDisk(1, 20*time.Millisecond)
	write("slow disk")
	again(t, c.Addr(), n)
}

// create makes the topic once three brokers are in service for the controller: a
// node is ready a moment before that.
func create(ctx context.Context, t *testing.T, cl *kgo.Client) {
	t.Helper()
	persist(ctx, t, "the topic", func() error {
		got, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 3, nil, "orders")
		return errors.Join(err, got.Err)
	})
}

// wholeAgain waits until all three replicas are in sync, so that one may go.
func wholeAgain(ctx context.Context, t *testing.T, cl *kgo.Client) {
	t.Helper()
	persist(ctx, t, "replicas in sync", func() error {
		topics, err := kadm.NewClient(cl).ListTopics(ctx, "orders")
		if err == nil && len(topics["orders"].Partitions[0].ISR) != 3 {
			err = fmt.Errorf("%+v", topics["orders"].Partitions)
		}
		return err
	})
}

// persist tries until it succeeds or ctx ends.
func persist(ctx context.Context, t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
