package broker

import (
	"net"
	"net/http"
	"strconv"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/replica"
)

// newMetrics shows what the parts count anyway; nothing is kept for a scrape.
func (b *Broker) newMetrics() http.Handler {
	figures := coordinatorFigures{b}
	return metrics.NewHandler(metrics.Config{
		Requests: b.requests, Sockets: b.counted, Version: b.cfg.Version, Now: b.cfg.Now,
		Logger: b.logger.With("component", "metrics"),
		Source: metrics.Source{
			Topics: b.topicCounts, Partitions: b.partitionStates, Controller: b.controllerState,
			Raft: b.raftState, Brokers: b.brokerList,
			Sessions:    b.sessions.Stats,
			OfflineDirs: b.dirs.offline, LogDirs: b.dirHealth,
			Cleaner: b.compactionFigures, Scrubbers: b.scrubbers.figures,
			Groups: b.lags.census, GroupCounts: figures.groupCounts, Coordinators: figures.coordinators,
			Transactions: figures.transactions, Share: figures.shares,
		},
	})
}

// topicCounts adds up the counters of each topic's partitions, those that sleep
// included; they come sorted by topic.
func (b *Broker) topicCounts() []metrics.Topic {
	var out []metrics.Topic
	b.replicas.Standings(func(s *replica.Standing) {
		if len(out) == 0 || out[len(out)-1].Name != s.Topic {
			out = append(out, metrics.Topic{Name: s.Topic})
			count(&out[len(out)-1], b.replicas.Slept(s.Topic))
		}
		if s.Replica != nil {
			count(&out[len(out)-1], s.Replica.Counters())
		}
	})
	return out
}

func count(t *metrics.Topic, c *replica.Counters) {
	t.MessagesIn += c.MessagesIn.Load()
	t.BytesIn += c.BytesIn.Load()
	t.BytesOut += c.BytesOut.Load()
	t.TotalProduce += c.TotalProduce.Load()
	t.FailedProduce += c.FailedProduce.Load()
	t.TotalFetch += c.TotalFetch.Load()
	t.FailedFetch += c.FailedFetch.Load()
	t.ReplicationBytesOut += c.ReplicatedOut.Load()
}

func (b *Broker) partitionStates() []metrics.Partition {
	var out []metrics.Partition
	img := b.metadata.Image()
	b.replicas.Standings(func(s *replica.Standing) {
		p := metrics.Partition{Topic: s.Topic, Partition: s.Partition, Leads: s.Leads, Leader: s.Leader,
			Preferred: kafka.NoBroker, Replicas: s.Assigned, InSync: s.InSync, MinISR: s.MinISR,
			Offline: s.Offline, Size: s.Size, Segments: s.Segments, Start: s.Start, End: s.End, HW: s.HW}
		if t := img.Topic(s.Topic); t != nil {
			if known := t.Partition(s.Partition); known != nil && len(known.Replicas) > 0 {
				p.Preferred = known.Replicas[0]
			}
		}
		if s.Replica != nil {
			p.Copy = copyOf(s)
		}
		out = append(out, p)
	})
	return out
}

// copyOf is the copy of a replica that moves, nil if it does not.
func copyOf(s *replica.Standing) *metrics.Copy {
	_, size, lag, ok := s.Replica.Future()
	if !ok {
		return nil
	}
	return &metrics.Copy{Size: size, Start: min(s.Start, s.End-lag), End: s.End - lag}
}

// dirHealth is how the log directories are.
func (b *Broker) dirHealth() []metrics.LogDir {
	list := b.dirs.health()
	cordoned := b.metadata.Properties().CordonedDirs()
	for i := range list {
		list[i].Cordoned = holdsPath(cordoned, list[i].Dir)
	}
	return list
}

func (b *Broker) controllerState() metrics.Controller {
	img := b.metadata.Image()
	c := metrics.Controller{Active: img.ControllerID() == b.self, Topics: img.TopicCount(), Partitions: img.PartitionCount(),
		LastAppliedRecordOffset: img.Index()}
	for _, r := range img.Brokers() {
		if r.Fenced {
			c.FencedBrokers++
		} else {
			c.ActiveBrokers++
		}
	}
	for _, t := range img.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader == kafka.NoBroker {
				c.OfflinePartitions++
			}
			if len(p.Replicas) > 0 && p.Leader != p.Replicas[0] {
				c.PreferredImbalance++
			}
		}
	}
	return c
}

func (b *Broker) raftState() metrics.Raft {
	s := b.metadata.Quorum()
	r := metrics.Raft{State: "follower", Leader: s.Leader, Epoch: int64(s.Term), HighWatermark: int64(s.Committed) + 1, LogEnd: int64(s.Last) + 1}
	if s.Leader == b.self {
		r.State = "leader"
	}
	return r
}

func (b *Broker) brokerList() []metrics.Broker {
	var out []metrics.Broker
	for _, r := range b.metadata.Image().Brokers() {
		addr := ""
		if len(r.Endpoints) > 0 {
			addr = hostPort(r.Endpoints[0])
		}
		out = append(out, metrics.Broker{ID: r.ID, Address: addr})
	}
	return out
}

func hostPort(e cluster.Endpoint) string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }
