package broker

import (
	"context"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/replica"
)

// follow is told of every change of the image, on the goroutine that applies
// the metadata log: it passes on by value what replicas and coordinators have
// to do, and does no work itself.
func (b *Broker) follow(d *cluster.Delta, img *cluster.Image) {
	props := b.metadata.Properties()
	change := replica.Delta{Complete: !b.followed}
	b.followed = true
	defaults := b.defaultsChanged(d)
	for _, c := range d.Topics() {
		if c.New == nil {
			change.Removed = append(change.Removed, b.held(c.Old)...)
			b.forget(c.Old.Name)
			continue
		}
		conf := b.topicConfig(props, img, c.New.Name)
		for _, id := range c.Partitions() {
			b.assign(&change, c, id, conf)
		}
	}
	if defaults {
		for _, t := range img.Topics() {
			b.reconfigure(props, img, t.Name)
		}
	}
	for _, r := range d.Resources() {
		if r.Kind == cluster.TopicResource && !defaults {
			b.reconfigure(props, img, r.Name)
		}
	}
	b.replicas.Apply(change)
	for _, c := range d.Topics() {
		b.coordinate(c)
	}
}

// defaultsChanged says whether a broker property changed at run time, on which
// the effective settings of topics may rest.
func (b *Broker) defaultsChanged(d *cluster.Delta) bool {
	for _, r := range d.Resources() {
		if r.Kind == cluster.BrokerResource {
			return true
		}
	}
	return false
}

// assign adds one changed partition to what the replicas are told.
func (b *Broker) assign(change *replica.Delta, c *cluster.TopicChange, id int32, conf replica.TopicConfig) {
	p := c.New.Partition(id)
	tp := kafka.TopicPartition{Topic: c.New.Name, Partition: id}
	if !p.HasReplica(b.self) {
		if c.Old != nil {
			if old := c.Old.Partition(id); old != nil && old.HasReplica(b.self) {
				change.Removed = append(change.Removed, tp)
			}
		}
		return
	}
	change.Assigned = append(change.Assigned, replica.Assignment{
		TopicPartition: tp, TopicID: c.New.ID, Config: conf,
		Role: partition.Assignment{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
			Replicas: p.Replicas, ISR: p.ISR},
	})
}

// held lists the partitions of a topic that this broker has.
func (b *Broker) held(t *cluster.Topic) []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for i := range t.Partitions {
		if t.Partitions[i].HasReplica(b.self) {
			out = append(out, kafka.TopicPartition{Topic: t.Name, Partition: int32(i)})
		}
	}
	return out
}

// coordinate elects this broker's coordinators for the partitions of an
// internal topic that it leads now, and resigns from those it does not.
func (b *Broker) coordinate(c *cluster.TopicChange) {
	if c.New == nil || c.New.Name != kafka.OffsetsTopic {
		return
	}
	for _, id := range c.Partitions() {
		p := c.New.Partition(id)
		if p.Leader == b.self {
			b.groups.Elect(id, p.LeaderEpoch)
		} else {
			b.groups.Resign(id, p.LeaderEpoch)
		}
	}
}

// forget drops the committed offsets of a deleted topic. It waits for a commit,
// so it must not run on the goroutine that applies the log.
func (b *Broker) forget(topic string) {
	select { //house:select two cases, one of them default
	case b.deleted <- topic:
	default:
		b.logger.Warn("too many topics deleted at once: offsets committed to one stay until they expire", "topic", topic)
	}
}

// forgetDeleted is the activity behind forget.
func (b *Broker) forgetDeleted(ctx context.Context) error {
	for {
		select { //house:select ending may come before or after one more topic
		case <-ctx.Done():
			return nil
		case topic := <-b.deleted:
			if err := b.groups.TopicsDeleted(ctx, []string{topic}); err != nil && ctx.Err() == nil {
				b.logger.Warn("offsets of a deleted topic stay until they expire", "topic", topic, "err", err)
			}
		}
	}
}

// reconfigure gives the replicas of a topic their settings anew.
func (b *Broker) reconfigure(props *config.Broker, img *cluster.Image, topic string) {
	t := img.Topic(topic)
	if t == nil {
		return
	}
	conf := b.topicConfig(props, img, topic)
	for _, tp := range b.held(t) {
		p := t.Partition(tp.Partition)
		b.replicas.Apply(replica.Delta{Assigned: []replica.Assignment{{
			TopicPartition: tp, TopicID: t.ID, Config: conf,
			Role: partition.Assignment{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
				Replicas: p.Replicas, ISR: p.ISR},
		}}})
	}
}
