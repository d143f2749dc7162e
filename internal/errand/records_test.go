package errand

import (
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Letters and questions for ends of logs go to the leader, whose answer counts.
func TestRecords(t *testing.T) {
	for name, c := range map[string]struct {
		tp     string
		code   kafka.Code
		answer error
		want   kafka.Code
	}{
		"taken":        {"a-1", 0, nil, 0},
		"refused":      {"a-1", kafka.MessageTooLarge, nil, kafka.MessageTooLarge},
		"moved":        {"a-1", kafka.NotLeaderOrFollower, nil, kafka.NotLeaderOrFollower},
		"down":         {"a-1", 0, errDown, kafka.NetworkException},
		"nobody leads": {"a-2", 0, nil, kafka.LeaderNotAvailable},
		"not there":    {"a-9", 0, nil, kafka.UnknownTopicOrPartition},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, map[string][]int32{"a": {self, 2, kafka.NoBroker}})
			r.answer = func(node int32, req msg.Request, resp msg.Response) error {
				switch req := req.(type) {
				case *msg.ProduceRequest:
					p := req.TopicData[0].PartitionData[0]
					if node != 2 || req.Acks != -1 || req.TransactionalID != nil || req.TopicData[0].Name != "a" || p.Index != 1 || string(p.Records) != "batch" {
						t.Errorf("broker %d was asked %+v", node, req)
					}
					resp.(*msg.ProduceResponse).Responses = []msg.ProduceResponseResponse{{Name: "a",
						PartitionResponses: []msg.ProduceResponseResponsePartitionResponse{{Index: 1, ErrorCode: int16(c.code)}}}}
				case *msg.ListOffsetsRequest:
					p := req.Topics[0].Partitions[0]
					if node != 2 || req.ReplicaID != -1 || req.IsolationLevel != 0 || p.PartitionIndex != 1 || p.Timestamp != kafka.LatestTimestamp || p.CurrentLeaderEpoch != -1 {
						t.Errorf("broker %d was asked %+v", node, req)
					}
					resp.(*msg.ListOffsetsResponse).Topics = []msg.ListOffsetsResponseTopic{{Name: "a",
						Partitions: []msg.ListOffsetsResponseTopicPartition{{PartitionIndex: 1, Offset: 77, ErrorCode: int16(c.code)}}}}
				}
				return c.answer
			}
			tp := tps(c.tp)[0]
			if err := r.e.Append(t.Context(), tp, []byte("batch")); kafka.CodeOf(err) != c.want {
				t.Errorf("append: %v, want %s", err, c.want.Name())
			}
			end, err := r.e.EndOffset(t.Context(), tp)
			if kafka.CodeOf(err) != c.want || err == nil && end != 77 {
				t.Errorf("end offset: %d, %v, want %s", end, err, c.want.Name())
			}
			if r.e.Leads(tp) != (c.tp == "a-9") {
				t.Error("who leads?")
			}
		})
	}
	r := newRig(t, map[string][]int32{"a": {self}})
	if !r.e.Leads(tps("a-0")[0]) {
		t.Error("this broker leads")
	}
	alone, err := New(Config{Self: 1, Image: r.image})
	r.lead(map[string][]int32{"a": {2}})
	if err != nil || kafka.CodeOf(alone.Append(t.Context(), tps("a-0")[0], nil)) != kafka.NetworkException {
		t.Error(err, "a node without others reaches one")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("errands without an image")
	}
}
