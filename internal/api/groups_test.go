package api

import (
	"bytes"
	"context"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// memLog is a coordinator's log in memory, where all is committed at once.
type memLog struct {
	mu      sync.Mutex
	batches [][]byte
	end     int64
}

func (l *memLog) Append(epoch int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := bytes.Clone(batch)
	record.Stamp(b, l.end, epoch)
	h, err := record.Check(b)
	if err != nil {
		return 0, err
	}
	l.batches, l.end = append(l.batches, b), h.NextOffset()
	return l.end, nil
}

func (l *memLog) Committed(_ int64, done func(error)) { done(nil) }

func (l *memLog) Read(from int64) ([]byte, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if h, _ := record.ParseHeader(b); h.NextOffset() > from {
			return bytes.Clone(b), h.NextOffset(), nil
		}
	}
	return nil, from, nil
}

// cast is a cluster of one broker with topic t of two partitions, and groups.
type cast struct {
	*client
	image *cluster.Image
	made  bool // __consumer_offsets, by the first who asks
	deny  map[right]bool
}

// right is what somebody may do with the group, topic or cluster of a name.
type right struct {
	op   auth.Operation
	name string
}

// Allow refuses what deny names.
func (k *cast) Allow(_ *auth.Subject, op auth.Operation, _ auth.Resource, name string) bool {
	return !k.deny[right{op, name}]
}

func (k *cast) AutoCreate(_ context.Context, names []string) []metadata.AutoTopic {
	k.made = true
	k.topic(names[0], 4)
	return []metadata.AutoTopic{{Name: names[0]}}
}

func (k *cast) topic(name string, partitions int32) {
	d := cluster.NewDelta(k.image)
	recs := []state.Record{&state.TopicRecord{Name: name, TopicID: idOf(name)}}
	for p := range partitions {
		r := state.NewPartitionRecord()
		r.TopicID, r.PartitionID, r.Leader, r.Replicas, r.ISR = idOf(name), p, 1, []int32{1}, []int32{1}
		recs = append(recs, &r)
	}
	k.replay(d, recs)
}

func (k *cast) replay(d *cluster.Delta, recs []state.Record) {
	for _, r := range recs {
		if err := d.Replay(r); err != nil {
			k.t.Fatal(err)
		}
	}
	k.image = d.Apply(k.image.Index()+1, 1)
}

// onCast runs a test in a bubble.
func onCast(t *testing.T, do func(k *cast)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &cast{image: cluster.Empty("test-cluster-0000000000"), deny: map[right]bool{}, client: &client{t: t}}
		b := state.NewRegisterBrokerRecord()
		b.BrokerID, b.Fenced = 1, false
		b.EndPoints = []state.RegisterBrokerRecordEndPoint{{Name: "PLAINTEXT", Host: "node1", Port: 9092}}
		k.replay(cluster.NewDelta(k.image), []state.Record{&b})
		k.topic("t", 2)
		gc := group.DefaultConfig()
		gc.Partitions = func() int32 {
			if k.made {
				return 4
			}
			return 0
		}
		logs := map[int32]*memLog{0: {}, 1: {}, 2: {}, 3: {}}
		gc.Open = func(_ context.Context, p int32) (coordinator.Log, int32, error) { return logs[p], 1, nil }
		gc.Now, gc.Rand, gc.Limits.InitialDelay = time.Now, rand.New(rand.NewPCG(1, 2)), 0
		groups, err := group.New(gc)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- groups.Run(ctx) }()
		for p := range int32(4) {
			groups.Elect(p, 1)
		}
		cfg := testConfig()
		cfg.Data, cfg.Admin, cfg.Cluster = nil, nil, nil
		cfg.Authorizer = k
		cfg.Groups = &GroupHandlers{Groups: groups, Image: func() *cluster.Image { return k.image }, Topics: k, NodeID: 1, Protocols: []string{"consumer", "streams"}}
		k.client = newClient(t, testTable(t, cfg))
		synctest.Wait()
		do(k)
		stop()
		<-done
	})
}

// want compares an answer with what a real Kafka gave, rows and their order
// included.
func (k *cast) want(version int16, req msg.Request, want msg.Response) {
	k.t.Helper()
	got, _ := msg.NewResponse(req.Key())
	k.ask(version, req, got)
	// Through the codec, so that null and absent read alike.
	clean, _ := msg.NewResponse(req.Key())
	clean.SetDefaults()
	clean.Decode(wire.NewReader(want.Append(nil, version)), version)
	if !reflect.DeepEqual(got, clean) {
		k.t.Errorf("%s v%d:\n got %+v\nwant %+v", kafka.KeyName(req.Key()), version, got, clean)
	}
}

func TestFindCoordinator(t *testing.T) {
	onCast(t, func(k *cast) {
		req := msg.NewFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g", "h"}
		k.image = cluster.NewDelta(k.image).Apply(9, 1)

		old := msg.NewFindCoordinatorResponse()
		old.ErrorMessage, old.NodeID, old.Host, old.Port = new("NONE"), 1, "node1", 9092
		k.want(3, &req, &old)
		if k.image.Topic(kafka.OffsetsTopic) == nil {
			t.Fatal("the first who asks makes the topic")
		}
		k.want(0, &req, &old)
		row := msg.FindCoordinatorResponseCoordinator{Key: "g", NodeID: 1, Host: "node1", Port: 9092, ErrorMessage: new("")}
		other := row
		other.Key = "h"
		k.want(4, &req, &msg.FindCoordinatorResponse{Coordinators: []msg.FindCoordinatorResponseCoordinator{row, other}})

		none := msg.FindCoordinatorResponse{NodeID: -1, Port: -1}
		req.KeyType = coordinatesShare
		none.ErrorCode, none.ErrorMessage = int16(kafka.InvalidRequest), new("INVALID_REQUEST")
		k.want(3, &req, &none)

		req.KeyType = coordinatesGroup
		k.deny[right{auth.Describe, "g"}] = true
		none.ErrorCode, none.ErrorMessage = int16(kafka.GroupAuthorizationFailed), new("GROUP_AUTHORIZATION_FAILED")
		k.want(3, &req, &none)
	})
}

func TestFindTransactionCoordinator(t *testing.T) {
	onCast(t, func(k *cast) {
		req := msg.NewFindCoordinatorRequest()
		req.CoordinatorKey, req.KeyType = "x", coordinatesTransaction
		one := msg.NewFindCoordinatorResponse()
		one.ErrorMessage, one.NodeID, one.Host, one.Port = new("NONE"), 1, "node1", 9092
		k.want(3, &req, &one)
		if k.image.Topic(kafka.TxnTopic) == nil {
			t.Fatal("the first who asks makes the topic")
		}
		k.deny[right{auth.Describe, "x"}] = true
		none := msg.FindCoordinatorResponse{NodeID: -1, Port: -1, ErrorMessage: new("TRANSACTIONAL_ID_AUTHORIZATION_FAILED")}
		none.ErrorCode = int16(kafka.TransactionalIDAuthorizationFailed)
		k.want(3, &req, &none)
	})
}

func commitTo(version int16, topics ...string) *msg.OffsetCommitRequest {
	req := msg.NewOffsetCommitRequest()
	req.GroupID = "g"
	for _, name := range topics {
		rt := msg.OffsetCommitRequestTopic{Name: name, TopicID: idOf(name)}
		for _, p := range []int32{0, 9} {
			rt.Partitions = append(rt.Partitions, msg.OffsetCommitRequestTopicPartition{PartitionIndex: p, CommittedOffset: 5, CommittedLeaderEpoch: -1})
		}
		req.Topics = append(req.Topics, rt)
	}
	return &req
}

type code struct {
	partition int32
	code      kafka.Code
}

func committed(topics map[string][]code, order ...string) *msg.OffsetCommitResponse {
	resp := msg.NewOffsetCommitResponse()
	for _, name := range order {
		rt := msg.OffsetCommitResponseTopic{Name: name, TopicID: idOf(name)}
		for _, c := range topics[name] {
			rt.Partitions = append(rt.Partitions, msg.OffsetCommitResponseTopicPartition{PartitionIndex: c.partition, ErrorCode: int16(c.code)})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return &resp
}

// Refused topics come first, and a topic's refused partitions before the others.
func TestOffsetCommit(t *testing.T) {
	onCast(t, func(k *cast) {
		k.AutoCreate(t.Context(), []string{kafka.OffsetsTopic})
		unknown, noID := kafka.UnknownTopicOrPartition, kafka.UnknownTopicID
		mixed := []code{{9, unknown}, {0, kafka.None}}
		k.want(9, commitTo(9, "t", "nope"), committed(map[string][]code{
			"t": mixed, "nope": {{0, unknown}, {9, unknown}}}, "t", "nope"))
		k.want(10, commitTo(10, "t", "nope"), committed(map[string][]code{
			"t": mixed, "nope": {{0, noID}, {9, noID}}}, "t", "nope"))
		ok := commitTo(9, "t", "nope")
		ok.Topics[0].Partitions = ok.Topics[0].Partitions[:1]
		k.want(9, ok, committed(map[string][]code{
			"t": {{0, kafka.None}}, "nope": {{0, unknown}, {9, unknown}}}, "nope", "t"))
		k.want(9, commitTo(9, "nope"), committed(map[string][]code{"nope": {{0, unknown}, {9, unknown}}}, "nope"))

		bad := commitTo(9, "t")
		bad.GroupID, bad.GenerationIDOrMemberEpoch = "other", 3
		k.want(9, bad, committed(map[string][]code{"t": {{9, unknown}, {0, kafka.GroupIDNotFound}}}, "t"))

		k.deny[right{auth.Read, "t"}] = true
		forbidden := kafka.TopicAuthorizationFailed
		k.want(9, commitTo(9, "t"), committed(map[string][]code{"t": {{0, forbidden}, {9, forbidden}}}, "t"))
		k.deny[right{auth.Read, "g"}] = true
		forbidden = kafka.GroupAuthorizationFailed
		k.want(9, commitTo(9, "t"), committed(map[string][]code{"t": {{0, forbidden}, {9, forbidden}}}, "t"))
	})
}

func fetched(p int32, offset int64, c kafka.Code) msg.OffsetFetchResponseGroupTopicPartition {
	return msg.OffsetFetchResponseGroupTopicPartition{PartitionIndex: p, CommittedOffset: offset, CommittedLeaderEpoch: -1,
		Metadata: new(""), ErrorCode: int16(c)}
}

func TestOffsetFetch(t *testing.T) {
	onCast(t, func(k *cast) {
		k.AutoCreate(t.Context(), []string{kafka.OffsetsTopic})
		k.ask(9, commitTo(9, "t"), &msg.OffsetCommitResponse{})

		req := msg.NewOffsetFetchRequest()
		g := msg.NewOffsetFetchRequestGroup()
		g.GroupID = "g"
		for _, name := range []string{"nope", "t"} {
			g.Topics = append(g.Topics, msg.OffsetFetchRequestGroupTopic{Name: name, TopicID: idOf(name), PartitionIndexes: []int32{0}})
		}
		req.Groups = []msg.OffsetFetchRequestGroup{g}
		nope := msg.OffsetFetchResponseGroupTopic{Name: "nope", TopicID: idOf("nope"),
			Partitions: []msg.OffsetFetchResponseGroupTopicPartition{fetched(0, -1, kafka.None)}}
		topic := msg.OffsetFetchResponseGroupTopic{Name: "t", TopicID: idOf("t"),
			Partitions: []msg.OffsetFetchResponseGroupTopicPartition{fetched(0, 5, kafka.None)}}
		answer := func(topics ...msg.OffsetFetchResponseGroupTopic) *msg.OffsetFetchResponse {
			return &msg.OffsetFetchResponse{Groups: []msg.OffsetFetchResponseGroup{{GroupID: "g", Topics: topics}}}
		}
		k.want(9, &req, answer(nope, topic))
		nope.Partitions[0].ErrorCode = int16(kafka.UnknownTopicID)
		k.want(10, &req, answer(topic, nope))

		all := msg.NewOffsetFetchRequest()
		all.GroupID = "g"
		all.Groups = []msg.OffsetFetchRequestGroup{{GroupID: "g"}}
		k.want(10, &all, answer(topic))
		old := msg.OffsetFetchResponse{Topics: []msg.OffsetFetchResponseTopic{{Name: "t",
			Partitions: []msg.OffsetFetchResponseTopicPartition{msg.OffsetFetchResponseTopicPartition(fetched(0, 5, kafka.None))}}}}
		k.want(7, &all, &old)

		k.deny[right{auth.Describe, "t"}] = true
		k.want(9, &all, answer())
		refusedTopic := topic
		refusedTopic.Partitions = []msg.OffsetFetchResponseGroupTopicPartition{fetched(0, -1, kafka.TopicAuthorizationFailed)}
		nope.Partitions[0].ErrorCode = 0
		k.want(9, &req, answer(nope, refusedTopic))
		k.deny[right{auth.Describe, "g"}] = true
		k.want(9, &all, &msg.OffsetFetchResponse{Groups: []msg.OffsetFetchResponseGroup{{GroupID: "g", ErrorCode: int16(kafka.GroupAuthorizationFailed)}}})
		one := msg.NewOffsetFetchRequest()
		one.GroupID, one.Topics = "g", []msg.OffsetFetchRequestTopic{{Name: "t", PartitionIndexes: []int32{0}}}
		k.want(1, &one, &msg.OffsetFetchResponse{Topics: []msg.OffsetFetchResponseTopic{{Name: "t",
			Partitions: []msg.OffsetFetchResponseTopicPartition{msg.OffsetFetchResponseTopicPartition(fetched(0, -1, kafka.GroupAuthorizationFailed))}}}})
	})
}

func TestOffsetDelete(t *testing.T) {
	onCast(t, func(k *cast) {
		k.AutoCreate(t.Context(), []string{kafka.OffsetsTopic})
		k.ask(9, commitTo(9, "t"), &msg.OffsetCommitResponse{})
		req := msg.NewOffsetDeleteRequest()
		req.GroupID = "g"
		for _, name := range []string{"nope", "t"} {
			req.Topics = append(req.Topics, msg.OffsetDeleteRequestTopic{Name: name,
				Partitions: []msg.OffsetDeleteRequestTopicPartition{{PartitionIndex: 0}, {PartitionIndex: 9}}})
		}
		row := func(name string, codes ...code) msg.OffsetDeleteResponseTopic {
			rt := msg.OffsetDeleteResponseTopic{Name: name}
			for _, c := range codes {
				rt.Partitions = append(rt.Partitions, msg.OffsetDeleteResponseTopicPartition{PartitionIndex: c.partition, ErrorCode: int16(c.code)})
			}
			return rt
		}
		unknown := kafka.UnknownTopicOrPartition
		nope := row("nope", code{0, unknown}, code{9, unknown})
		k.want(0, &req, &msg.OffsetDeleteResponse{Topics: []msg.OffsetDeleteResponseTopic{nope, row("t", code{9, unknown}, code{0, kafka.None})}})
		k.deny[right{auth.Read, "t"}] = true
		forbidden := kafka.TopicAuthorizationFailed
		k.want(0, &req, &msg.OffsetDeleteResponse{Topics: []msg.OffsetDeleteResponseTopic{nope, row("t", code{0, forbidden}, code{9, forbidden})}})
		req.GroupID = "other"
		k.want(0, &req, &msg.OffsetDeleteResponse{ErrorCode: int16(kafka.GroupIDNotFound)})
		k.deny[right{auth.Delete, "other"}] = true
		k.want(0, &req, &msg.OffsetDeleteResponse{ErrorCode: int16(kafka.GroupAuthorizationFailed)})
	})
}

// Every request of a group is refused to who may not use the group.
func TestGroupsForbidden(t *testing.T) {
	onCast(t, func(k *cast) {
		k.AutoCreate(t.Context(), []string{kafka.OffsetsTopic})
		k.ask(9, commitTo(9, "t"), &msg.OffsetCommitResponse{})
		for _, r := range []right{{auth.Read, "g"}, {auth.Describe, "g"}, {auth.Delete, "g"}, {auth.Describe, auth.ClusterName}} {
			k.deny[r] = true
		}
		no := int16(kafka.GroupAuthorizationFailed)
		join := msg.NewJoinGroupRequest()
		join.GroupID = "g"
		k.want(9, &join, &msg.JoinGroupResponse{ErrorCode: no, GenerationID: -1})
		k.want(3, &join, &msg.JoinGroupResponse{ErrorCode: no, GenerationID: -1, ProtocolName: new("")})
		k.want(5, &msg.SyncGroupRequest{GroupID: "g"}, &msg.SyncGroupResponse{ErrorCode: no})
		k.want(4, &msg.HeartbeatRequest{GroupID: "g"}, &msg.HeartbeatResponse{ErrorCode: no})
		k.want(5, &msg.LeaveGroupRequest{GroupID: "g"}, &msg.LeaveGroupResponse{ErrorCode: no})
		described := msg.NewDescribeGroupsResponseGroup()
		described.GroupID, described.ErrorCode = "g", no
		k.want(5, &msg.DescribeGroupsRequest{Groups: []string{"g"}, IncludeAuthorizedOperations: true},
			&msg.DescribeGroupsResponse{Groups: []msg.DescribeGroupsResponseGroup{described}})
		k.want(2, &msg.DeleteGroupsRequest{GroupsNames: []string{"g", "nope"}}, &msg.DeleteGroupsResponse{
			Results: []msg.DeleteGroupsResponseResult{{GroupID: "nope", ErrorCode: int16(kafka.GroupIDNotFound)}, {GroupID: "g", ErrorCode: no}}})
		k.want(5, &msg.ListGroupsRequest{}, &msg.ListGroupsResponse{})
		delete(k.deny, right{auth.Describe, "g"})
		list := &msg.ListGroupsResponse{Groups: []msg.ListGroupsResponseGroup{{GroupID: "g", GroupState: "Empty", GroupType: "classic"}}}
		k.want(5, &msg.ListGroupsRequest{}, list)
		ops := msg.NewDescribeGroupsResponseGroup()
		ops.GroupID, ops.GroupState = "g", "Empty"
		ops.AuthorizedOperations = 1<<auth.Describe | 1<<auth.DescribeConfigs | 1<<auth.AlterConfigs
		k.want(5, &msg.DescribeGroupsRequest{Groups: []string{"g"}, IncludeAuthorizedOperations: true},
			&msg.DescribeGroupsResponse{Groups: []msg.DescribeGroupsResponseGroup{ops}})
	})
}
