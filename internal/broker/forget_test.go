package broker

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestForgotten has a fourth node leave for good: once it is unregistered and
// silent it is no member of the quorum any more, though one that is only stopped
// stays. When it comes back after all it joins again, with the disk that it has.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t)
		defer c.stopAll()
		four := c.add(4, "controller.quorum.bootstrap.servers=node1:9093,node2:9093,node3:9093")
		c.start(four)
		c.ready(four)
		learners := func() []int32 {
			row, _ := c.describe(c.nodes[0])
			return replicaIDs(row.Observers)
		}
		four.end(t)
		time.Sleep(time.Minute)
		if got := learners(); !slices.Equal(got, []int32{4}) {
			t.Fatalf("a node that is registered was forgotten: %v", got)
		}
		req, resp := msg.NewUnregisterBrokerRequest(), msg.NewUnregisterBrokerResponse()
		req.BrokerID = 4
		c.call(c.nodes[0], &req, &resp, 0)
		if code := kafka.Code(resp.ErrorCode); code != kafka.None {
			t.Fatal(code)
		}
		until(t, "it is forgotten", time.Minute, func() bool { return len(learners()) == 0 })
		c.start(four)
		c.ready(four)
		c.samePicture(c.nodes...)
		if got := learners(); !slices.Equal(got, []int32{4}) {
			t.Errorf("it is back, and the learners are %v", got)
		}
	})
}
