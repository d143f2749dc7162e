package cluster

import (
	"reflect"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Between finds what changed from one image to another that did not grow out of
// it, as when a snapshot takes the place of all that was known. The delta only
// tells; nothing can be replayed into it.
func Between(old, next *Image) *Delta {
	d := &Delta{
		base: old, next: *next,
		touched:   map[kafka.UUID]*TopicChange{},
		brokers:   map[int32]*Broker{},
		resources: map[Resource]bool{},
		features:  !slices.Equal(old.features, next.features),
		users:     !sameScrams(old, next),
	}
	for _, t := range old.topics.all() {
		if next.TopicByID(t.ID) == nil {
			d.touched[t.ID] = &TopicChange{Old: t}
		}
	}
	for _, t := range next.topics.all() {
		if c := topicChange(old.TopicByID(t.ID), t); c != nil {
			d.touched[t.ID] = c
		}
	}
	for _, b := range old.brokers {
		if now := next.Broker(b.ID); !reflect.DeepEqual(b, now) {
			d.brokers[b.ID] = b
		}
	}
	for _, b := range next.brokers {
		if old.Broker(b.ID) == nil {
			d.brokers[b.ID] = nil
		}
	}
	for r, c := range old.configs.all() {
		if !slices.Equal(c, next.Config(r)) {
			d.resources[r] = true
		}
	}
	for r := range next.configs.all() {
		if len(old.Config(r)) == 0 {
			d.resources[r] = true
		}
	}
	return d
}

// topicChange compares a topic with what it was, nil if nothing was; it is nil
// when they are the same. Every change of a partition raises an epoch.
func topicChange(old, now *Topic) *TopicChange {
	c := &TopicChange{Old: old, New: now, parts: map[int32]bool{}}
	for i := range now.Partitions {
		p := &now.Partitions[i]
		if was := old.Partition(p.ID); was == nil || was.PartitionEpoch != p.PartitionEpoch || was.LeaderEpoch != p.LeaderEpoch {
			c.parts[p.ID] = true
		}
	}
	if old != nil && len(c.parts) == 0 {
		return nil
	}
	return c
}
