package broker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// coordinator waits until there is one, and gives its node.
func (c *cohort) coordinator(topic, key string, among ...*peerNode) (at *peerNode) {
	c.t.Helper()
	c.until("a coordinator of "+key, func() bool {
		t := among[0].metadata.Image().Topic(topic)
		if t == nil {
			return false
		}
		leader := t.Partition(kafka.CoordinatorPartition(key, int32(len(t.Partitions)))).Leader
		i := slices.IndexFunc(among, func(n *peerNode) bool { return n.id == leader })
		if i >= 0 {
			at = among[i]
		}
		return i >= 0
	})
	return at
}

// kill has a node lose its network for good, as a machine that dies does. Its
// process does not know that it is dead.
func (c *cohort) kill(n *peerNode) (rest []*peerNode) {
	host := fmt.Sprintf("node%d", n.id)
	c.net.Isolate(host, true)
	c.net.Crash(host)
	return slices.DeleteFunc(slices.Clone(c.nodes), func(o *peerNode) bool { return o == n })
}

// Transactions over partitions that all nodes lead: the coordinator's node dies
// while a transaction is open. What was committed is there once, what was aborted is not, and no transaction is left open.
func TestTransactionsOutliveTheirCoordinator(t *testing.T) {
	onThree(t, []string{"min.insync.replicas=2"}, func(c *cohort) {
		c.topic("t", 6, 3)
		p := c.client(kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
			kgo.TransactionTimeout(time.Minute))
		defer p.Close()
		var want []string
		round := 0
		transact := func(commit bool, middle func()) {
			c.t.Helper()
			round++
			if err := p.BeginTransaction(); err != nil {
				c.t.Fatal(err)
			}
			for i := range 12 {
				v := fmt.Sprintf("%d-%d", round, i)
				if commit {
					want = append(want, v)
				}
				p.Produce(c.t.Context(), kgo.StringRecord(v), func(_ *kgo.Record, err error) {
					if err != nil {
						c.t.Errorf("%s: %v", v, err)
					}
				})
				if i == 5 && middle != nil {
					if err := p.Flush(c.t.Context()); err != nil {
						c.t.Fatal(err)
					}
					middle()
				}
			}
			if err := p.Flush(c.t.Context()); err != nil {
				c.t.Fatal(err)
			}
			if err := p.EndTransaction(c.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
				c.t.Fatalf("transaction %d: %v", round, err)
			}
		}
		transact(true, nil)
		transact(false, nil)
		transact(true, nil)
		at := c.coordinator(kafka.TxnTopic, "x", c.nodes...)
		rest := c.nodes
		transact(true, func() { rest = c.kill(at) })
		transact(false, nil)
		transact(true, nil)
		c.noneOpen(rest, "t")
		c.committed("t", want)
	})
}

// A group whose coordinator's node dies goes on at another: what it has committed is
// there, and it reads the rest.
func TestGroupsOutliveTheirCoordinator(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			onThree(t, []string{"min.insync.replicas=2"}, func(c *cohort) { groupOutlives(c, protocol == "consumer") })
		})
	}
}

func groupOutlives(c *cohort, consumer bool) {
	c.topic("t", 6, 3)
	p := c.client(kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	defer p.Close()
	write := func(from, to int) (values []string) {
		for i := from; i < to; i++ {
			values = append(values, fmt.Sprint(i))
			if err := p.ProduceSync(c.t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
				c.t.Fatal(err)
			}
		}
		return values
	}
	want := write(0, 30)
	member := func() *kgo.Client {
		opts := []kgo.Opt{kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
			kgo.FetchMaxWait(500 * time.Millisecond)}
		if consumer {
			//lint:ignore SA1029 franz-go looks for this very string
			opts = append(opts, kgo.WithContext(context.WithValue(c.t.Context(), "opt_in_kafka_next_gen_balancer_beta", true)))
		}
		return c.client(opts...)
	}
	a := member()
	defer a.Close()
	got := sum{}
	read := func(m *kgo.Client, n int) {
		c.t.Helper()
		begun := time.Now()
		for have := 0; have < n; {
			if time.Since(begun) > 5*time.Minute {
				c.t.Fatalf("%d of %d records after 5 minutes", have, n)
			}
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
			have += got.take(m.PollFetches(ctx))
			cancel()
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
		defer cancel()
		if err := m.CommitUncommittedOffsets(ctx); err != nil {
			c.t.Fatal("commit:", err)
		}
	}
	read(a, 30)
	at := c.coordinator(kafka.OffsetsTopic, "g", c.nodes...)
	c.kill(at)
	want = append(want, write(30, 60)...)
	read(a, 30)
	got.want(c.t, want)

	adm := kadm.NewClient(p)
	offsets, err := adm.FetchOffsets(c.t.Context(), "g")
	if err != nil {
		c.t.Fatal(err)
	}
	total := int64(0)
	offsets.Each(func(o kadm.OffsetResponse) { total += o.At })
	if total != 60 {
		c.t.Errorf("%d offsets are committed", total)
	}
	described, err := adm.DescribeGroups(c.t.Context(), "g")
	if err == nil && !consumer && described["g"].State != "Stable" {
		c.t.Errorf("the group is %s", described["g"].State)
	}
}
