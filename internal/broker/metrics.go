package broker

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sort"
	"strconv"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// newMetrics shows what the parts count anyway; nothing is kept for a scrape.
func (b *Broker) newMetrics() http.Handler {
	return metrics.NewHandler(metrics.Config{
		Requests: b.requests, Sockets: b.counted, Version: b.cfg.Version, Now: b.cfg.Now,
		Logger: b.logger.With("component", "metrics"),
		Source: metrics.Source{
			Topics: b.topicCounts, Partitions: b.partitionStates, Controller: b.controllerState,
			Raft: b.raftState, Brokers: b.brokerList, Groups: b.groupLags,
			Sessions:    b.sessions.Stats,
			OfflineDirs: b.dirs.offline, LogDirs: b.dirHealth,
			Cleaner: b.compactionFigures, Scrubbers: b.scrubbers.figures,
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

// groupLags asks the coordinator, as a client would, for the groups it has, and
// the replicas for how far behind they are.
func (b *Broker) groupLags() []metrics.Group {
	asker := group.Client{ID: "metrics", Version: 5}
	list := msg.NewListGroupsRequest()
	found := b.groups.List(context.Background(), asker, &list)
	describe := msg.NewDescribeGroupsRequest()
	for _, g := range found.Groups {
		describe.Groups = append(describe.Groups, g.GroupID)
	}
	sort.Strings(describe.Groups)
	var out []metrics.Group
	for _, g := range b.groups.Describe(context.Background(), asker, &describe).Groups {
		m := metrics.Group{Name: g.GroupID, State: g.GroupState, Members: len(g.Members)}
		fetch := msg.NewOffsetFetchRequestGroup()
		fetch.GroupID = g.GroupID
		for _, t := range b.groups.Fetch(context.Background(), asker, &fetch, false).Topics {
			for _, p := range t.Partitions {
				m.Offsets = append(m.Offsets, metrics.GroupOffset{Topic: t.Name, Partition: p.PartitionIndex,
					Committed: p.CommittedOffset, Lag: b.lag(t.Name, p.PartitionIndex, p.CommittedOffset)})
			}
		}
		slices.SortFunc(m.Offsets, func(x, y metrics.GroupOffset) int {
			return kafka.TopicPartition{Topic: x.Topic, Partition: x.Partition}.Compare(kafka.TopicPartition{Topic: y.Topic, Partition: y.Partition})
		})
		out = append(out, m)
	}
	return out
}

// lag is how many records a committed offset is behind, -1 if unknown.
func (b *Broker) lag(topic string, partition int32, committed int64) int64 {
	s, ok := b.replicas.Standing(topic, partition)
	if !ok || committed < 0 {
		return -1
	}
	return max(0, s.HW-committed)
}

func hostPort(e cluster.Endpoint) string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }
