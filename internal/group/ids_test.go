package group

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// oddIDs are names that a group may have: all that a string can hold.
var oddIDs = []string{strings.Repeat("x", wire.MaxString), "a\x00b", "a\x00c", "two\nlines", " ", "\xff\xfe", "\xff\xff", "caf\u00e9", "a b", "../..", "__x"}

// A group of any name is one of its own, for whatever kind of member, is the same
// when it is loaded again, and can be deleted. What all APIs answer to such names
// the wire comparison with Kafka shows.
func TestOddIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		log := slicelog.New(1)
		s, wait := open(ctx, t, log, nil)
		s.Elect(0, 1)
		synctest.Wait()
		p := &local{t: t, s: s, ctx: ctx}
		commit := func(group string, offset int64) kafka.Code {
			q := msg.NewOffsetCommitRequest()
			q.GroupID, q.GenerationIDOrMemberEpoch = group, -1
			q.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{CommittedOffset: offset}}}}
			return kafka.Code((<-p.send(&q, 8)).(*msg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
		}
		for i, id := range oddIDs {
			if code := commit(id, int64(i)); code != kafka.None {
				t.Errorf("%.10q: %s", id, code.Name())
			}
			if i%2 == 0 {
				continue
			}
			q := msg.NewConsumerGroupHeartbeatRequest()
			q.GroupID, q.MemberID, q.RebalanceTimeoutMs, q.SubscribedTopicNames = id, "m", 1000, []string{"t"}
			q.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
			if r := (<-p.send(&q, 1)).(*msg.ConsumerGroupHeartbeatResponse); r.ErrorCode != 0 {
				t.Errorf("%.10q: %s", id, kafka.Code(r.ErrorCode).Name())
			}
		}
		for range 2 {
			list := msg.NewListGroupsRequest()
			var names []string
			for _, g := range (<-p.send(&list, 5)).(*msg.ListGroupsResponse).Groups {
				names = append(names, g.GroupID)
			}
			if want := slices.Sorted(slices.Values(oddIDs)); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
				t.Errorf("%.10q, want %.10q", names, want)
			}
			for i, id := range oddIDs {
				f := msg.OffsetFetchRequestGroup{GroupID: id, MemberEpoch: -1}
				if r := s.Fetch(ctx, Client{Version: 9}, &f, false); len(r.Topics) != 1 || r.Topics[0].Partitions[0].CommittedOffset != int64(i) {
					t.Errorf("%.10q: %s", id, show(&r))
				}
			}
			s.Resign(0, kafka.NoEpoch)
			synctest.Wait()
			s.Elect(0, 1)
			synctest.Wait()
		}
		for i, id := range oddIDs {
			want := kafka.None
			if i%2 == 1 {
				want = kafka.NonEmptyGroup
			}
			q := msg.NewDeleteGroupsRequest()
			q.GroupsNames = []string{id}
			if r := (<-p.send(&q, 2)).(*msg.DeleteGroupsResponse).Results[0]; r.GroupID != id || r.ErrorCode != int16(want) {
				t.Errorf("%.10q: %s", id, show(&r))
			}
		}
		stop()
		wait()
	})
}

// A coordinator that is loading says so to everybody, whatever they ask, and
// answers when it has loaded.
func TestLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		log := slicelog.New(1)
		s, wait := open(ctx, t, log, nil)
		s.Elect(0, 1)
		synctest.Wait()
		p := &local{t: t, s: s, ctx: ctx}
		log.Hold()
		first := msg.NewOffsetCommitRequest()
		first.GroupID, first.GenerationIDOrMemberEpoch = "g", -1
		first.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{}}}}
		begun := p.send(&first, 8)
		synctest.Wait()
		s.Resign(0, kafka.NoEpoch)
		synctest.Wait()
		<-begun
		s.Elect(0, 1) // and is not loaded before the commit is
		for _, q := range everyRequest() {
			resp := <-p.send(q.Request, q.version)
			if text := show(resp); !strings.Contains(text, "COORDINATOR_LOAD_IN_PROGRESS") {
				t.Errorf("%T v%d: %s", q.Request, q.version, text)
			}
		}
		log.Commit()
		synctest.Wait()
		for _, q := range everyRequest() {
			resp, _ := p.await(p.send(q.Request, q.version))
			if resp == nil {
				continue // it waits for others, as it should
			}
			if text := show(resp); strings.Contains(text, "COORDINATOR_LOAD_IN_PROGRESS") {
				t.Errorf("%T v%d: %s", q.Request, q.version, text)
			}
		}
		stop()
		wait()
	})
}

type versioned struct {
	msg.Request
	version int16
}

// everyRequest is one of each to the coordinator of groups, about the group "g".
func everyRequest() []versioned {
	join := &msg.JoinGroupRequest{GroupID: "g", SessionTimeoutMs: 10000, RebalanceTimeoutMs: 10000, ProtocolType: "consumer",
		Protocols: []msg.JoinGroupRequestProtocol{{Name: "range"}}}
	commit := []msg.OffsetCommitRequestTopicPartition{{PartitionIndex: 1}}
	txn := []msg.TxnOffsetCommitRequestTopicPartition{{PartitionIndex: 1}}
	remove := []msg.OffsetDeleteRequestTopicPartition{{PartitionIndex: 1}}
	return []versioned{
		{join, 3}, {join, 9},
		{&msg.SyncGroupRequest{GroupID: "g", MemberID: "m"}, 3},
		{&msg.HeartbeatRequest{GroupID: "g", MemberID: "m"}, 4},
		{&msg.LeaveGroupRequest{GroupID: "g", MemberID: "m"}, 1},
		{&msg.LeaveGroupRequest{GroupID: "g", Members: []msg.LeaveGroupRequestMember{{MemberID: "m"}}}, 5},
		{&msg.OffsetCommitRequest{GroupID: "g", GenerationIDOrMemberEpoch: -1, Topics: []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: commit}}}, 8},
		{&msg.TxnOffsetCommitRequest{TransactionalID: "x", GroupID: "g", GenerationIDOrMemberEpoch: -1,
			Topics: []msg.TxnOffsetCommitRequestTopic{{Name: "t", Partitions: txn}}}, 3},
		{&msg.OffsetFetchRequest{Groups: []msg.OffsetFetchRequestGroup{{GroupID: "g", MemberEpoch: -1}}}, 9},
		{&msg.OffsetFetchRequest{RequireStable: true, Groups: []msg.OffsetFetchRequestGroup{{GroupID: "g", MemberEpoch: -1}}}, 9},
		{&msg.OffsetDeleteRequest{GroupID: "g", Topics: []msg.OffsetDeleteRequestTopic{{Name: "t", Partitions: remove}}}, 0},
		{&msg.DescribeGroupsRequest{Groups: []string{"g"}}, 5},
		{&msg.ListGroupsRequest{}, 5},
		{&msg.DeleteGroupsRequest{GroupsNames: []string{"g"}}, 2},
		{&msg.ConsumerGroupHeartbeatRequest{GroupID: "g", MemberID: "m", RebalanceTimeoutMs: 1000, SubscribedTopicNames: []string{"t"},
			TopicPartitions: []msg.ConsumerGroupHeartbeatRequestTopicPartition{}}, 1},
		{&msg.ConsumerGroupDescribeRequest{GroupIDs: []string{"g"}}, 1},
	}
}
