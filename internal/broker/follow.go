package broker

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/follow"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/peer"
	"github.com/myelin-stream/myelin/internal/replica"
)

// newFetchers makes what fills the partitions that this broker follows.
func newFetchers(b *Broker) *follow.Follow {
	last := &fetchSettings{b: b}
	return follow.New(follow.Config{
		Self: b.self, Now: b.cfg.Now, Logger: b.logger.With("component", "follow"),
		Connect: func(leader int32, lane int) follow.Conn { return b.peers.Lane(leader, peer.Fetch, lane) },
		Epoch: func() int64 {
			if r := b.metadata.Image().Broker(b.self); r != nil {
				return r.Epoch
			}
			return -1
		},
		Settings: last.get,
	})
}

// roled passes on that the role of a replica changed.
func (b wherever) roled(r *replica.Replica) {
	if r.Leads() {
		if assigned, _, _ := r.InSync(); assigned > 1 {
			b.turnover.Turned(b.cfg.Now())
		}
	}
	b.fetchers.Changed(r)
}

// fetchSettings are those of fetchers, made anew when a property has changed.
type fetchSettings struct {
	b    *Broker
	last atomic.Pointer[fetchSet]
}

type fetchSet struct {
	of  *config.Broker
	set follow.Settings
}

func (s *fetchSettings) get() follow.Settings {
	props := s.b.metadata.Properties()
	if last := s.last.Load(); last != nil && last.of == props {
		return last.set
	}
	set := follow.Settings{
		Fetchers: props.Int("num.replica.fetchers"),
		MaxWait:  props.Millis("replica.fetch.wait.max.ms"), Backoff: props.Millis("replica.fetch.backoff.ms"),
		MinBytes: int32(props.Int("replica.fetch.min.bytes")), MaxBytes: int32(props.Int("replica.fetch.max.bytes")),
		ResponseBytes: int32(props.Int("replica.fetch.response.max.bytes")),
	}
	if rate := props.Int64("follower.replication.throttled.rate"); rate < math.MaxInt64 {
		set.Rate, set.Throttled = rate, wherever{s.b}.throttled("follower.replication.throttled.replicas")
	}
	s.last.Store(&fetchSet{props, set})
	return set
}

// throttled says which of this broker's replicas a topic's property names:
// partition:broker pairs, or * for all.
func (b wherever) throttled(property string) func(kafka.TopicPartition) bool {
	return func(tp kafka.TopicPartition) bool {
		topic := b.metadata.Image().Config(cluster.Resource{Kind: cluster.TopicResource, Name: tp.Topic})
		v, _ := b.metadata.Properties().TopicValue(property, topic.Map())
		list := v.List()
		return slices.Contains(list, "*") || slices.Contains(list, fmt.Sprintf("%d:%d", tp.Partition, b.self))
	}
}

// leaderLimits are what [api.Throttle] asks for.
func (b wherever) leaderLimits() func() (int64, func(kafka.TopicPartition) bool) {
	of := b.throttled("leader.replication.throttled.replicas")
	return func() (int64, func(kafka.TopicPartition) bool) {
		if rate := b.metadata.Properties().Int64("leader.replication.throttled.rate"); rate < math.MaxInt64 {
			return rate, of
		}
		return 0, nil
	}
}
