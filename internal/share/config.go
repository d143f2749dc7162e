package share

import (
	"errors"
	"log/slog"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Config says what a Service works on.
type Config struct {
	// Persister keeps what became of records.
	Persister Persister

	// Open gives the log of a partition that this broker leads.
	//
	// Errors: NOT_LEADER_OR_FOLLOWER and those of a partition that is not there.
	Open func(topicID kafka.UUID, partition int32) (Log, error)

	// Settings are those of a group, the broker's where it has none. It is
	// called often.
	Settings func(group string) Settings

	// Letters writes what groups gave up; nil where no group's Settings ask for
	// that.
	Letters Letters

	// MaxSessions is group.share.max.share.sessions.
	MaxSessions int

	Now    func() time.Time
	Logger *slog.Logger // nil: discard
}

// Log is a partition's log, as far as the start of a share partition needs it.
type Log interface {
	// Epoch is the leader epoch in which this broker leads the partition.
	Epoch() int32

	// Start is the log's start offset.
	Start() int64

	// OffsetFor is the first offset with a time in ms since 1970 or later, or
	// what a sentinel of package kafka stands for; the end of what may be read
	// where there is none.
	OffsetFor(timestamp int64) (int64, error)
}

// Settings are a share group's.
type Settings struct {
	Locks      int           // share.partition.max.record.locks
	Deliveries int16         // share.delivery.count.limit
	Lock       time.Duration // share.record.lock.duration.ms
	Renews     bool          // share.renew.acknowledge.enable
	Committed  bool          // share.isolation.level is read_committed
	Letters    bool          // what is given up goes to errors.deadletterqueue.topic.name
	Reset      Reset         // share.auto.offset.reset
}

// Reset says where a share partition begins that was never read.
type Reset struct {
	// Timestamp is [kafka.LatestTimestamp] or [kafka.EarliestTimestamp]; 0 means
	// that Duration counts.
	Timestamp int64
	// Duration is how far to go back from now (by_duration).
	Duration time.Duration
}

// DefaultSettings are Kafka's defaults.
func DefaultSettings() Settings {
	return Settings{Locks: 2000, Deliveries: 5, Lock: 30 * time.Second, Renews: true, Reset: Reset{Timestamp: kafka.LatestTimestamp}}
}

func (s *Settings) limits() limits {
	return limits{locks: int64(s.Locks), deliveries: s.Deliveries, lock: s.Lock, letters: s.Letters}
}

func (c *Config) validate() error {
	switch {
	case c.Persister == nil || c.Open == nil || c.Settings == nil || c.Now == nil:
		return errors.New("share: Persister, Open, Settings and Now are needed")
	case c.MaxSessions < 1:
		return errors.New("share: group.share.max.share.sessions is below 1")
	}
	return nil
}
