package api

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// brokers makes an image of brokers 1 to 3 under epochs 10, 20 and 30, in racks a,
// b and c.
func brokers(t *testing.T) *cluster.Image {
	d := cluster.NewDelta(cluster.Empty("test"))
	for i, rack := range []string{"a", "b", "c"} {
		r := state.NewRegisterBrokerRecord()
		r.BrokerID, r.BrokerEpoch, r.Rack, r.Fenced = int32(i+1), int64(10*(i+1)), &rack, false
		r.EndPoints = []state.RegisterBrokerRecordEndPoint{{Name: "PLAINTEXT", Host: "h", Port: 9}}
		if err := d.Replay(&r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Apply(1, 1)
}

// lead makes broker 1 the leader of partition t-0, or another one.
func (s *stage) lead(leader, epoch int32) {
	s.replicas.Apply(replica.Delta{Assigned: []replica.Assignment{{TopicPartition: kafka.TopicPartition{Topic: "t"}, TopicID: idOf("t"),
		Config: new(replica.DefaultTopicConfig()), Role: partition.Assignment{Leader: leader, LeaderEpoch: epoch, PartitionEpoch: epoch,
			Replicas: []int32{1, 2}, ISR: []int32{1, 2}}}}})
	time.Sleep(10 * time.Millisecond)
}

// asFollower fetches t-0 as a broker.
func (s *stage) asFollower(id int32, epoch, offset int64, leaderEpoch int32) *msg.FetchResponseResponsePartition {
	s.t.Helper()
	req, resp := msg.NewFetchRequest(), msg.NewFetchResponse()
	req.ReplicaState.ReplicaID, req.ReplicaState.ReplicaEpoch, req.MaxWaitMs, req.MinBytes = id, epoch, 500, 1
	p := msg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = offset, leaderEpoch, 1<<20
	req.Topics = []msg.FetchRequestTopic{{TopicID: idOf("t"), Partitions: []msg.FetchRequestTopicPartition{p}}}
	s.ask(17, &req, &resp)
	return &resp.Responses[0].Partitions[0]
}

// TestFollowerFetch pins what a follower is served: what is not committed, the
// high watermark that its own offset moves, and who is not served.
func TestFollowerFetch(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.data.Image = func() *cluster.Image { return brokers(t) }
		s.lead(1, 1)
		s.produce(9, produceTo(1, "t", 0))
		r, err := s.replicas.Get("t", 0)
		if err != nil {
			t.Fatal(err)
		}
		if row := s.asFollower(2, 20, 0, 1); row.ErrorCode != 0 || len(row.Records) == 0 || row.HighWatermark != 0 || r.HW() != 0 {
			t.Errorf("what is not committed: %d, %d bytes, high watermark %d", row.ErrorCode, len(row.Records), row.HighWatermark)
		}
		begun := time.Now()
		if row := s.asFollower(2, 20, 2, 1); row.HighWatermark != 2 || r.HW() != 2 {
			t.Errorf("high watermark %d, told %d", r.HW(), row.HighWatermark)
		}
		if took := time.Since(begun); took > 50*time.Millisecond {
			t.Errorf("it was told after %v", took)
		}
		s.produce(9, produceTo(1, "t", 0))
		for _, c := range []struct {
			name   string
			id     int32
			broker int64
			leader int32
			want   kafka.Code
		}{
			{"an older process", 2, 19, 1, kafka.NotLeaderOrFollower},
			{"no replica", 3, 30, 1, kafka.NotLeaderOrFollower},
			{"the leader itself", 1, 10, 1, kafka.NotLeaderOrFollower},
			{"an older leader epoch", 2, 20, 0, kafka.FencedLeaderEpoch},
			{"a later leader epoch", 2, 20, 2, kafka.UnknownLeaderEpoch},
		} {
			if row := s.asFollower(c.id, c.broker, 4, c.leader); kafka.Code(row.ErrorCode) != c.want || r.HW() != 2 {
				t.Errorf("%s: %v, high watermark %d", c.name, kafka.Code(row.ErrorCode), r.HW())
			}
		}
		if row := s.asFollower(3, 30, 4, 1); row.CurrentLeader.LeaderID != 1 || row.CurrentLeader.LeaderEpoch != 1 {
			t.Errorf("the leader's hint: %+v", row.CurrentLeader)
		}
		s.lead(2, 2)
		if row := s.asFollower(2, 20, 4, 2); kafka.Code(row.ErrorCode) != kafka.NotLeaderOrFollower {
			t.Errorf("by one who follows: %v", kafka.Code(row.ErrorCode))
		}
	})
}

// noCluster allows all but what concerns the cluster.
type noCluster struct{}

func (noCluster) Allow(_ *auth.Subject, _ auth.Operation, on auth.Resource, _ string) bool {
	return on != auth.Cluster
}

func TestFollowerNeedsClusterAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{fs: vfs.NewMem(vfs.MemConfig{Now: time.Now}), more: func(c *Config) { c.Authorizer = noCluster{} }}
		stop := s.start(t)
		defer stop()
		s.lead(1, 1)
		if row := s.asFollower(2, 20, 0, 1); kafka.Code(row.ErrorCode) != kafka.TopicAuthorizationFailed {
			t.Error(kafka.Code(row.ErrorCode))
		}
	})
}

// TestNearerReplica tells a consumer of the replica in its rack, once that one has
// what it asks for; the replica serves it (KIP-392).
func TestNearerReplica(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.data.Image, s.data.RackAware = func() *cluster.Image { return brokers(t) }, true
		s.lead(1, 1)
		s.produce(9, produceTo(1, "t", 0))
		fetch := func(rack string) *msg.FetchResponseResponsePartition {
			req, resp := msg.NewFetchRequest(), msg.NewFetchResponse()
			req.RackID, req.MinBytes = rack, 1
			p := msg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1 << 20
			req.Topics = []msg.FetchRequestTopic{{TopicID: idOf("t"), Partitions: []msg.FetchRequestTopicPartition{p}}}
			s.ask(17, &req, &resp)
			return &resp.Responses[0].Partitions[0]
		}
		if row := fetch("b"); row.PreferredReadReplica != -1 {
			t.Error("a replica of which nothing is known:", row.PreferredReadReplica)
		}
		s.asFollower(2, 20, 2, 1)
		for rack, want := range map[string]int32{"a": -1, "b": 2, "c": -1, "": -1} {
			if row := fetch(rack); row.PreferredReadReplica != want || (len(row.Records) == 0) != (want > 0) {
				t.Errorf("rack %q: replica %d, %d bytes", rack, row.PreferredReadReplica, len(row.Records))
			}
		}
		s.lead(2, 2)
		if row := fetch("a"); row.ErrorCode != 0 || len(row.Records) == 0 {
			t.Errorf("from a follower: %d, %d bytes", row.ErrorCode, len(row.Records))
		}
	})
}
