package persist

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Config says what a Service works on.
type Config struct {
	// Partitions is the number of partitions of __share_group_state, 0 while the
	// topic does not exist.
	Partitions func() int32

	// Open gives the log of a partition of __share_group_state that this broker
	// leads, and the leader epoch to append with.
	Open func(ctx context.Context, partition int32) (coordinator.Log, int32, error)

	// Exists says whether there is such a partition of a topic.
	Exists func(topic kafka.UUID, partition int32) bool

	// Create makes __share_group_state. It may return before the topic can be
	// used. Nil: somebody else does.
	Create func(ctx context.Context) error

	// Prune deletes the records of a partition of __share_group_state before an
	// offset. Nil: nothing is ever deleted.
	Prune func(ctx context.Context, partition int32, before int64) error

	Now    func() time.Time
	Logger *slog.Logger // nil: discard

	// SnapshotEvery is share.coordinator.snapshot.update.records.per.snapshot: how
	// many updates a share partition gets between two snapshots.
	SnapshotEvery int

	// ColdAfter is share.coordinator.cold.partition.snapshot.interval.ms: a share
	// partition whose last snapshot is as old as this gets another one, and how
	// often that is looked at.
	ColdAfter time.Duration

	// PruneEvery is share.coordinator.state.topic.prune.interval.ms.
	PruneEvery time.Duration

	// WriteTimeout is share.coordinator.write.timeout.ms: how long a request may
	// wait to be committed.
	WriteTimeout time.Duration

	// MaxBatch is max.message.bytes of __share_group_state.
	MaxBatch int
}

// DefaultConfig has Kafka's defaults for all that has one.
func DefaultConfig() Config {
	return Config{
		SnapshotEvery: 500,
		ColdAfter:     5 * time.Minute,
		PruneEvery:    5 * time.Minute,
		WriteTimeout:  5 * time.Second,
		MaxBatch:      1048588,
	}
}

func (c *Config) validate() error {
	switch {
	case c.Partitions == nil || c.Open == nil || c.Exists == nil || c.Now == nil:
		return errors.New("share coordinator: Partitions, Open, Exists and Now are needed")
	case c.SnapshotEvery < 0:
		return errors.New("share coordinator: share.coordinator.snapshot.update.records.per.snapshot is below 0")
	case c.ColdAfter <= 0 || c.PruneEvery <= 0 || c.WriteTimeout <= 0:
		return errors.New("share coordinator: its intervals and its write timeout are positive")
	}
	return nil
}
