package errand

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/share/persist"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// newStates makes a share coordinator of one partition, on a log in memory.
func newStates(t *testing.T, log *slicelog.Log) (s *persist.Service, stop func()) {
	t.Helper()
	cfg := persist.DefaultConfig()
	cfg.Partitions = func() int32 { return 1 }
	cfg.Open = func(context.Context, int32) (coordinator.Log, int32, error) { return log, 0, nil }
	cfg.Exists = func(_ kafka.UUID, p int32) bool { return p < 200 }
	cfg.Now = time.Now
	s, err := persist.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = s.Run(ctx) })
	return s, func() { cancel(); tasks.Wait() }
}

// answerState answers as the broker of a share coordinator does.
func answerState(ctx context.Context, at *persist.Service, req msg.Request, resp msg.Response) {
	said := func(err error) (int16, *string) {
		code, text := persist.Answer(err)
		return int16(code), text
	}
	switch req := req.(type) {
	case *msg.InitializeShareGroupStateRequest:
		t := req.Topics[0]
		p := t.Partitions[0]
		code, text := said(at.Initialize(ctx, share.Key{Group: req.GroupID, TopicID: t.TopicID, Partition: p.Partition}, p.StateEpoch, p.StartOffset))
		resp.(*msg.InitializeShareGroupStateResponse).Results = []msg.InitializeShareGroupStateResponseResult{{TopicID: t.TopicID,
			Partitions: []msg.InitializeShareGroupStateResponseResultPartition{{Partition: p.Partition, ErrorCode: code, ErrorMessage: text}}}}
	case *msg.DeleteShareGroupStateRequest:
		t := req.Topics[0]
		p := t.Partitions[0]
		code, text := said(at.Delete(ctx, share.Key{Group: req.GroupID, TopicID: t.TopicID, Partition: p.Partition}))
		resp.(*msg.DeleteShareGroupStateResponse).Results = []msg.DeleteShareGroupStateResponseResult{{TopicID: t.TopicID,
			Partitions: []msg.DeleteShareGroupStateResponseResultPartition{{Partition: p.Partition, ErrorCode: code, ErrorMessage: text}}}}
	case *msg.ReadShareGroupStateSummaryRequest:
		t := req.Topics[0]
		p := t.Partitions[0]
		sum, err := at.Summary(ctx, share.Key{Group: req.GroupID, TopicID: t.TopicID, Partition: p.Partition})
		row := msg.ReadShareGroupStateSummaryResponseResultPartition{Partition: p.Partition, StateEpoch: sum.StateEpoch, LeaderEpoch: sum.LeaderEpoch,
			StartOffset: sum.StartOffset, DeliveryCompleteCount: sum.DeliveryComplete}
		row.ErrorCode, row.ErrorMessage = said(err)
		resp.(*msg.ReadShareGroupStateSummaryResponse).Results = []msg.ReadShareGroupStateSummaryResponseResult{{TopicID: t.TopicID,
			Partitions: []msg.ReadShareGroupStateSummaryResponseResultPartition{row}}}
	case *msg.ReadShareGroupStateRequest:
		t := req.Topics[0]
		p := t.Partitions[0]
		s, err := at.Read(ctx, share.Key{Group: req.GroupID, TopicID: t.TopicID, Partition: p.Partition}, p.LeaderEpoch)
		row := msg.ReadShareGroupStateResponseResultPartition{Partition: p.Partition, StateEpoch: s.StateEpoch, StartOffset: s.StartOffset}
		for _, b := range s.Batches {
			row.StateBatches = append(row.StateBatches, msg.ReadShareGroupStateResponseResultPartitionStateBatch{FirstOffset: b.First,
				LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Count})
		}
		row.ErrorCode, row.ErrorMessage = said(err)
		resp.(*msg.ReadShareGroupStateResponse).Results = []msg.ReadShareGroupStateResponseResult{{TopicID: t.TopicID,
			Partitions: []msg.ReadShareGroupStateResponseResultPartition{row}}}
	case *msg.WriteShareGroupStateRequest:
		out := resp.(*msg.WriteShareGroupStateResponse)
		for _, t := range req.Topics {
			p := t.Partitions[0]
			u := share.Update{StateEpoch: p.StateEpoch, LeaderEpoch: p.LeaderEpoch, StartOffset: p.StartOffset, DeliveryComplete: p.DeliveryCompleteCount}
			for _, b := range p.StateBatches {
				u.Batches = append(u.Batches, share.Batch{First: b.FirstOffset, Last: b.LastOffset, State: share.Delivery(b.DeliveryState), Count: b.DeliveryCount})
			}
			code, text := said(at.Write(ctx, share.Key{Group: req.GroupID, TopicID: t.TopicID, Partition: p.Partition}, u))
			out.Results = append(out.Results, msg.WriteShareGroupStateResponseResult{TopicID: t.TopicID,
				Partitions: []msg.WriteShareGroupStateResponseResultPartition{{Partition: p.Partition, ErrorCode: code, ErrorMessage: text}}})
		}
	}
}

// The share coordinator at another broker answers as one here would: the same
// state, the same errors in the same words, in the requests' own bytes. While it
// moves, whoever asks waits; what it fences stays fenced.
func TestStatesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slicelog.New(0)
		there, stopThere := newStates(t, log)
		here, stopHere := newStates(t, log)
		defer stopThere()
		defer stopHere()
		r := newRig(t, map[string][]int32{kafka.ShareStateTopic: {2}})
		r.answer = func(node int32, req msg.Request, resp msg.Response) error {
			if node != 2 {
				return errDown
			}
			answerState(t.Context(), there, req, resp)
			return nil
		}
		there.Elect(0, 0)
		at := persist.Coordinator{Service: here, Elsewhere: r.e.States}
		ctx, key := t.Context(), share.Key{Group: "g", TopicID: topicID(1), Partition: 3}

		check := func(what string, err error, code kafka.Code, text string) {
			t.Helper()
			got, why := persist.Answer(err)
			if got != code || code != kafka.None && *why != text {
				t.Errorf("%s: %v, want %s, %q", what, err, code.Name(), text)
			}
		}
		_, err := at.Read(ctx, key, 4)
		check("read what is not there", err, kafka.InvalidRequest, "Read operation on uninitialized share partition not allowed.")
		check("initialize", at.Initialize(ctx, key, 1, 10), 0, "")
		_, err = at.Read(ctx, key, 4)
		check("read", err, 0, "")
		batches := []share.Batch{{First: 10, Last: 12, State: share.Acknowledged, Count: 1}, {First: 15, Last: 15, State: share.Available, Count: 2}}
		check("write", at.Write(ctx, key, share.Update{StateEpoch: 1, LeaderEpoch: 4, StartOffset: 10, DeliveryComplete: 3, Batches: batches}), 0, "")
		fence := "The leader epoch in the request is older than the epoch on the broker."
		check("write as an older leader", at.Write(ctx, key, share.Update{StateEpoch: 1, LeaderEpoch: 3, StartOffset: 10}), kafka.FencedLeaderEpoch, fence)
		check("write an older state", at.Write(ctx, key, share.Update{StateEpoch: 0, LeaderEpoch: 4, StartOffset: 10}), kafka.FencedStateEpoch,
			"The share coordinator rejected the request because the share-group state epoch did not match.")
		sum, err := at.Summary(ctx, key)
		check("summary", err, 0, "")
		if sum != (persist.Summary{StateEpoch: 1, LeaderEpoch: 4, StartOffset: 10, DeliveryComplete: 3}) {
			t.Errorf("summary %+v", sum)
		}
		check("initialize what is gone", at.Initialize(ctx, share.Key{Group: "g", TopicID: topicID(1), Partition: 200}, 1, 0),
			kafka.UnknownTopicOrPartition, "This server does not host this topic-partition.")

		// The coordinator comes here; before it does nobody is coordinator.
		there.Resign(0, kafka.NoEpoch)
		r.lead(map[string][]int32{kafka.ShareStateTopic: {kafka.NoBroker}})
		time.AfterFunc(time.Second, func() {
			here.Elect(0, 0)
			r.lead(map[string][]int32{kafka.ShareStateTopic: {self}})
		})
		s, err := at.Read(ctx, key, 5)
		check("read after it moved", err, 0, "")
		if fmt.Sprint(s.Batches) != fmt.Sprint(batches) || s.StartOffset != 10 {
			t.Errorf("state %+v", s)
		}
		check("write as the older leader", at.Write(ctx, key, share.Update{StateEpoch: 1, LeaderEpoch: 4, StartOffset: 10}), kafka.FencedLeaderEpoch, fence)

		// It goes to one that does not answer.
		here.Resign(0, kafka.NoEpoch)
		r.lead(map[string][]int32{kafka.ShareStateTopic: {3}})
		if err := at.Delete(ctx, key); persist.Code(err) != kafka.CoordinatorNotAvailable {
			t.Errorf("nobody answers: %v", err)
		}
	})
}

// Changes of many share partitions of a group go in a few requests, each with its
// own answer.
func TestStatesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there, stop := newStates(t, slicelog.New(0))
		defer stop()
		r := newRig(t, map[string][]int32{kafka.ShareStateTopic: {2}})
		r.answer = func(_ int32, req msg.Request, resp msg.Response) error {
			time.Sleep(20 * time.Millisecond)
			answerState(t.Context(), there, req, resp)
			return nil
		}
		there.Elect(0, 0)
		synctest.Wait()
		at, err := r.e.States(0)
		if err != nil {
			t.Fatal(err)
		}
		var tasks sync.WaitGroup
		for i := range int32(100) {
			key := share.Key{Group: "g", TopicID: topicID(byte(i % 3)), Partition: i}
			if i%10 != 0 {
				if err := there.Initialize(t.Context(), key, 0, 0); err != nil {
					t.Fatal(err)
				}
			}
			tasks.Go(func() {
				err := at.Write(t.Context(), key, share.Update{StartOffset: int64(i)})
				if want := i%10 == 0; (err != nil) != want {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		tasks.Wait()
		if n := len(r.requests()); n > 3 {
			t.Errorf("%d requests", n)
		}
		for i := range int32(100) {
			sum, err := there.Summary(t.Context(), share.Key{Group: "g", TopicID: topicID(byte(i % 3)), Partition: i})
			if err != nil || i%10 != 0 && sum.StartOffset != int64(i) {
				t.Errorf("%d: %+v, %v", i, sum, err)
			}
		}
	})
}
