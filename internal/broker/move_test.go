package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// reassign asks a node to move the first partition of a topic; nil takes that back.
func (c *cohort) reassign(n *peerNode, topic string, to []int32) kafka.Code {
	c.t.Helper()
	req, resp := msg.NewAlterPartitionReassignmentsRequest(), msg.NewAlterPartitionReassignmentsResponse()
	req.Topics = []msg.AlterPartitionReassignmentsRequestTopic{{Name: topic,
		Partitions: []msg.AlterPartitionReassignmentsRequestTopicPartition{{Replicas: to}}}}
	c.call(n, &req, &resp, 1)
	return kafka.Code(resp.Responses[0].Partitions[0].ErrorCode)
}

// elect asks a node that the preferred replica of the first partition shall lead.
func (c *cohort) elect(n *peerNode, topic string) kafka.Code {
	c.t.Helper()
	req, resp := msg.NewElectLeadersRequest(), msg.NewElectLeadersResponse()
	req.TopicPartitions = []msg.ElectLeadersRequestTopicPartition{{Topic: topic, Partitions: []int32{0}}}
	c.call(n, &req, &resp, 2)
	return kafka.Code(resp.ReplicaElectionResults[0].PartitionResult[0].ErrorCode)
}

// TestReplicasMove has a partition go from one broker to two others: they copy
// what it has, then it has it no more. The preferred one leads when it is asked
// for, and gives that away before it ends.
func TestReplicasMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		left := slices.Clone(c.nodes)
		defer func() {
			for _, n := range left {
				n.stop()
			}
			for _, n := range left {
				<-n.done
			}
		}()
		if code := c.create(c.nodes[0], "t", 1, 1); code != kafka.None {
			t.Fatal(code)
		}
		c.settle(c.nodes...)
		old := c.nodes[0].partition("t", 0).Leader
		until(t, "its leader leads", time.Second, func() bool {
			s, ok := c.node(old).replicas.Standing("t", 0)
			return ok && s.Leads
		})
		for i := range 20 {
			if code := c.sends(c.nodes[0], "t", 0); code != kafka.None {
				t.Fatalf("record %d: %v", i, code)
			}
		}
		var to []int32
		for _, n := range c.nodes {
			if n.id != old {
				to = append(to, n.id)
			}
		}
		if code := c.reassign(c.nodes[0], "t", to); code != kafka.None {
			t.Fatal(code)
		}
		t.Log("moved after", until(t, "the replicas are elsewhere", 5*time.Second, func() bool {
			p := c.nodes[0].partition("t", 0)
			return !p.Reassigning() && slices.Equal(p.Replicas, to) && len(p.ISR) == 2
		}))
		if code := c.reassign(c.nodes[1], "t", nil); code != kafka.NoReassignmentInProgress {
			t.Error("there is still something to take back:", code)
		}
		c.settle(c.nodes...)
		until(t, "who has it is who shall", 2*time.Second, func() bool {
			s, here := c.node(old).replicas.Standing("t", 0)
			for _, id := range to {
				if m, ok := c.node(id).replicas.Standing("t", 0); !ok || m.End != 20 || m.HW != 20 {
					return false
				}
			}
			return !here || s.Replica == nil
		})
		if code := c.elect(c.node(old), "t"); code != kafka.None && code != kafka.ElectionNotNeeded {
			t.Error("elect:", code)
		}
		until(t, "the preferred replica leads", time.Second, func() bool { return c.node(old).partition("t", 0).Leader == to[0] })
		goes := c.node(to[0])
		goes.end(t)
		left = slices.DeleteFunc(left, func(n *peerNode) bool { return n == goes })
		until(t, "the other leads, and takes records", 2*time.Second, func() bool {
			return c.node(old).partition("t", 0).Leader == to[1] && c.sends(c.node(old), "t", 0) == kafka.None
		})
		until(t, "a broker that ended is out of service", time.Second, func() bool { return c.node(old).metadata.Image().Broker(goes.id).Fenced })
	})
}
