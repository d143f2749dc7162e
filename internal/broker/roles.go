package broker

import (
	"context"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/replica"
)

// follow is told of every change of the image, on the goroutine that applies
// the metadata log: it passes on by value what replicas, coordinators and
// sockets have to do, and does no work itself.
func (b *Broker) follow(d *cluster.Delta, img *cluster.Image) {
	props := b.metadata.Properties()
	first := !b.followed
	b.followed = true
	change := replica.Delta{Complete: first}
	for _, c := range d.Topics() {
		if c.New == nil {
			change.Removed = append(change.Removed, b.held(c.Old)...)
			b.forget(c.Old)
			continue
		}
		conf := new(b.topicConfig(props, img, c.New.Name))
		for _, id := range c.Partitions() {
			b.assign(&change, c, id, conf)
		}
	}
	changed, all := reconfigured(d)
	if all {
		b.server.SetLimits(connectionLimits(props))
		b.setDirectories(props)
		b.places.changed()
		b.compactor.SetSettings(cleaning(props))
	}
	if !first { // the whole state came with its settings
		b.reconfigure(&change, img, changed, all)
	}
	b.replicas.Apply(change)
	for _, c := range d.Topics() {
		b.coordinate(c)
	}
}

// reconfigured lists the topics whose settings changed, and says whether a
// broker property changed at run time, on which those of all topics may rest.
func reconfigured(d *cluster.Delta) (topics []string, all bool) {
	for _, r := range d.Resources() {
		switch r.Kind {
		case cluster.BrokerResource:
			all = true
		case cluster.TopicResource:
			topics = append(topics, r.Name)
		}
	}
	return topics, all
}

// assign adds one changed partition to what the replicas are told.
func (b *Broker) assign(change *replica.Delta, c *cluster.TopicChange, id int32, conf *replica.TopicConfig) {
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
		TopicPartition: tp, TopicID: c.New.ID, Config: conf, Dir: p.DirectoryOf(b.self),
		Role: partition.Assignment{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
			Replicas: p.Replicas, ISR: p.ISR, Recovering: p.Recovering},
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
	if c.New == nil {
		return
	}
	var role coordinatorRole
	switch c.New.Name {
	case kafka.OffsetsTopic:
		role = b.groups
	case kafka.ShareStateTopic:
		role = b.shareState
	case kafka.TxnTopic:
		role = b.txns
	default:
		return
	}
	for _, id := range c.Partitions() {
		p := c.New.Partition(id)
		if p.Leader == b.self {
			role.Elect(id, p.LeaderEpoch)
		} else {
			role.Resign(id, p.LeaderEpoch)
		}
	}
}

// coordinatorRole is a coordinator that this broker may be for partitions of an
// internal topic.
type coordinatorRole interface {
	Elect(partition, epoch int32)
	Resign(partition, epoch int32)
}

// forget drops what coordinators keep of a deleted topic. It waits for commits, so
// it must not run on the goroutine that applies the log.
func (b *Broker) forget(topic *cluster.Topic) {
	select { //house:select two cases, one of them default
	case b.deleted <- topic:
	default:
		b.logger.Warn("too many topics deleted at once: offsets committed to one stay until they expire", "topic", topic.Name)
	}
}

// forgetDeleted is the activity behind forget.
func (b *Broker) forgetDeleted(ctx context.Context) error {
	for {
		select { //house:select ending may come before or after one more topic
		case <-ctx.Done():
			return nil
		case topic := <-b.deleted:
			if err := b.groups.TopicsDeleted(ctx, []string{topic.Name}); err != nil && ctx.Err() == nil {
				b.logger.Warn("offsets of a deleted topic stay until they expire", "topic", topic.Name, "err", err)
			}
			if err := b.groups.Shares().TopicsDeleted(ctx, []kafka.UUID{topic.ID}); err != nil && ctx.Err() == nil {
				b.logger.Warn("share groups remember a deleted topic", "topic", topic.Name, "err", err)
			}
			if err := b.shareState.TopicsDeleted(ctx, []kafka.UUID{topic.ID}); err != nil && ctx.Err() == nil {
				b.logger.Warn("what share groups made of a deleted topic stays", "topic", topic.Name, "err", err)
			}
		}
	}
}

// reconfigure adds the replicas of topics whose settings changed to what the
// replicas are told.
func (b *Broker) reconfigure(change *replica.Delta, img *cluster.Image, topics []string, all bool) {
	if all {
		topics = nil
		for _, t := range img.Topics() {
			topics = append(topics, t.Name)
		}
	}
	props := b.metadata.Properties()
	for _, name := range topics {
		t := img.Topic(name)
		if t == nil {
			continue
		}
		conf := new(b.topicConfig(props, img, name))
		for _, tp := range b.held(t) {
			b.assign(change, &cluster.TopicChange{New: t}, tp.Partition, conf)
		}
	}
}
