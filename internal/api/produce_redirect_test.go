package api

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestProduceRedirects pins that a producer is told whom to ask instead, and where
// that is: at once by a broker that does not lead, and when the leader changes while
// its records wait to be durable everywhere (KIP-951).
func TestProduceRedirects(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var img atomic.Pointer[cluster.Image]
		img.Store(brokers(t))
		s.data.Image = img.Load
		s.lead(1, 1)
		moved := make(chan bool)
		go func() {
			defer close(moved)
			<-time.After(time.Second)
			d := cluster.NewDelta(img.Load())
			topic, p := state.NewTopicRecord(), state.NewPartitionRecord()
			topic.Name, topic.TopicID = "t", idOf("t")
			p.TopicID, p.PartitionID, p.Replicas, p.ISR, p.Leader, p.LeaderEpoch = idOf("t"), 0, []int32{1, 2}, []int32{1, 2}, 2, 7
			for _, r := range []state.Record{&topic, &p} {
				if err := d.Replay(r); err != nil {
					t.Error(err)
				}
			}
			img.Store(d.Apply(2, 1))
			s.lead(2, 7)
		}()
		defer func() { <-moved }()
		for _, what := range []string{"while it waits", "at once"} {
			for _, version := range []int16{13, 10, 9} {
				if what == "while it waits" && version != 13 {
					continue
				}
				resp := msg.NewProduceResponse()
				begun := time.Now()
				s.ask(version, produceTo(-1, "t", 0), &resp)
				row := &resp.Responses[0].PartitionResponses[0]
				if kafka.Code(row.ErrorCode) != kafka.NotLeaderOrFollower {
					t.Fatalf("%s, version %d: %v after %v", what, version, kafka.Code(row.ErrorCode), time.Since(begun))
				}
				if version < 10 {
					if len(resp.NodeEndpoints) != 0 || row.CurrentLeader.LeaderID != kafka.NoBroker {
						t.Errorf("version %d has no room for it: %+v", version, resp)
					}
					continue
				}
				if row.CurrentLeader.LeaderID != 2 || row.CurrentLeader.LeaderEpoch != 7 ||
					len(resp.NodeEndpoints) != 1 || resp.NodeEndpoints[0].NodeID != 2 || resp.NodeEndpoints[0].Host != "h" {
					t.Errorf("%s, version %d: %+v, found at %+v", what, version, row.CurrentLeader, resp.NodeEndpoints)
				}
			}
		}
	})
}
