package consumer

import (
	"fmt"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// crowd is a stable group of n members, and a heartbeat of one of them that
// brings nothing new.
func crowd(t testing.TB, n int) (*world, *msg.ConsumerGroupHeartbeatRequest) {
	w := newWorld(t)
	w.cfg.Settings = func(string) Settings { return Settings{Session: 45 * time.Second, Heartbeat: 5 * time.Second} }
	w.topic("a", int32(n))
	w.g = New("g", &w.cfg)
	var step kind.Step
	for i := range n {
		req := msg.NewConsumerGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.RebalanceTimeoutMs = "g", fmt.Sprint("m", i), 60000
		req.SubscribedTopicNames, req.TopicPartitions = []string{"a"}, []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		var err error
		if _, step, err = w.g.Heartbeat(w.now, Who{ClientID: "c", Host: "/h"}, &req); err != nil {
			t.Fatal(err)
		}
		for _, r := range step.Records {
			w.replay(r)
		}
	}
	last := w.g.members[fmt.Sprint("m", n-1)]
	req := msg.NewConsumerGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", last.id, last.epoch
	for range 3 { // it says that it waits for the others
		_, step, err := w.g.Heartbeat(w.now, Who{ClientID: "c", Host: "/h"}, &req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range step.Records {
			w.replay(r)
		}
	}
	return w, &req
}

// A heartbeat that brings nothing stores nothing and allocates no more than its
// answer, however large the group is.
func TestQuietHeartbeatIsCheap(t *testing.T) {
	for _, n := range []int{1, 100} {
		w, req := crowd(t, n)
		who := Who{ClientID: "c", Host: "/h"}
		allocs := testing.AllocsPerRun(100, func() {
			w.now = w.now.Add(time.Second)
			_, step, err := w.g.Heartbeat(w.now, who, req)
			if err != nil || len(step.Records) > 0 {
				t.Fatalf("%d records, %v", len(step.Records), err)
			}
		})
		if allocs > 5 {
			t.Errorf("%d members: %v allocations", n, allocs)
		}
	}
}

func BenchmarkQuietHeartbeat(b *testing.B) {
	w, req := crowd(b, 100)
	who := Who{ClientID: "c", Host: "/h"}
	b.ReportAllocs()
	for b.Loop() {
		w.now = w.now.Add(time.Millisecond)
		if _, _, err := w.g.Heartbeat(w.now, who, req); err != nil {
			b.Fatal(err)
		}
	}
}
