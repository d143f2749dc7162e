package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/follow"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// configure sets a property of a topic, or of all brokers.
func (c *cohort) configure(topic, name, value string) {
	c.t.Helper()
	req, resp := msg.NewIncrementalAlterConfigsRequest(), msg.NewIncrementalAlterConfigsResponse()
	r := msg.IncrementalAlterConfigsRequestResource{ResourceType: 2, ResourceName: topic}
	if topic == "" {
		r.ResourceType = 4
	}
	r.Configs = []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}}
	req.Resources = []msg.IncrementalAlterConfigsRequestResource{r}
	c.call(c.nodes[0], &req, &resp, 1)
	if code := kafka.Code(resp.Responses[0].ErrorCode); code != kafka.None {
		c.t.Fatalf("%s: %v", name, code)
	}
}

// TestFetchProperties pins what the properties of followers become; what they do
// is shown in package follow.
func TestFetchProperties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := three(t, "num.replica.fetchers=2", "replica.fetch.wait.max.ms=123", "replica.fetch.backoff.ms=456", "replica.fetch.min.bytes=7",
			"replica.fetch.max.bytes=1000", "replica.fetch.response.max.bytes=2000", "replica.selector.class="+rackAware)
		defer func() {
			for _, n := range c.nodes {
				n.stop()
			}
			for _, n := range c.nodes {
				<-n.done
			}
		}()
		s := &fetchSettings{b: c.nodes[0].Broker}
		got := s.get()
		want := follow.Settings{Fetchers: 2, MaxWait: 123 * time.Millisecond, Backoff: 456 * time.Millisecond, MinBytes: 7, MaxBytes: 1000, ResponseBytes: 2000}
		if got.Throttled != nil || got.Fetchers != want.Fetchers || got.MaxWait != want.MaxWait || got.Backoff != want.Backoff ||
			got.MinBytes != want.MinBytes || got.MaxBytes != want.MaxBytes || got.ResponseBytes != want.ResponseBytes {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if code := c.create(c.nodes[0], "t", 2, 3); code != kafka.None {
			t.Fatal(code)
		}
		c.configure("t", "follower.replication.throttled.replicas", "0:1,1:2")
		c.configure("", "follower.replication.throttled.rate", "5000")
		until(t, "the rate is known", time.Second, func() bool { got = s.get(); return got.Rate == 5000 })
		for p, throttled := range []bool{true, false} {
			if got.Throttled(kafka.TopicPartition{Topic: "t", Partition: int32(p)}) != throttled {
				t.Errorf("partition %d is not throttled as said", p)
			}
		}
	})
}
