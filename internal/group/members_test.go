package group

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// crowdOf is a service whose groups have many members; its log keeps nothing, so
// that only what the coordinator has is weighed.
type crowdOf struct {
	*testing.T
	s *Service
}

const (
	crowdGroups  = 5
	crowdMembers = 60
)

// sink is a log that forgets.
type sink struct{ end int64 }

func (l *sink) Append(_ int32, batch []byte) (int64, error) {
	h, err := record.Check(batch)
	l.end += int64(h.LastOffsetDelta) + 1
	return l.end, err
}
func (l *sink) Committed(_ int64, done func(error))    { done(nil) }
func (l *sink) Read(from int64) ([]byte, int64, error) { return nil, from, nil }

// states is a share coordinator that agrees to all.
type states struct{}

func (states) Initialize(context.Context, SharePartition, int32, int64) error { return nil }
func (states) Summary(context.Context, SharePartition) (ShareSummary, error) {
	return ShareSummary{}, nil
}
func (states) Delete(context.Context, SharePartition) error { return nil }
func (states) Text(err error) (kafka.Code, *string)         { return kafka.CodeOf(err), nil }

// wide is a topic with two partitions for each member.
func wide(t testing.TB) func() kind.Topics {
	d := cluster.NewDelta(cluster.Empty("c"))
	id := kafka.UUID{15: 1}
	for _, r := range []state.Record{&state.TopicRecord{Name: "t", TopicID: id}} {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	for p := range int32(2 * crowdMembers) {
		if err := d.Replay(&state.PartitionRecord{PartitionID: p, TopicID: id, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}); err != nil {
			t.Fatal(err)
		}
	}
	img := d.Apply(1, 1)
	return TopicsOf(func() *cluster.Image { return img })
}

// What a member costs beside what its group does, when it has two partitions. The
// figures stand in docs/performance.md.
func TestMemoryOfMembers(t *testing.T) {
	for _, k := range []struct {
		name string
		most int
		beat func(c *crowdOf, group, member string, epoch int32) int32
	}{
		{"consumer", 3000, (*crowdOf).consumer},
		{"share", 3000, (*crowdOf).share},
		{"streams", 4500, (*crowdOf).streams},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &crowdOf{T: t}
			ctx, cancel := context.WithCancel(t.Context())
			s, wait := open(ctx, t, slicelog.New(1), func(cfg *Config) {
				cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return &sink{}, 1, nil }
				cfg.Topics, cfg.ShareState = wide(t), states{}
				cfg.Share.MaxSize, cfg.Streams.MaxSize = crowdMembers, crowdMembers
			})
			defer wait()
			defer cancel()
			c.s = s
			s.Elect(0, 1)
			synctest.Wait()
			before := heap()
			epochs := map[string]int32{}
			for round := range 6 {
				for g := range crowdGroups {
					for m := range crowdMembers {
						group, member := fmt.Sprint("group-", g), fmt.Sprintf("consumer-%04d-%04d-4f6c-a1f8-0123456789ab", g, m)
						if round == 0 || epochs[member] > 0 {
							epochs[member] = k.beat(c, group, member, epochs[member])
						}
					}
				}
				time.Sleep(4 * time.Second)
			}
			clear(epochs)
			each := int(heap()-before) / (crowdGroups * crowdMembers)
			t.Logf("%s: %d bytes a member", k.name, each)
			if each > k.most {
				t.Errorf("%s: %d bytes a member, %d are allowed", k.name, each, k.most)
			}
			if n := c.members(); n != crowdGroups*crowdMembers {
				t.Errorf("%s: %d members", k.name, n)
			}
			time.Sleep(3 * time.Minute) // nobody is heard any more
			if n := c.members(); n != 0 {
				t.Errorf("%s: %d members are left after their sessions", k.name, n)
			}
			runtime.KeepAlive(s)
		})
	}
}

func (c *crowdOf) members() (n int) {
	c.s.Walk(func(g *Seen) { n += g.Members })
	return n
}

func (c *crowdOf) consumer(group, member string, epoch int32) int32 {
	req := msg.NewConsumerGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = group, member, epoch
	if epoch == 0 {
		req.RebalanceTimeoutMs, req.SubscribedTopicNames, req.TopicPartitions = 60_000, []string{"t"}, []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	}
	resp := c.s.ConsumerGroupHeartbeat(c.Context(), Client{ID: "app", Host: "/127.0.0.1", Version: 1}, &req, nil)
	if resp.ErrorCode != 0 {
		c.Fatal(kafka.Code(resp.ErrorCode).Name())
	}
	return resp.MemberEpoch
}

func (c *crowdOf) share(group, member string, epoch int32) int32 {
	req := msg.NewShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = group, member, epoch
	if epoch == 0 {
		req.SubscribedTopicNames = []string{"t"}
	}
	resp := c.s.Shares().Heartbeat(c.Context(), Client{ID: "app", Host: "/127.0.0.1", Version: 1}, &req)
	if resp.ErrorCode != 0 {
		c.Fatal(kafka.Code(resp.ErrorCode).Name())
	}
	return resp.MemberEpoch
}

func (c *crowdOf) streams(group, member string, epoch int32) int32 {
	req := msg.NewStreamsGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = group, member, epoch
	if epoch == 0 {
		none := []msg.StreamsGroupHeartbeatRequestTaskID{}
		req.RebalanceTimeoutMs, req.ProcessID = 60_000, new("process of "+member)
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = none, none, none
		req.Topology = &msg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []msg.StreamsGroupHeartbeatRequestTopologySubtopology{{SubtopologyID: "0", SourceTopics: []string{"t"}}}}
	}
	resp, _ := c.s.StreamsGroupHeartbeat(c.Context(), Client{ID: "app", Host: "/127.0.0.1"}, &req)
	if resp.ErrorCode != 0 {
		c.Fatal(kafka.Code(resp.ErrorCode).Name())
	}
	return resp.MemberEpoch
}

// TestLoadOfGroups states what it takes to load ten thousand groups: half of them
// classic with a member and four offsets, half of offsets only. The figures stand in
// docs/performance.md; nothing is asserted of the time, which is the machine's.
func TestLoadOfGroups(t *testing.T) {
	const groups, most = 10_000, 4500
	log := slicelog.New(1)
	add := func(records ...coordinator.Record) {
		var build record.Builder
		for _, r := range records {
			build.Append(record.Record{Timestamp: time.Now().UnixMilli(), Key: r.Key, Value: r.Value})
		}
		log.Add(build.Bytes())
	}
	for i := range groups {
		id := fmt.Sprintf("group-%06d", i)
		if i%2 == 0 {
			member := classic.MemberSnapshot{ID: "consumer-1-" + id, ClientID: "consumer-1", ClientHost: "/127.0.0.1", Session: 45 * time.Second, Rebalance: 5 * time.Minute,
				Subscription: []byte("\x00\x03\x00\x00\x00\x01\x00\x06orders\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff"), Assignment: []byte("\x00\x03\x00\x00\x00\x01\x00\x06orders\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff")}
			s := classic.Snapshot{ProtocolType: "consumer", Generation: 7, Protocol: new("range"), Leader: &member.ID, Members: []classic.MemberSnapshot{member}}
			add(coordinator.Record{Key: groupKey(id), Value: marshalGroup(&s)})
		}
		for p := range int32(4) {
			o := offset{Offset: 17, LeaderEpoch: 4, Committed: time.Now().UnixMilli(), Expires: -1}
			add(coordinator.Record{Key: offsetKey(id, kafka.TopicPartition{Topic: "orders", Partition: p}), Value: o.marshal()})
		}
	}
	header := state.NewConsumerGroupMetadataValue() // its clock starts when all is loaded
	member := state.NewConsumerGroupMemberMetadataValue()
	add(coordinator.Record{Key: state.MarshalKey(&state.ConsumerGroupMemberMetadataKey{GroupID: "last", MemberID: "m"}), Value: state.MarshalValue(&member, 0)})
	add(coordinator.Record{Key: state.MarshalKey(&state.ConsumerGroupMetadataKey{GroupID: "last"}), Value: state.MarshalValue(&header, 0)})
	loaded := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithCancel(t.Context())
	s, wait := open(ctx, t, log, func(cfg *Config) {
		cfg.Settings = func(string) Settings {
			once.Do(func() { close(loaded) })
			return fixed{}
		}
	})
	defer wait()
	defer cancel()
	before := heap()
	s.Elect(0, 1)
	<-loaded
	n := 0
	s.Walk(func(*Seen) { n++ })
	if n != groups+1 {
		t.Errorf("%d groups are loaded", n)
	}
	each := int(heap()-before) / groups
	t.Logf("%d groups, half with a member, four offsets each: loaded in %v, %.1f MB, %d bytes each", groups, s.Coordinator().LongestLoad.Round(time.Millisecond),
		float64(each*groups)/1e6, each)
	if each > most {
		t.Errorf("%d bytes each, %d are allowed", each, most)
	}
}

// fixed are settings of every group.
type fixed struct{}

func (fixed) Int(string) int              { return 1 }
func (fixed) Millis(string) time.Duration { return 45 * time.Second }
func (fixed) Bool(string) bool            { return false }
func (fixed) String(string) string        { return "uniform" }
func (fixed) List(string) []string        { return nil }

// BenchmarkWalk shows the metrics ten thousand groups of four offsets.
func BenchmarkWalk(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	s, wait := open(ctx, b, slicelog.New(1), nil)
	defer wait()
	defer cancel()
	s.Elect(0, 1)
	for i := 0; i < 10_000; {
		req := msg.NewOffsetCommitRequest()
		req.GroupID = fmt.Sprintf("group-%06d", i)
		topic := msg.OffsetCommitRequestTopic{Name: "t"}
		for p := range int32(4) {
			topic.Partitions = append(topic.Partitions, msg.OffsetCommitRequestTopicPartition{PartitionIndex: p, CommittedOffset: 7, CommittedMetadata: new("")})
		}
		req.Topics = append(req.Topics, topic)
		switch code := kafka.Code(s.OffsetCommit(ctx, Client{Version: 9}, &req).Topics[0].Partitions[0].ErrorCode); code {
		case kafka.None:
			i++
		case kafka.CoordinatorLoadInProgress, kafka.NotCoordinator:
		default:
			b.Fatal(code)
		}
	}
	for b.Loop() {
		n := 0
		s.Walk(func(*Seen) { n++ })
		if n != 10_000 {
			b.Fatal(n)
		}
	}
}
