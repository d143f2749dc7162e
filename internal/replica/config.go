package replica

import (
	"math"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
)

// TopicConfig is what a topic's configuration means to its replicas. The fields
// bear the names of the properties.
type TopicConfig struct {
	// MaxMessageBytes bounds a batch as it is stored (max.message.bytes).
	MaxMessageBytes int
	// MinISR is min.insync.replicas.
	MinISR int32
	// Unclean lets a follower cut off what was committed, where its leader does
	// not have it (unclean.leader.election.enable).
	Unclean bool
	// AppendTime: message.timestamp.type=LogAppendTime.
	AppendTime bool
	// TimestampBefore and TimestampAfter are by how many ms a record's time may
	// differ from now (message.timestamp.before.max.ms, .after.max.ms).
	TimestampBefore, TimestampAfter int64
	// Recode asks for Codec and Level, unless compression.type=producer.
	Recode bool
	Codec  record.Codec
	Level  int
	// Compacted: cleanup.policy holds compact, so records need keys.
	Compacted bool
	// ValidateRecords opens every batch (validate.records).
	ValidateRecords bool
	// WriteCaching answers acks=all from the page cache, as Kafka does
	// (write.caching). Internal topics must not have it.
	WriteCaching bool
	// FileDeleteDelay is how long a deleted partition's folder stays
	// (file.delete.delay.ms).
	FileDeleteDelay time.Duration
	// Log holds what concerns the log alone.
	Log commitlog.Tunables
}

// DefaultTopicConfig is Kafka's default for each property.
func DefaultTopicConfig() TopicConfig {
	return TopicConfig{
		MaxMessageBytes: 1048588,
		MinISR:          1,
		TimestampBefore: math.MaxInt64,
		TimestampAfter:  time.Hour.Milliseconds(),
		FileDeleteDelay: time.Minute,
	}
}

// settings are a TopicConfig made ready for use.
type settings struct {
	TopicConfig
	rules        record.Rules // but for the partition
	segmentBytes int64
}

const defaultSegmentBytes = 1 << 30

// settings makes a topic's settings ready for use. Replicas of one topic, or of
// many with the same, share them.
func (e *env) settings(c *TopicConfig) *settings {
	if last := e.shared.Load(); last != nil && last.TopicConfig == *c {
		return last
	}
	s := &settings{TopicConfig: *c, segmentBytes: c.Log.SegmentBytes}
	if s.segmentBytes <= 0 {
		s.segmentBytes = defaultSegmentBytes
	}
	s.rules = record.Rules{Recode: c.Recode, Codec: c.Codec, Level: c.Level, AppendTime: c.AppendTime,
		Before: c.TimestampBefore, After: c.TimestampAfter, Compacted: c.Compacted, Validate: c.ValidateRecords}
	e.shared.Store(s)
	return s
}
