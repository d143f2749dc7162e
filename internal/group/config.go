package group

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Config says what a Service works on.
type Config struct {
	// Partitions is the number of partitions of __consumer_offsets, 0 while the
	// topic does not exist.
	Partitions func() int32

	// Open gives the log of a partition of __consumer_offsets that this broker
	// leads, and the leader epoch to append with.
	Open func(ctx context.Context, partition int32) (coordinator.Log, int32, error)

	// TopicID is the id of a topic, zero if there is none of that name; nil: not
	// known. An offset that was committed to another topic of the same name, long
	// deleted, then does not count, though its tombstone may have been lost.
	TopicID func(name string) kafka.UUID

	Now    func() time.Time
	Rand   *rand.Rand   // for member ids; the Service's alone
	Logger *slog.Logger // nil: discard

	Limits classic.Limits

	// MetadataMax is offset.metadata.max.bytes: what a client may store beside
	// an offset.
	MetadataMax int

	// Retention is offsets.retention.minutes: how long the offsets of a group
	// without members, or of a topic it no longer reads, are kept (KIP-211).
	Retention time.Duration

	// Safe gives the time that offsets may be expired by when the wall clock says
	// now, which may have jumped; nil believes the wall clock.
	Safe func(now time.Time) time.Time

	// CheckEvery is offsets.retention.check.interval.ms: how often that is
	// looked at.
	CheckEvery time.Duration

	// MaxBatch is max.message.bytes of __consumer_offsets.
	MaxBatch int
}

// DefaultConfig has Kafka's defaults for all that has one.
func DefaultConfig() Config {
	return Config{
		Limits: classic.Limits{
			MinSession: 6 * time.Second, MaxSession: 30 * time.Minute,
			InitialDelay: 3 * time.Second, MaxSize: 1<<31 - 1,
		},
		MetadataMax: 4096,
		Retention:   7 * 24 * time.Hour,
		CheckEvery:  10 * time.Minute,
		MaxBatch:    1048588,
	}
}

func (c *Config) validate() error {
	switch {
	case c.Partitions == nil || c.Open == nil || c.Now == nil || c.Rand == nil:
		return errors.New("groups: Partitions, Open, Now and Rand are needed")
	case c.Limits.MinSession > c.Limits.MaxSession:
		return errors.New("groups: group.min.session.timeout.ms is above group.max.session.timeout.ms")
	case c.Limits.MaxSize < 1:
		return errors.New("groups: group.max.size is below 1")
	case c.Retention <= 0 || c.CheckEvery <= 0:
		return errors.New("groups: offsets.retention.minutes and offsets.retention.check.interval.ms are positive")
	}
	return nil
}
