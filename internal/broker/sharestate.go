package broker

import (
	"context"
	"fmt"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/share/persist"
)

// newShareState makes the share coordinator.
func newShareState(b *Broker, props *config.Broker) (*persist.Service, error) {
	c := persist.DefaultConfig()
	c.Partitions = func() int32 {
		if t := b.metadata.Image().Topic(kafka.ShareStateTopic); t != nil {
			return int32(len(t.Partitions))
		}
		return 0
	}
	c.Open = func(_ context.Context, partition int32) (coordinator.Log, int32, error) {
		return openCoordinatorLog(b.replicas, kafka.ShareStateTopic, partition)
	}
	c.Exists = func(topic kafka.UUID, partition int32) bool {
		t := b.metadata.Image().TopicByID(topic)
		return t != nil && t.Partition(partition) != nil
	}
	c.Create = func(ctx context.Context) error {
		made := b.metadata.AutoCreate(ctx, []string{kafka.ShareStateTopic})
		if len(made) != 1 {
			return fmt.Errorf("%s cannot be made: %w", kafka.ShareStateTopic, kafka.CoordinatorNotAvailable)
		}
		return made[0].Err
	}
	c.Prune = func(_ context.Context, partition int32, before int64) error {
		r, err := b.replicas.Get(kafka.ShareStateTopic, partition)
		if err != nil {
			return err
		}
		_, err = r.DeleteRecords(before)
		return err
	}
	c.Now, c.Logger = b.cfg.Now, b.logger.With("component", "share state")
	c.SnapshotEvery = props.Int("share.coordinator.snapshot.update.records.per.snapshot")
	c.ColdAfter = props.Millis("share.coordinator.cold.partition.snapshot.interval.ms")
	c.PruneEvery = props.Millis("share.coordinator.state.topic.prune.interval.ms")
	c.WriteTimeout = props.Millis("share.coordinator.write.timeout.ms")
	return persist.New(c)
}

// shareStates shows the share coordinator to the group coordinator.
type shareStates struct{ at persist.Coordinator }

var _ group.ShareState = shareStates{}

func keyOf(at group.SharePartition) share.Key {
	return share.Key{Group: at.Group, TopicID: at.Topic, Partition: at.Partition}
}

func (s shareStates) Initialize(ctx context.Context, at group.SharePartition, stateEpoch int32, start int64) error {
	return s.at.Initialize(ctx, keyOf(at), stateEpoch, start)
}

func (s shareStates) Delete(ctx context.Context, at group.SharePartition) error {
	return s.at.Delete(ctx, keyOf(at))
}

func (s shareStates) Summary(ctx context.Context, at group.SharePartition) (group.ShareSummary, error) {
	sum, err := s.at.Summary(ctx, keyOf(at))
	return group.ShareSummary{Start: sum.StartOffset, LeaderEpoch: sum.LeaderEpoch, DeliveryComplete: sum.DeliveryComplete}, err
}

func (s shareStates) Text(err error) (kafka.Code, *string) { return persist.Answer(err) }
