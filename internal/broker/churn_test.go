package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/share/persist"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

const (
	churnSegment   = 64 << 10
	churnRetention = 10 * time.Minute // of tombstones, markers, offsets, ids
)

var internalLogs = []string{kafka.OffsetsTopic, kafka.TxnTopic, kafka.ShareStateTopic}

// churner is a node whose coordinators are kept busy in false time.
type churner struct {
	*testing.T
	cfg  Config
	b    *Broker
	stop func()

	topic    kafka.UUID // of t, which has three partitions
	round    int
	consumer int32 // epoch of the consumer group's member that stays
}

func newChurner(t *testing.T) *churner {
	c := &churner{T: t, cfg: memory(t, "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1",
		"share.coordinator.state.topic.num.partitions=1",
		fmt.Sprint("log.cleaner.delete.retention.ms=", churnRetention.Milliseconds()), "log.cleaner.backoff.ms=5000",
		"offsets.retention.minutes=10", "offsets.retention.check.interval.ms=60000",
		fmt.Sprint("transactional.id.expiration.ms=", churnRetention.Milliseconds()), "transaction.remove.expired.transaction.cleanup.interval.ms=60000",
		fmt.Sprint("producer.id.expiration.ms=", churnRetention.Milliseconds()), "log.retention.check.interval.ms=60000",
		"group.initial.rebalance.delay.ms=0", "group.streams.initial.rebalance.delay.ms=0",
		"share.coordinator.snapshot.update.records.per.snapshot=50", "share.coordinator.state.topic.prune.interval.ms=60000")}
	c.start()
	req := msg.NewCreateTopicsRequest()
	req.Topics = []msg.CreateTopicsRequestTopic{{Name: "t", NumPartitions: 3, ReplicationFactor: 1}}
	c.b.metadata.CreateTopics(t.Context(), &req)
	c.b.metadata.AutoCreate(t.Context(), internalLogs)
	c.settle()
	c.smallSegments()
	c.topic = c.b.metadata.Image().Topic("t").ID
	return c
}

// start opens the node, again after the first time, and waits until its
// coordinators have loaded.
func (c *churner) start() {
	c.cfg.Listen = memnet.New().Host("node1").Listen
	b, err := Open(c.cfg)
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-b.Ready()
	c.settle()
	c.cfg.Format = false
	c.b, c.stop = b, func() {
		cancel()
		if err := <-done; err != nil {
			c.Error(err)
		}
	}
}

// smallSegments makes segments smaller than segment.bytes may be.
func (c *churner) smallSegments() {
	c.Helper()
	for _, topic := range internalLogs {
		r, err := c.b.replicas.Get(topic, 0)
		c.mustNot(err)
		set := r.Config()
		set.Log.SegmentBytes = churnSegment
		r.SetConfig(set)
	}
}

// settle lets logs open and coordinators load.
func (c *churner) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func (c *churner) must(what string, code int16) {
	c.Helper()
	if code != 0 {
		c.Fatalf("round %d: %s: %s", c.round, what, kafka.Code(code).Name())
	}
}

func offsetsOfT(at int) []msg.OffsetCommitRequestTopic {
	topic := msg.OffsetCommitRequestTopic{Name: "t"}
	for p := range int32(3) {
		topic.Partitions = append(topic.Partitions, msg.OffsetCommitRequestTopicPartition{PartitionIndex: p, CommittedOffset: int64(at), CommittedLeaderEpoch: -1,
			CommittedMetadata: new("")})
	}
	return []msg.OffsetCommitRequestTopic{topic}
}

func (c *churner) commit(group string, at int) {
	c.Helper()
	req := msg.NewOffsetCommitRequest()
	req.GroupID, req.Topics = group, offsetsOfT(at)
	c.must("commit", c.b.groups.OffsetCommit(c.Context(), asChurner(9), &req).Topics[0].Partitions[0].ErrorCode)
}

func asChurner(version int16) group.Client {
	return group.Client{ID: "churn", Host: "/127.0.0.1", Version: version}
}

// transact commits offsets in a transaction of an id, or rolls them back.
func (c *churner) transact(id string, commit bool) {
	c.Helper()
	begin := msg.NewInitProducerIDRequest()
	begin.TransactionalID, begin.TransactionTimeoutMs = &id, 60_000
	p := c.b.txns.InitProducerID(c.Context(), &begin)
	for p.ErrorCode == int16(kafka.ConcurrentTransactions) {
		time.Sleep(time.Millisecond)
		p = c.b.txns.InitProducerID(c.Context(), &begin)
	}
	c.must("begin", p.ErrorCode)
	req := msg.NewTxnOffsetCommitRequest()
	req.TransactionalID, req.GroupID, req.ProducerID, req.ProducerEpoch = id, "copier", p.ProducerID, p.ProducerEpoch
	topic := msg.TxnOffsetCommitRequestTopic{Name: "t"}
	topic.Partitions = append(topic.Partitions, msg.TxnOffsetCommitRequestTopicPartition{PartitionIndex: 1, CommittedOffset: int64(c.round), CommittedLeaderEpoch: -1,
		CommittedMetadata: new("")})
	req.Topics = append(req.Topics, topic)
	c.must("commit in a transaction", c.b.groups.TxnOffsetCommit(c.Context(), asChurner(5), &req).Topics[0].Partitions[0].ErrorCode)
	end := msg.NewEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Committed = id, p.ProducerID, p.ProducerEpoch, commit
	c.must("end", c.b.txns.EndTxn(c.Context(), &end, 5).ErrorCode)
}

// classicMember joins a classic group alone, and leaves it.
func (c *churner) classicMember() {
	c.Helper()
	req := msg.NewJoinGroupRequest()
	req.GroupID, req.SessionTimeoutMs, req.RebalanceTimeoutMs, req.ProtocolType = "classic", 10_000, 10_000, "consumer"
	req.Protocols = []msg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0}}}
	j := c.b.groups.Join(c.Context(), asChurner(3), &req)
	c.must("join", j.ErrorCode)
	sync := msg.NewSyncGroupRequest()
	sync.GroupID, sync.MemberID, sync.GenerationID = "classic", j.MemberID, j.GenerationID
	sync.Assignments = []msg.SyncGroupRequestAssignment{{MemberID: j.MemberID, Assignment: []byte("x")}}
	c.must("sync", c.b.groups.Sync(c.Context(), asChurner(3), &sync).ErrorCode)
	leave := msg.NewLeaveGroupRequest()
	leave.GroupID, leave.Members = "classic", []msg.LeaveGroupRequestMember{{MemberID: j.MemberID}}
	c.must("leave", c.b.groups.Leave(c.Context(), asChurner(3), &leave).ErrorCode)
}

// consumerBeat is a heartbeat in the consumer group; -1 leaves.
func (c *churner) consumerBeat(member string, epoch int32) int32 {
	c.Helper()
	req := msg.NewConsumerGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "consumer", member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMs, req.SubscribedTopicNames, req.TopicPartitions = 60_000, []string{"t"}, []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	}
	resp := c.b.groups.ConsumerGroupHeartbeat(c.Context(), asChurner(1), &req, nil)
	c.must("beat", resp.ErrorCode)
	return resp.MemberEpoch
}

func (c *churner) streamsBeat(member string, epoch int32) {
	c.Helper()
	req := msg.NewStreamsGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "streams", member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMs, req.ProcessID = 60_000, new("process of "+member)
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = []msg.StreamsGroupHeartbeatRequestTaskID{}, []msg.StreamsGroupHeartbeatRequestTaskID{}, []msg.StreamsGroupHeartbeatRequestTaskID{}
		req.Topology = &msg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []msg.StreamsGroupHeartbeatRequestTopologySubtopology{{SubtopologyID: "0", SourceTopics: []string{"t"}}}}
	}
	resp, _ := c.b.groups.StreamsGroupHeartbeat(c.Context(), asChurner(0), &req)
	c.must("streams beat", resp.ErrorCode)
}

func (c *churner) shareBeat(member string, epoch int32) {
	c.Helper()
	req := msg.NewShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "share", member, epoch
	if epoch == 0 {
		req.SubscribedTopicNames = []string{"t"}
	}
	c.must("share beat", c.b.groups.Shares().Heartbeat(c.Context(), asChurner(1), &req).ErrorCode)
}

// shareState moves on the state of share partitions, of groups that live and of
// one that lives for a round.
func (c *churner) shareState(writes int) {
	c.Helper()
	state := persist.Coordinator{Service: c.b.shareState}
	passing := share.Key{Group: fmt.Sprint("passing-", c.round), TopicID: c.topic}
	keys := []share.Key{passing, {Group: "stays", TopicID: c.topic}, {Group: "stays", TopicID: c.topic, Partition: 1}}
	if c.round == 0 {
		for p := range int32(2) {
			c.mustNot(state.Initialize(c.Context(), share.Key{Group: "stays", TopicID: c.topic, Partition: p}, 0, 0))
		}
		c.mustNot(state.Initialize(c.Context(), share.Key{Group: "idle", TopicID: c.topic, Partition: 2}, 0, 17))
	}
	c.mustNot(state.Initialize(c.Context(), passing, 0, 0))
	for i := range writes {
		for _, k := range keys {
			at := int64(c.round*writes + i)
			c.mustNot(state.Write(c.Context(), k, share.Update{StartOffset: at, DeliveryComplete: 2,
				Batches: []share.Batch{{First: at, Last: at + 3, Count: 1}, {First: at + 4, Last: at + 5, State: 2, Count: 2}}}))
		}
	}
	c.mustNot(state.Delete(c.Context(), passing))
}

func (c *churner) mustNot(err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("round %d: %v", c.round, err)
	}
}

// churn is a minute in which everybody is busy.
func (c *churner) churn() {
	c.Helper()
	for i := range 20 {
		c.commit(fmt.Sprint("steady-", i), c.round)
	}
	for i := range 5 { // groups that are used once
		c.commit(fmt.Sprintf("once-%d-%d", c.round, i), c.round)
	}
	for i := range 10 {
		c.transact(fmt.Sprint("copier-", i), i%3 != 0)
	}
	c.transact(fmt.Sprint("once-", c.round), true)
	for range 3 {
		c.classicMember()
	}
	if c.round%2 == 0 {
		member := fmt.Sprint("m-", c.round)
		c.consumerBeat(member, 0)
		c.consumerBeat(member, -1)
		c.streamsBeat(member, 0)
		c.streamsBeat(member, -1)
		c.shareBeat(member, 0)
		c.shareBeat(member, -1)
	}
	c.shareState(20)
	c.round++
	for range 2 { // the member that stays has a session of 45 s
		time.Sleep(30 * time.Second)
		c.consumer = c.consumerBeat("stays", c.consumer)
	}
}

// log is what a partition holds, as far as its bound is about it.
type churnedLog struct {
	size    int64 // bytes
	records int64 // that were ever written
	live    int64 // bytes of the last record of each key, each in a batch of its own
	recent  int64 // bytes of tombstones and markers that must not go yet
	writers int64 // producers whose last batch stays
}

func (c *churner) log(topic string) (l churnedLog) {
	c.Helper()
	r, err := c.b.replicas.Get(topic, 0)
	c.mustNot(err)
	l.size, l.records = r.Size(), r.LogEnd()
	l.writers = int64(len(r.Producers()))
	type last struct {
		bytes int64
		dead  bool
		at    int64
	}
	keys := map[string]last{}
	for at := r.LogStart(); ; {
		batches, next, err := r.Batches(at, 1<<20, replica.ReadAll)
		c.mustNot(err)
		if len(batches) == 0 {
			break
		}
		for len(batches) > 0 {
			n := record.Size(batches)
			h, err := record.ParseHeader(batches)
			c.mustNot(err)
			var in record.Reader
			for in.Reset(batches[:n], record.DefaultLimit); in.Next(); {
				one := last{bytes: int64(record.HeaderSize + 16 + len(in.Record().Key) + len(in.Record().Value)), dead: in.Record().Value == nil, at: h.MaxTimestamp}
				key := string(in.Record().Key)
				if h.Attributes.Has(record.Control) {
					one.dead, key = true, fmt.Sprint("marker ", h.BaseOffset)
				}
				keys[key] = one
			}
			in.Release()
			batches = batches[n:]
		}
		at = next
	}
	now := time.Now().UnixMilli()
	for _, k := range keys {
		switch {
		case !k.dead:
			l.live += k.bytes
		case now-k.at < 2*churnRetention.Milliseconds():
			l.recent += k.bytes
		}
	}
	return l
}

// picture is all that the coordinators know, as text.
func (c *churner) picture() string {
	c.Helper()
	var lines []string
	show := func(what string, v any) {
		text, err := json.Marshal(v)
		c.mustNot(err)
		lines = append(lines, what+" "+string(text))
	}
	c.b.groups.Walk(func(g *group.Seen) {
		slices.SortFunc(g.Offsets, func(x, y group.SeenOffset) int { return x.TopicPartition.Compare(y.TopicPartition) })
		show("group", g)
		switch g.Kind {
		case kind.Consumer:
			show("consumer", c.b.groups.ConsumerGroupDescribe(c.Context(), []string{g.ID}))
		case kind.Share:
			show("share", c.b.groups.Shares().Describe(c.Context(), g.ID))
		case kind.Streams:
			show("streams", c.b.groups.StreamsGroupDescribe(c.Context(), []string{g.ID}, false))
		}
	})
	list := msg.NewListTransactionsRequest()
	for _, id := range c.b.txns.List(c.Context(), &list).TransactionStates {
		show("transaction", c.b.txns.Describe(id.TransactionalID))
	}
	c.b.shareState.Walk(func(s *persist.Seen) {
		state, err := c.b.shareState.Read(c.Context(), s.Key, 0)
		c.mustNot(err)
		show("share partition "+s.Key.String(), state)
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// reload ends the node and starts another on what it left, which must know the
// same.
func (c *churner) reload() {
	c.Helper()
	time.Sleep(20 * time.Second) // to an instant at which nothing expires
	before := c.picture()
	c.stop()
	c.start()
	c.smallSegments()
	if after := c.picture(); after != before {
		haves, wants := strings.Split(after, "\n"), strings.Split(before, "\n")
		for _, l := range haves {
			if !slices.Contains(wants, l) {
				c.Errorf("round %d: only after a new start: %s", c.round, l)
			}
		}
		for _, l := range wants {
			if !slices.Contains(haves, l) {
				c.Errorf("round %d: only before a new start: %s", c.round, l)
			}
		}
	}
}

// TestInternalTopicsStayBounded has groups of every kind commit and come and go,
// transactions run and share state move on, for hours of false time, while the
// cleaner runs. The three internal topics must not grow with what was ever
// written, but with what lives; a node that starts on what is left of them knows
// all that its predecessor knew; and when all is idle and has expired, next to
// nothing is left.
func TestInternalTopicsStayBounded(t *testing.T) {
	rounds := 240
	if testing.Short() {
		rounds = 90
	}
	synctest.Test(t, func(t *testing.T) {
		c := newChurner(t)
		defer func() { c.stop() }()
		c.consumer = c.consumerBeat("stays", 0)
		for range rounds {
			c.churn()
			if c.round%30 == 0 {
				c.bounded("busy")
			}
		}
		c.reload()
		c.expire()
		c.bounded("expired")
		c.reload()
	})
}

// expire lets all but one group, one transactional id and one share partition be
// idle until they have expired, while these go on: their records push the
// tombstones of the others into segments that are cleaned.
func (c *churner) expire() {
	c.Helper()
	c.consumerBeat("stays", -1)
	for range 10 {
		for i := range 200 {
			c.commit("steady-0", i)
			if i%4 == 0 {
				c.transact("copier-0", true)
			}
		}
		c.shareState(100)
		c.round++
		time.Sleep(churnRetention / 2)
	}
	var groups []string
	c.b.groups.Walk(func(g *group.Seen) { groups = append(groups, g.ID) })
	slices.Sort(groups)
	if want := []string{"copier", "share", "steady-0"}; !slices.Equal(groups, want) {
		c.Errorf("groups %v are left, want %v", groups, want)
	}
	if n := c.b.txns.Standing().IDs; n != 1 {
		c.Errorf("%d transactional ids are left", n)
	}
	for topic, keys := range map[string]int64{kafka.OffsetsTopic: 8, kafka.TxnTopic: 2, kafka.ShareStateTopic: 8} {
		if l := c.log(topic); l.live > keys*300 {
			c.Errorf("%s has %d bytes that live, of %d keys at most", topic, l.live, keys)
		}
	}
}

// bounded holds the sizes against what must be kept: a log is cleaned when half
// of it is not clean yet, and its last segment is not touched.
func (c *churner) bounded(when string) {
	c.Helper()
	for _, topic := range internalLogs {
		l := c.log(topic)
		most := 2*(l.live+l.recent+160*l.writers) + 2*churnSegment
		c.Logf("%s, round %d: %s has %d bytes after %d records; live %d, recent tombstones %d, %d producers: at most %d", when, c.round, topic,
			l.size, l.records, l.live, l.recent, l.writers, most)
		if l.size > most {
			c.Errorf("%s, round %d: %s has %d bytes, %d are allowed", when, c.round, topic, l.size, most)
		}
	}
}

// TestProducerProperties shows when a partition forgets a producer.
func TestProducerProperties(t *testing.T) {
	known := func(s *stand) int {
		s.Helper()
		p := kmsg.NewDescribeProducersRequestTopic()
		p.Topic, p.Partitions = "t", []int32{0}
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = append(req.Topics, p)
		return len(ask[*kmsg.DescribeProducersResponse](s, req).Topics[0].Partitions[0].ActiveProducers)
	}
	showAll(t, []nodeEffect{
		{"producer.id.expiration.ms=60000 log.retention.check.interval.ms=1000", func(s *stand) {
			s.create("t", "")
			p := inits(s, s.cl, 30_000)
			s.wantErr("produce", producesInTxn(s, s.cl, p.ProducerID, p.ProducerEpoch, 0), nil)
			s.wantErr("end", ends(s, s.cl, p.ProducerID, p.ProducerEpoch), nil)
			s.pass(58 * time.Second)
			s.want("in time", known(s), 1)
			s.pass(4 * time.Second)
			s.want("later", known(s), 0)
		}},
	})
}
