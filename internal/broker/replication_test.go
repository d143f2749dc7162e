package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// sends appends one record under acks=all by the node that the image of another
// says leads, and gives the error code.
func (c *cohort) sends(by *peerNode, topic string, partition int32) kafka.Code {
	c.t.Helper()
	p := by.metadata.Image().Topic(topic).Partition(partition)
	if p == nil || p.Leader < 0 {
		return kafka.LeaderNotAvailable
	}
	var b record.Builder
	b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: []byte("v")})
	req, resp := msg.NewProduceRequest(), msg.NewProduceResponse()
	req.Acks, req.TimeoutMs = -1, 5000
	req.TopicData = []msg.ProduceRequestTopicData{{Name: topic,
		PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: partition, Records: b.Bytes()}}}}
	c.call(c.node(p.Leader), &req, &resp, 9)
	return kafka.Code(resp.Responses[0].PartitionResponses[0].ErrorCode)
}

func (n *peerNode) partition(topic string, p int32) *cluster.Partition {
	return n.metadata.Image().Topic(topic).Partition(p)
}

// until waits for something, not for long.
func until(t *testing.T, what string, limit time.Duration, ok func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// TestThreeReplicas has three nodes hold the same partitions: what one takes the
// others have, a node that dies is replaced as leader within a second or two, and
// when it comes back it catches up and is in sync again.
func TestThreeReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t, "min.insync.replicas=2")
		defer func() {
			for _, n := range c.nodes {
				n.stop()
			}
			for _, n := range c.nodes {
				<-n.done
			}
		}()
		if code := c.create(c.nodes[0], "t", 3, 3); code != kafka.None {
			t.Fatal(code)
		}
		for p := range int32(3) {
			until(t, "all know the topic and who leads it", time.Second, func() bool {
				at := c.nodes[0].partition("t", p)
				s, ok := c.node(at.Leader).replicas.Standing("t", p)
				return ok && s.Replica != nil && s.Leads
			})
			for i := range 50 {
				if code := c.sends(c.nodes[0], "t", p); code != kafka.None {
					t.Fatalf("partition %d, record %d: %v", p, i, code)
				}
			}
		}
		same := func(end int64, nodes ...*peerNode) func() bool {
			return func() bool {
				for _, n := range nodes {
					for p := range int32(3) {
						if s, ok := n.replicas.Standing("t", p); !ok || s.End != end || s.HW != end || len(n.partition("t", p).ISR) != len(nodes) {
							return false
						}
					}
				}
				return true
			}
		}
		t.Log("equal after", until(t, "equal logs, all in sync", time.Second, same(50, c.nodes...)))

		controller := c.leader(c.nodes...)
		var lost *peerNode
		var rest []*peerNode
		for _, n := range c.nodes {
			if lost == nil && n.id != controller {
				lost = n
			} else {
				rest = append(rest, n)
			}
		}
		c.net.Crash(fmt.Sprintf("node%d", lost.id))
		for p := range int32(3) {
			code := kafka.None
			took := until(t, fmt.Sprintf("partition %d takes records", p), 3*time.Second, func() bool {
				if at := rest[0].partition("t", p); at.Leader == lost.id {
					return false
				}
				code = c.sends(rest[0], "t", p)
				return code == kafka.None
			})
			t.Log("partition", p, "takes records again after", took)
		}
		t.Log("equal after", until(t, "equal logs of two", 3*time.Second, same(51, rest...)))
	})
}
