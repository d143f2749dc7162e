package broker

import (
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
			coordinators{b}.forget(c.Old)
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
	of := coordinators{b}
	for _, c := range d.Topics() {
		of.resign(c)
	}
	b.replicas.Apply(change)
	for _, c := range d.Topics() {
		of.elect(c)
	}
	of.shares(d)
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
