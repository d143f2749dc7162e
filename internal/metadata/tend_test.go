package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// deaf are peers of which none answers.
type deaf struct{}

func (deaf) Ask(context.Context, int32, msg.Request, msg.Response, int16) error {
	return errors.New("nobody is there")
}
func (deaf) Probe(context.Context, int32) bool { return true }

// decides lets the node's leader decide.
func (n *node) decides(f func(s *controller.State) controller.Records) {
	n.t.Helper()
	if err := (leader{n.Metadata}).decide(context.Background(), f); err != nil {
		n.t.Fatal(err)
	}
}

// comes makes another broker one that is in service; nobody watches over it.
func (n *node) comes(id int32) {
	n.t.Helper()
	n.decides(func(s *controller.State) controller.Records {
		req := msg.NewBrokerRegistrationRequest()
		req.BrokerID, req.ClusterID, req.IncarnationID, req.LogDirs = id, n.cfg.ClusterID, kafka.UUID{1: byte(id)}, []kafka.UUID{{2: byte(id)}}
		for _, f := range controller.Supported() {
			req.Features = append(req.Features, msg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
		}
		recs, _ := controller.RegisterBroker(s, &req, true)
		return recs
	})
}

// assigned makes a topic of one partition on brokers.
func (n *node) assigned(name string, configs map[string]string, brokers ...int32) {
	n.t.Helper()
	req := msg.NewCreateTopicsRequest()
	t := msg.CreateTopicsRequestTopic{Name: name, NumPartitions: -1, ReplicationFactor: -1,
		Assignments: []msg.CreateTopicsRequestTopicAssignment{{BrokerIDs: brokers}}}
	for k, v := range configs {
		t.Configs = append(t.Configs, msg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
	}
	req.Topics = append(req.Topics, t)
	if row := n.CreateTopics(context.Background(), &req).Topics[0]; row.ErrorCode != 0 {
		n.t.Fatal(*row.ErrorMessage)
	}
}

func (n *node) partition(topic string) *cluster.Partition { return n.Image().Topic(topic).Partition(0) }

// alter sends AlterPartition as the leader does.
func (n *node) alter(topic string, isr ...int32) {
	n.t.Helper()
	p := n.partition(topic)
	req := msg.NewAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = p.Leader, n.Image().Broker(p.Leader).Epoch
	rp := msg.AlterPartitionRequestTopicPartition{LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, id := range isr {
		rp.NewISRWithEpochs = append(rp.NewISRWithEpochs, msg.AlterPartitionRequestTopicPartitionNewISRWithEpoch{BrokerID: id, BrokerEpoch: -1})
	}
	req.Topics = []msg.AlterPartitionRequestTopic{{TopicID: n.Image().Topic(topic).ID, Partitions: []msg.AlterPartitionRequestTopicPartition{rp}}}
	if resp := n.AlterPartition(context.Background(), &req); resp.ErrorCode != 0 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		n.t.Fatalf("%+v", resp)
	}
}

// tended runs f with a leader that tends a cluster, under settings of its own.
func tended(t *testing.T, f func(n *node), props ...string) {
	synctest.Test(t, func(t *testing.T) {
		static := config.Settings{}
		for i := 0; i < len(props); i += 2 {
			static[props[i]] = config.Setting{Value: props[i+1], Origin: "test"}
		}
		n := start(t, options{fs: vfs.NewMem(vfs.MemConfig{Now: time.Now}), static: static, peers: deaf{}})
		defer n.end()
		f(n)
	})
}

// away gives what broker 2 prefers to lead to broker 1, and brings broker 2 back
// into the ISR.
func away(n *node) {
	n.comes(2)
	n.assigned("t", nil, 2, 1)
	n.decides(func(s *controller.State) controller.Records { return controller.FenceBroker(s, 2) })
	n.comesBack(2)
	if p := n.partition("t"); p.Leader != 1 {
		n.t.Fatalf("%+v", p)
	}
	n.alter("t", 1, 2)
}

// comesBack unfences a broker.
func (n *node) comesBack(id int32) {
	n.decides(func(s *controller.State) controller.Records {
		req := msg.NewBrokerHeartbeatRequest()
		req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = id, s.Image.Broker(id).Epoch, s.Image.Index()
		recs, _ := controller.BrokerHeartbeat(s, &req)
		return recs
	})
}

// leadsAfter wants broker to lead t by then.
func (n *node) leadsAfter(wait time.Duration, broker int32) {
	n.t.Helper()
	time.Sleep(wait)
	synctest.Wait()
	if got := n.partition("t").Leader; got != broker {
		n.t.Errorf("after %v broker %d leads, want %d", wait, got, broker)
	}
}

// leader.imbalance.check.interval.seconds is how long a preferred replica waits.
func TestImbalanceInterval(t *testing.T) {
	tended(t, func(n *node) {
		away(n)
		n.leadsAfter(25*time.Second, 1)
		n.leadsAfter(10*time.Second, 2)
	}, "leader.imbalance.check.interval.seconds", "30")
	tended(t, func(n *node) {
		away(n)
		n.leadsAfter(295*time.Second, 1)
		n.leadsAfter(15*time.Second, 2)
	})
}

// auto.leader.rebalance.enable says whether it waits for that at all.
func TestNoRebalance(t *testing.T) {
	tended(t, func(n *node) {
		away(n)
		n.leadsAfter(100*time.Second, 1)
	}, "leader.imbalance.check.interval.seconds", "2", "auto.leader.rebalance.enable", "false")
}

// unclean.leader.election.enable lets a replica lead that may miss records, as
// soon as nobody else can, and for topics as well.
func TestUncleanLeaderElection(t *testing.T) {
	for _, on := range []bool{false, true} {
		tended(t, func(n *node) {
			n.comes(2) // broker 1 is this node: fenced, it comes back by itself
			n.comes(3)
			n.assigned("t", nil, 3, 2)
			n.assigned("u", map[string]string{"unclean.leader.election.enable": fmt.Sprint(!on)}, 2, 3)
			n.decides(func(s *controller.State) controller.Records { return controller.FenceBroker(s, 2) })
			n.comesBack(2)
			n.alter("u", 3)
			n.alter("t", 3)
			n.decides(func(s *controller.State) controller.Records { return controller.FenceBroker(s, 3) })
			for topic, unclean := range map[string]bool{"t": on, "u": !on} {
				want := map[bool]int32{false: kafka.NoBroker, true: 2}[unclean]
				if p := n.partition(topic); p.Leader != want || p.Recovering != unclean {
					t.Errorf("unclean %v: %s is %+v", unclean, topic, p)
				}
			}
		}, "unclean.leader.election.enable", fmt.Sprint(on))
	}
}

// unclean.leader.election.interval.ms is how often the leader looks for partitions
// that wait though they need not, as when the setting came with a restart.
func TestUncleanInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options{fs: vfs.NewMem(vfs.MemConfig{Now: time.Now}), peers: deaf{}}
		n := start(t, o)
		n.comes(2)
		n.comes(3)
		n.assigned("t", nil, 2, 3)
		n.decides(func(s *controller.State) controller.Records { return controller.FenceBroker(s, 3) })
		n.comesBack(3)
		n.decides(func(s *controller.State) controller.Records { return controller.FenceBroker(s, 2) })
		n.leadsAfter(0, kafka.NoBroker)
		n.end()
		o.static = config.Settings{"unclean.leader.election.enable": {Value: "true", Origin: "test"},
			"unclean.leader.election.interval.ms": {Value: "30000", Origin: "test"}}
		n = start(t, o)
		defer n.end()
		alive := func(seconds int) {
			for range 2 * seconds {
				n.sessions.heard(3, 0)
				time.Sleep(500 * time.Millisecond)
			}
		}
		alive(25)
		n.leadsAfter(0, kafka.NoBroker)
		alive(10)
		n.leadsAfter(0, 3)
	})
}

// Internal topics of a cluster that grows grow too.
func TestInternalTopicsGrow(t *testing.T) {
	tended(t, func(n *node) {
		n.AutoCreate(context.Background(), []string{kafka.OffsetsTopic})
		n.comes(2)
		n.comes(3)
		time.Sleep(2 * tendEvery)
		synctest.Wait()
		if p := n.partition(kafka.OffsetsTopic); len(p.Replicas) != 3 || !slices.Equal(p.Adding, []int32{2, 3}) {
			t.Errorf("%+v", p)
		}
	}, "offsets.topic.num.partitions", "1")
}
