package broker

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestFlushesOfATransaction has every sync of a log take a second, and of nothing
// else any time: so the seconds that a transaction takes are its flushes in
// series. From begin to seen by a parked reader of committed records there are
// four, and its EndTxn waits for one. It is the same for a transaction that comes
// right behind another.
func TestFlushesOfATransaction(t *testing.T) {
	onNode(t, "", func(s *stand) {
		p, c := s.transacting()
		defer c.Close()
		transact(s, p, c) // the producer gets its id, the topics are made
		s.fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, ".log") && !strings.Contains(op.Name, "__cluster_metadata") {
				v.Delay = time.Second
			}
			return v
		})
		defer s.fs.SetHook(nil)
		for i := range 3 {
			end, all := transact(s, p, c)
			if end < time.Second || end > 1100*time.Millisecond || all < 4*time.Second || all > 4200*time.Millisecond {
				s.Errorf("transaction %d: EndTxn took %v, begin to seen %v", i, end, all)
			}
		}
	})
}

// TestTraceOfATransaction writes down every sync of a log, each of which takes a
// second, from begin until the COMPLETE is durable: four rounds, of which the
// middle two and the last go to all partitions at once, lie between begin and
// seen. The COMPLETE comes behind them, and here its sync takes an hour: neither
// the answer to EndTxn nor the reader waits for it.
func TestTraceOfATransaction(t *testing.T) {
	onNode(t, "", func(s *stand) {
		p, c := s.transacting()
		defer c.Close()
		transact(s, p, c)
		s.pass(time.Second) // the COMPLETE of that one, and what else is due

		var mu sync.Mutex
		rounds := map[string][]string{}
		states, begin := 0, time.Now()
		s.fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			topic := path.Base(path.Dir(op.Name))
			if op.Kind != vfs.OpSync || !strings.HasSuffix(op.Name, ".log") || topic == "__cluster_metadata-0" {
				return v
			}
			mu.Lock()
			defer mu.Unlock()
			v.Delay = time.Second
			if strings.HasPrefix(topic, "__transaction_state") {
				topic = "state"
				if states++; states == 3 {
					v.Delay = time.Hour
				}
			}
			at := time.Since(begin).Truncate(100 * time.Millisecond).String()
			rounds[at] = append(rounds[at], topic)
			slices.Sort(rounds[at])
			return v
		})
		defer s.fs.SetHook(nil)
		end, all := transact(s, p, c)
		if end >= 1100*time.Millisecond || all >= 4200*time.Millisecond {
			s.Errorf("EndTxn took %v, begin to seen %v", end, all)
		}
		s.pass(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		want := map[string][]string{"0s": {"state"}, "1s": {"t-0", "t-1", "t-2"}, "2s": {"state"}, "3s": {"t-0", "t-1", "t-2"}, "4s": {"state"}}
		if !maps.EqualFunc(rounds, want, slices.Equal) {
			s.Errorf("syncs by when they begin: %v, want %v", rounds, want)
		}
	})
}

// transactor is a transactional producer that sends what a transaction writes in
// one request.
type transactor struct {
	s     *stand
	topic [16]byte
	id    int64
	epoch int16
}

// transacting makes a topic of three partitions, a transactional producer and a
// consumer of what is committed.
func (s *stand) transacting() (*transactor, *kgo.Client) {
	s.Helper()
	made, err := s.adm.CreateTopic(s.Context(), 3, 1, nil, "t")
	if err != nil {
		s.Fatal(err)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{"x"}
	ask[*kmsg.FindCoordinatorResponse](s, find) // makes the topic of transactions
	s.pass(time.Second)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = new("x"), 60_000
	got := ask[*kmsg.InitProducerIDResponse](s, req)
	s.want("InitProducerId", got.ErrorCode, int16(0))
	return &transactor{s, made.ID, got.ProducerID, got.ProducerEpoch},
		s.client(kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(time.Minute))
}

// produce writes ten records over three partitions.
func (p *transactor) produce() {
	p.s.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.TransactionID = -1, 60_000, new("x")
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = "t", p.topic
	for i, n := range []int{4, 3, 3} {
		build := record.Builder{Flags: record.Transactional, Producer: &record.Producer{ID: p.id, Epoch: p.epoch}}
		for range n {
			build.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
		}
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = int32(i), build.Bytes()
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	for _, part := range ask[*kmsg.ProduceResponse](p.s, req).Topics[0].Partitions {
		p.s.want("Produce", part.ErrorCode, int16(0))
	}
}

// commit ends the transaction and begins the next.
func (p *transactor) commit() {
	p.s.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "x", p.id, p.epoch, true
	got := ask[*kmsg.EndTxnResponse](p.s, req)
	p.s.want("EndTxn", got.ErrorCode, int16(0))
	p.id, p.epoch = got.ProducerID, got.ProducerEpoch
}

// transact runs a transaction and waits until the consumer has its records.
func transact(s *stand, p *transactor, c *kgo.Client) (end, all time.Duration) {
	s.Helper()
	begin := time.Now()
	p.produce()
	ending := time.Now()
	p.commit()
	end = time.Since(ending)
	for n := 0; n < 10; {
		fetches := c.PollFetches(s.Context())
		if err := fetches.Err(); err != nil {
			s.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	return end, time.Since(begin)
}

// TestConsumeProcessProduce copies a topic in transactions that hold the consumed
// offsets, of which one is rolled back: each record is copied once, in order.
func TestConsumeProcessProduce(t *testing.T) {
	onNode(t, "", func(s *stand) {
		s.create("in", "")
		s.create("out", "")
		for i := range 5 {
			if err := s.write("in", fmt.Sprint(i)); err != nil {
				s.Fatal(err)
			}
		}
		session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers("node1:9092"), kgo.Dialer(s.net.Host("client").Dial),
			kgo.TransactionalID("copy"), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"), kgo.DefaultProduceTopic("out"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err != nil {
			s.Fatal(err)
		}
		defer session.Close()
		ctx, cancel := context.WithTimeout(s.Context(), 5*time.Minute)
		defer cancel()
		for n, commits := 0, 0; n < 5; {
			fetches := session.PollRecords(ctx, 2)
			if err := fetches.Err(); err != nil {
				s.Fatal(err)
			}
			if err := session.Begin(); err != nil {
				s.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { session.Produce(ctx, &kgo.Record{Value: r.Value}, nil) })
			commits++
			committed, err := session.End(ctx, kgo.TransactionEndTry(commits != 2)) // the second is rolled back, and comes again
			if err != nil {
				s.Fatal(err)
			}
			if committed {
				n += fetches.NumRecords()
			}
		}
		c := s.client(kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		defer c.Close()
		var got []string
		for len(got) < 5 {
			fetches := c.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				s.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		s.want("copied", strings.Join(got, " "), "0 1 2 3 4")
		offsets, err := s.adm.FetchOffsets(ctx, "g")
		if err != nil {
			s.Fatal(err)
		}
		o, _ := offsets.Lookup("in", 0)
		s.want("committed offset", o.At, int64(5))
	})
}
