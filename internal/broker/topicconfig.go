package broker

import (
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
)

// topicConfig is what a topic's settings, laid over the broker's, mean to its
// replicas.
func (b *Broker) topicConfig(props *config.Broker, img *cluster.Image, topic string) replica.TopicConfig {
	c := props.Topic(img.Config(cluster.Resource{Kind: cluster.TopicResource, Name: topic}).Map())
	out := replica.TopicConfig{
		MaxMessageBytes: c.MaxMessageBytes,
		MinISR:          int32(c.MinISR),
		Unclean:         c.UncleanLeaderElection,
		AppendTime:      c.LogAppendTime,
		TimestampBefore: c.TimestampBeforeMs,
		TimestampAfter:  c.TimestampAfterMs,
		Compacted:       c.Compact,
		ValidateRecords: c.ValidateRecords,
		WriteCaching:    c.WriteCaching && !kafka.IsInternalTopic(topic),
		FileDeleteDelay: c.FileDeleteDelay,
		Log:             tunables(props, &c),
	}
	out.Recode, out.Codec, out.Level = recoding(&c)
	return out
}

// setDirectories applies what properties say of directories at run time.
func (b *Broker) setDirectories(props *config.Broker) {
	b.replicas.Cordon(props.CordonedDirs())
	b.replicas.SetMoveRate(props.Int64("replica.alter.log.dirs.io.max.bytes.per.second"))
}

// recoding turns compression.type and its levels into a codec; "producer"
// leaves batches as they came.
func recoding(c *config.TopicConfig) (recode bool, codec record.Codec, level int) {
	switch c.Compression {
	case "uncompressed":
		return true, record.None, 0
	case "gzip":
		return true, record.Gzip, c.GzipLevel
	case "snappy":
		return true, record.Snappy, 0
	case "lz4":
		return true, record.LZ4, c.Lz4Level
	case "zstd":
		return true, record.Zstd, c.ZstdLevel
	}
	return false, record.None, 0
}

func tunables(props *config.Broker, c *config.TopicConfig) commitlog.Tunables {
	return commitlog.Tunables{
		SegmentBytes:      c.SegmentBytes,
		SegmentAge:        segmentAge(c),
		SegmentJitter:     millis(c.SegmentJitterMs),
		IndexInterval:     c.IndexIntervalBytes,
		IndexBytes:        c.SegmentIndexBytes,
		RetentionAge:      atLeastOne(millis(c.RetentionMs)),
		RetentionBytes:    c.RetentionBytes,
		KeepAll:           !c.Delete,
		FlushMessages:     unlimited(c.FlushMessages),
		FlushAfter:        millis(unlimited(c.FlushMs)),
		ProducerRetention: props.Millis("producer.id.expiration.ms"),
		FileDeleteDelay:   c.FileDeleteDelay,
		Compaction: commitlog.Compaction{On: c.Compact, DirtyRatio: c.MinCleanableRatio, MinLag: millis(c.MinCompactionLagMs),
			MaxLag: millis(unlimited(c.MaxCompactionLagMs)), DeleteRetention: millis(c.DeleteRetentionMs)},
	}
}

// segmentAge is segment.ms, but not more than max.compaction.lag.ms in a
// compacted topic: what is in the active segment cannot be compacted.
func segmentAge(c *config.TopicConfig) time.Duration {
	if c.Compact && c.MaxCompactionLagMs > 0 {
		return millis(min(c.SegmentMs, c.MaxCompactionLagMs))
	}
	return millis(c.SegmentMs)
}

// millis turns a number of milliseconds into a Duration; what does not fit in
// one (292 years) is the longest there is.
func millis(ms int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Millisecond)
	if ms > most {
		return 1<<63 - 1
	}
	return time.Duration(ms) * time.Millisecond
}

// unlimited writes Kafka's "no limit", the largest long, as 0.
func unlimited(n int64) int64 {
	if n == 1<<63-1 {
		return 0
	}
	return n
}

// atLeastOne keeps a retention of 0 ms from reading as "the default".
func atLeastOne(d time.Duration) time.Duration {
	if d == 0 {
		return 1
	}
	return d
}
