package group

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/consumer"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/group/share"
	"github.com/myelin-stream/myelin/internal/group/streams"
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

	// CommitPatience is for how long a request waits for a commit of a partition, 0:
	// as long as it takes; nil: 0. See [coordinator.Config].
	CommitPatience func(partition int32) time.Duration

	// TopicID is the id of a topic, zero if there is none of that name; nil: not
	// known. An offset that was committed to another topic of the same name, long
	// deleted, then does not count, though its tombstone may have been lost.
	TopicID func(name string) kafka.UUID

	// Topics is the picture of the cluster's topics; nil: there are none. See
	// [TopicsOf].
	Topics func() kind.Topics

	// Settings are the settings of a group, as of now: what was set on it, or
	// else the broker's. Names are those of group resources, such as
	// "consumer.session.timeout.ms". nil: the kinds' defaults.
	Settings func(group string) Settings

	// CreateTopics makes topics that a group needs, in the name of the broker.
	// One that exists already is no error.
	CreateTopics func(ctx context.Context, topics []TopicSpec) error

	// Verify asks the coordinator of transactions whether a partition of
	// __consumer_offsets is part of the producer's transaction, or with add makes
	// it so; nil: it is.
	Verify func(ctx context.Context, who TxnProducer, partition int32, add bool) error

	// Share is what share groups have in common; its Topics and Settings come from
	// this Config.
	Share share.Config

	// ShareState is the share coordinator; nil: there are no share groups.
	ShareState ShareState

	// EndOffset is the high watermark of a partition, for the lag of share groups;
	// nil: not known.
	EndOffset func(ctx context.Context, tp kafka.TopicPartition) (int64, error)

	Now    func() time.Time
	Rand   *rand.Rand   // for member ids; the Service's alone
	Logger *slog.Logger // nil: discard

	Limits classic.Limits

	// Consumer is for groups of the consumer protocol; its Topics and Settings
	// follow from those above.
	Consumer consumer.Config

	// Streams is for groups of Kafka Streams applications: what Settings does not
	// have, or all of it without Settings.
	Streams streams.Config
	// Migration is group.consumer.migration.policy.
	Migration Migration

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

// Settings gives the value of a group's property by its name.
type Settings interface {
	Int(name string) int
	Millis(name string) time.Duration
	Bool(name string) bool
	String(name string) string
	List(name string) []string
}

// TopicSpec is a topic to be made.
type TopicSpec struct {
	Name        string
	Partitions  int32 // -1: the broker's default
	Replication int16 // -1: the broker's default
	Configs     []cluster.Pair
}

// TxnProducer is who writes in a transaction.
type TxnProducer struct {
	TransactionalID string
	ID              int64
	Epoch           int16
}

// constructors make the groups of each kind that there is, empty, from records
// or for the first request. A kind's owner adds its line.
func constructors(c *Config) map[kind.Type]func(id string) kind.Group {
	return map[kind.Type]func(id string) kind.Group{
		kind.Consumer: c.newConsumer(),
		kind.Streams:  c.newStreams(),
		kind.Share:    c.newShare(),
	}
}

// topics is the picture to decide by.
func (c *Config) topics() kind.Topics {
	if c.Topics == nil {
		return newPicture(cluster.Empty(""))
	}
	return c.Topics()
}

// DefaultConfig has Kafka's defaults for all that has one.
func DefaultConfig() Config {
	return Config{
		Limits: classic.Limits{
			MinSession: 6 * time.Second, MaxSession: 30 * time.Minute,
			InitialDelay: 3 * time.Second, MaxSize: 1<<31 - 1,
		},
		Streams:     streams.DefaultConfig(),
		Migration:   Migration{Up: true, Down: true},
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
