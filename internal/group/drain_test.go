package group

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// When the broker drains, whoever waits is told to look for the coordinator
// again, and nothing is left running.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		log := slicelog.New(1)
		s, wait := open(ctx, t, log, func(c *Config) { c.Limits.InitialDelay = 1 << 40 })
		s.Elect(0, 1)
		synctest.Wait()
		requests, drain := context.WithCancel(t.Context())
		p := &local{t: t, s: s, ctx: requests}
		join := msg.NewJoinGroupRequest()
		join.GroupID, join.SessionTimeoutMs, join.RebalanceTimeoutMs = "g", 10000, 1<<30
		join.ProtocolType, join.Protocols = "consumer", []msg.JoinGroupRequestProtocol{{Name: "range"}}
		joined := p.send(&join, 3)
		synctest.Wait()
		log.Hold()
		commit := msg.NewOffsetCommitRequest()
		commit.GroupID = "simple"
		commit.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{}}}}
		committed := p.send(&commit, 8)
		synctest.Wait()
		drain()
		synctest.Wait()
		no := int16(kafka.NotCoordinator)
		if r := (<-joined).(*msg.JoinGroupResponse); r.ErrorCode != no {
			t.Errorf("the join is answered %s", show(r))
		}
		if r := (<-committed).(*msg.OffsetCommitResponse); r.Topics[0].Partitions[0].ErrorCode != no {
			t.Errorf("the commit is answered %s", show(r))
		}
		stop()
		wait()
	})
}
