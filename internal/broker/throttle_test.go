package broker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestThrottles gives a partition of 512 KiB another replica, held to 64 KiB a
// second by its leader, by its follower, and by nobody: it takes the time that the
// rate says. A replica that is in sync is not held back, so producers are not.
func TestThrottles(t *testing.T) {
	const size, rate = 512 << 10, 64 << 10
	for _, c := range []struct {
		name, of   string // which properties, which replicas
		from, upto time.Duration
	}{
		{"leader", "*", 5 * time.Second, 10 * time.Second},
		{"follower", "*", 5 * time.Second, 10 * time.Second},
		{"leader", "other", 0, 3 * time.Second},
		{"", "", 0, 3 * time.Second},
	} {
		t.Run(c.name+" "+c.of, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := three(t, "min.insync.replicas=1")
				defer func() {
					for _, n := range all.nodes {
						n.stop()
					}
					for _, n := range all.nodes {
						<-n.done
					}
				}()
				if code := all.create(all.nodes[0], "t", 1, 2); code != kafka.None {
					t.Fatal(code)
				}
				until(t, "the topic leads", 5*time.Second, func() bool { return all.sends(all.nodes[0], "t", 0) == kafka.None })
				for range size / (16 << 10) {
					if code := all.sendsBytes("t", 16<<10); code != kafka.None {
						t.Fatal(code)
					}
				}
				has := slices.Clone(all.nodes[0].partition("t", 0).Replicas)
				if c.name != "" {
					list := c.of
					if list == "other" { // another partition, and a node that does not lead
						list = fmt.Sprintf("1:%d,0:%d", has[0], has[1])
					}
					all.configure("t", c.name+".replication.throttled.replicas", list)
					all.configure("", c.name+".replication.throttled.rate", fmt.Sprint(rate))
				}
				target := append(has, 6-has[0]-has[1])
				if code := all.reassign(all.nodes[0], "t", target); code != kafka.None {
					t.Fatal(code)
				}
				if c.from > 0 {
					all.shows("t")
				}
				took := until(t, "the new replica is in sync", time.Minute, func() bool { return len(all.nodes[0].partition("t", 0).ISR) == 3 })
				if took < c.from || took > c.upto {
					t.Errorf("it took %v, want %v to %v", took, c.from, c.upto)
				}
				begun := time.Now()
				for range 32 {
					if code := all.sendsBytes("t", 16<<10); code != kafka.None {
						t.Fatal(code)
					}
				}
				if took := time.Since(begun); took > 3*time.Second {
					t.Errorf("32 requests took %v though all are in sync", took)
				}
			})
		})
	}
}

// sendsBytes appends a record of some size to partition 0.
func (c *cohort) sendsBytes(topic string, size int) kafka.Code {
	c.t.Helper()
	var b record.Builder
	b.Append(record.Record{Timestamp: time.Now().UnixMilli(), Value: make([]byte, size)})
	req, resp := msg.NewProduceRequest(), msg.NewProduceResponse()
	req.Acks, req.TimeoutMs = -1, 5000
	req.TopicData = []msg.ProduceRequestTopicData{{Name: topic, PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Records: b.Bytes()}}}}
	c.call(c.node(c.nodes[0].partition(topic, 0).Leader), &req, &resp, 9)
	return kafka.Code(resp.Responses[0].PartitionResponses[0].ErrorCode)
}

// shows sees through every node at once that a partition is being reassigned.
func (c *cohort) shows(topic string) {
	c.t.Helper()
	for _, n := range c.nodes {
		ask, list := msg.NewListPartitionReassignmentsRequest(), msg.NewListPartitionReassignmentsResponse()
		ask.TimeoutMs = 5000
		c.call(n, &ask, &list, 0)
		if kafka.Code(list.ErrorCode) != kafka.None || len(list.Topics) != 1 || list.Topics[0].Name != topic {
			c.t.Errorf("node %d: %v, reassigned: %+v", n.self, kafka.Code(list.ErrorCode), list.Topics)
		}
	}
}
