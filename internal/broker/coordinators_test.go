package broker

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// quickGroups are settings under which groups form soon, on internal topics of a few
// partitions.
var quickGroups = []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
	"share.coordinator.state.topic.num.partitions=3"}

// alone has one replica of everything: who leads has it to itself.
var alone = []string{"offsets.topic.replication.factor=1", "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
	"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1"}

// onThree runs f on a cluster of three nodes.
func onThree(t *testing.T, settings []string, f func(c *cohort)) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t, append(settings, quickGroups...)...)
		defer func() {
			for _, n := range c.nodes {
				n.stop()
			}
			for _, n := range c.nodes {
				<-n.done
			}
		}()
		f(c)
	})
}

// dial is how clients reach nodes; of one that is dead they do not hear.
func (c *cohort) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return c.net.Host("client").Dial(ctx, network, addr)
}

// client makes a client that may ask any node.
func (c *cohort) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers("node1:9092", "node2:9092", "node3:9092"), kgo.Dialer(c.dial),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.RetryTimeout(2 * time.Minute)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// topic makes a topic of which each node leads as many partitions as the others.
func (c *cohort) topic(name string, partitions int32, factor int16) {
	c.t.Helper()
	if code := c.create(c.nodes[0], name, partitions, factor); code != kafka.None {
		c.t.Fatal(code)
	}
	c.until("all have "+name, func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *peerNode) bool { return n.metadata.Image().Topic(name) == nil })
	})
}

// led checks how many nodes lead partitions of a topic.
func (c *cohort) led(topic string, want int) {
	c.t.Helper()
	leaders := map[int32]bool{}
	for _, p := range c.nodes[0].metadata.Image().Topic(topic).Partitions {
		leaders[p.Leader] = true
	}
	if len(leaders) != want {
		c.t.Fatalf("%d nodes lead %s: this shows nothing", len(leaders), topic)
	}
}

// until waits for something that has to come.
func (c *cohort) until(what string, is func() bool) {
	c.t.Helper()
	for range 1200 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatalf("it does not come: %s", what)
}

// sum counts values.
type sum map[string]int

func (s sum) take(f kgo.Fetches) (n int) {
	f.EachRecord(func(r *kgo.Record) { s[string(r.Value)]++; n++ })
	return n
}

// want checks that there is each of the values as often as in the list, and nothing
// else.
func (s sum) want(t *testing.T, values []string) {
	t.Helper()
	want := sum{}
	for _, v := range values {
		want[v]++
	}
	if !maps.Equal(s, want) {
		t.Errorf("read %v, want %v", s, want)
	}
}

// Everything has one replica, spread over three nodes. A copier reads a topic and
// writes another in transactions with the offsets it read: partitions ask coordinators
// at other nodes, markers go to all three, and each record is copied once.
func TestCopyAcrossNodes(t *testing.T) {
	onThree(t, alone, func(c *cohort) {
		c.topic("in", 6, 1)
		c.topic("out", 6, 1)
		c.led("out", 3)
		w := c.client(kgo.DefaultProduceTopic("in"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		defer w.Close()
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprint(i))
			if err := w.ProduceSync(c.t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
				c.t.Fatal(err)
			}
		}
		for i := range 3 { // of three ids and groups the coordinators are not all at one node
			c.copy(fmt.Sprintf("copier-%d", i), 20)
		}
		c.noneOpen(c.nodes, "out")
		c.committed("out", append(append(slices.Clone(want), want...), want...))
	})
}

// copy copies topic in to out as a group of its own, in transactions of which every
// third is rolled back.
func (c *cohort) copy(id string, atOnce int) {
	c.t.Helper()
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers("node1:9092", "node2:9092", "node3:9092"), kgo.Dialer(c.dial),
		kgo.TransactionalID(id), kgo.ConsumerGroup(id), kgo.ConsumeTopics("in"), kgo.DefaultProduceTopic("out"),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	for n, round := 0, 0; n < 60; round++ {
		f := session.PollRecords(ctx, atOnce)
		if err := f.Err(); err != nil {
			c.t.Fatalf("%s has %d: %v", id, n, err)
		}
		if err := session.Begin(); err != nil {
			c.t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) { session.Produce(ctx, &kgo.Record{Value: r.Value}, nil) })
		committed, err := session.End(ctx, kgo.TransactionEndTry(round%3 != 1))
		if err != nil {
			c.t.Fatal(err)
		}
		if committed {
			n += f.NumRecords()
		}
	}
}

// noneOpen waits until readers of what is committed see as much as others.
func (c *cohort) noneOpen(nodes []*peerNode, topic string) {
	c.t.Helper()
	c.until("the end of all transactions", func() bool {
		img := nodes[0].metadata.Image()
		for i := range img.Topic(topic).Partitions {
			leader := img.Topic(topic).Partition(int32(i)).Leader
			at := slices.IndexFunc(nodes, func(n *peerNode) bool { return n.id == leader })
			if at < 0 {
				return false
			}
			var ends [2]int64
			for isolation := range int8(2) {
				req, resp := msg.NewListOffsetsRequest(), msg.NewListOffsetsResponse()
				req.ReplicaID, req.IsolationLevel = -1, isolation
				req.Topics = []msg.ListOffsetsRequestTopic{{Name: topic, Partitions: []msg.ListOffsetsRequestTopicPartition{
					{PartitionIndex: int32(i), CurrentLeaderEpoch: -1, Timestamp: kafka.LatestTimestamp}}}}
				c.call(nodes[at], &req, &resp, 7)
				if resp.Topics[0].Partitions[0].ErrorCode != 0 {
					return false
				}
				ends[isolation] = resp.Topics[0].Partitions[0].Offset
			}
			if ends[0] != ends[1] {
				return false
			}
		}
		return true
	})
}

// committed reads a topic and checks that there is each value once.
func (c *cohort) committed(topic string, want []string) {
	c.t.Helper()
	r := c.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer r.Close()
	got := sum{}
	for n := 0; n < len(want); {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
		f := r.PollFetches(ctx)
		cancel()
		if err := ctx.Err(); f.Err0() != nil && err != nil && f.NumRecords() == 0 {
			c.t.Errorf("%d of %d records: %v", n, len(want), f.Err0())
			break
		}
		n += got.take(f)
	}
	got.want(c.t, want)
}

// A share group reads partitions of all nodes. What became of its records is kept by
// share coordinators elsewhere, and what it rejects goes to a topic whose partitions
// others lead: each record is accepted or in a letter, once.
func TestShareGroupAcrossNodes(t *testing.T) {
	onThree(t, alone, func(c *cohort) {
		c.topic("t", 6, 1)
		c.create(c.nodes[0], "dlq.g", 2, 1)
		w := c.client(kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		defer w.Close()
		c.set(w, kmsg.ConfigResourceTypeTopic, "dlq.g", "errors.deadletterqueue.group.enable=true")
		c.set(w, kmsg.ConfigResourceTypeGroupConfig, "g", "share.auto.offset.reset=earliest")
		c.set(w, kmsg.ConfigResourceTypeGroupConfig, "g", "errors.deadletterqueue.topic.name=dlq.g")
		c.set(w, kmsg.ConfigResourceTypeGroupConfig, "g", "errors.deadletterqueue.copy.record.enable=true")
		var accepted, rejected []string
		write := func(from, to int) {
			for i := from; i < to; i++ {
				if i%5 == 0 {
					rejected = append(rejected, fmt.Sprint(i))
				} else {
					accepted = append(accepted, fmt.Sprint(i))
				}
				if err := w.ProduceSync(c.t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
					c.t.Fatal(err)
				}
			}
		}
		got := sum{}
		write(0, 60)
		c.share(got, 60)
		write(60, 90)
		c.share(got, 30) // another member begins where the first has ended
		got.want(c.t, accepted)
		c.committed("dlq.g", rejected)
	})
}

// share has a member of group g take n records, of which it rejects each fifth.
func (c *cohort) share(got sum, n int) {
	c.t.Helper()
	m := c.client(kgo.ConsumeTopics("t"), kgo.ShareGroup("g"), kgo.FetchMaxWait(200*time.Millisecond))
	defer m.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	for n > 0 {
		f := m.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("%d records do not come: %v", n, f.Err())
		}
		f.EachRecord(func(r *kgo.Record) {
			n--
			var i int
			fmt.Sscan(string(r.Value), &i)
			if i%5 == 0 {
				m.MarkAcks(kgo.AckReject, r)
				return
			}
			got[string(r.Value)]++
			m.MarkAcks(kgo.AckAccept, r)
		})
	}
	if err := m.FlushAcks(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// set sets one property.
func (c *cohort) set(cl *kgo.Client, kind kmsg.ConfigResourceType, name, kv string) {
	c.t.Helper()
	k, v, _ := strings.Cut(kv, "=")
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	one.Name, one.Value = k, &v
	r.Configs = append(r.Configs, one)
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(c.t.Context(), cl)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		c.t.Fatalf("%s of %s: %v, %+v", kv, name, err, resp)
	}
}
