package txn

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
	// Partitions is the number of partitions of __transaction_state, 0 while the
	// topic does not exist.
	Partitions func() int32

	// Open gives the log of a partition of __transaction_state that this broker
	// leads, and the leader epoch to append with. That is the epoch of the
	// coordinator in markers, too.
	Open func(ctx context.Context, partition int32) (coordinator.Log, int32, error)

	// CommitPatience is for how long a request waits for a commit of a partition, 0:
	// as long as it takes; nil: 0. See [coordinator.Config].
	CommitPatience func(partition int32) time.Duration

	// NewProducerID gives a producer id that nobody has or had.
	NewProducerID func(ctx context.Context) (int64, error)

	Markers Markers

	// Level is what transaction.version is finalized at.
	Level func() int16

	Now    func() time.Time
	Logger *slog.Logger // nil: discard

	// MaxTimeout is transaction.max.timeout.ms: the longest timeout that a
	// producer may ask for.
	MaxTimeout time.Duration

	// AbortEvery is transaction.abort.timed.out.transaction.cleanup.interval.ms:
	// how often transactions beyond their timeout are looked for.
	AbortEvery time.Duration

	// Expiration is transactional.id.expiration.ms: how long an id without a
	// transaction is remembered. ExpireEvery is
	// transaction.remove.expired.transaction.cleanup.interval.ms: how often that
	// is looked at.
	Expiration, ExpireEvery time.Duration

	// Safe gives the time that ids may expire by when the wall clock says now,
	// which may have jumped; nil believes the wall clock.
	Safe func(now time.Time) time.Time

	// Patience is add.partitions.to.txn.retry.backoff.max.ms: how long a partition
	// that joins a transaction waits for the end of the one before.
	Patience time.Duration

	// MaxBatch is max.message.bytes of __transaction_state.
	MaxBatch int
}

// Marker is the end of a producer's transaction, as partitions get it.
type Marker struct {
	Producer
	CoordinatorEpoch int32
	Commit           bool
	Version          int16 // of the transaction, see Status
}

// Markers brings the ends of transactions to partitions, whoever leads them.
type Markers interface {
	// Write writes a marker to each of the partitions, to all at once, and returns
	// when each has it on stable storage of its in-sync replicas or has failed.
	// The errors are in the order of the partitions; nil also for a partition that
	// does not exist any more. What fails is tried again, so twice does no harm.
	Write(ctx context.Context, m Marker, partitions []kafka.TopicPartition) []error
}

// DefaultConfig has Kafka's defaults for all that has one.
func DefaultConfig() Config {
	return Config{
		MaxTimeout: 15 * time.Minute,
		AbortEvery: 10 * time.Second,
		Expiration: 7 * 24 * time.Hour, ExpireEvery: time.Hour,
		Patience: 100 * time.Millisecond,
		MaxBatch: 1048588,
	}
}

func (c *Config) validate() error {
	switch {
	case c.Partitions == nil || c.Open == nil || c.NewProducerID == nil || c.Markers == nil || c.Level == nil || c.Now == nil:
		return errors.New("transactions: Partitions, Open, NewProducerID, Markers, Level and Now are needed")
	case c.MaxTimeout <= 0 || c.AbortEvery <= 0 || c.Expiration <= 0 || c.ExpireEvery <= 0:
		return errors.New("transactions: MaxTimeout, AbortEvery, Expiration and ExpireEvery are positive")
	}
	return nil
}
