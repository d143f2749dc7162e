package config

import (
	"strconv"
	"time"
)

// TopicConfig holds the effective values of one topic: its overrides over what
// its broker gives to all topics. Durations that Kafka counts in milliseconds
// stay so where -1 or -2 have a meaning.
type TopicConfig struct {
	Delete, Compact bool // cleanup.policy; neither keeps everything

	RetentionMs    int64 // -1: no limit
	RetentionBytes int64 // -1: no limit; of one partition

	SegmentBytes       int64 // internal.segment.bytes where that is set
	SegmentMs          int64
	SegmentJitterMs    int64
	SegmentIndexBytes  int
	IndexIntervalBytes int
	FileDeleteDelay    time.Duration
	Preallocate        bool

	FlushMessages int64
	FlushMs       int64
	WriteCaching  bool // acks=all from the page cache

	MaxMessageBytes      int
	MaxDecompressedBytes int
	ValidateRecords      bool
	Compression          string // producer, uncompressed, gzip, snappy, lz4 or zstd
	GzipLevel            int
	Lz4Level             int
	ZstdLevel            int

	LogAppendTime     bool  // message.timestamp.type
	TimestampBeforeMs int64 // how far behind the broker's clock
	TimestampAfterMs  int64 // how far ahead of it

	MinISR                int
	UncleanLeaderElection bool

	MinCleanableRatio  float64
	MinCompactionLagMs int64
	MaxCompactionLagMs int64
	DeleteRetentionMs  int64

	RemoteStorage       bool
	LocalRetentionMs    int64 // -2: as RetentionMs
	LocalRetentionBytes int64 // -2: as RetentionBytes

	DeadLetters bool // share groups may write what they gave up (KIP-1191)

	LeaderThrottled   []string // partition:broker pairs or "*"
	FollowerThrottled []string
}

// Topic resolves a topic's overrides. One that does not parse is passed over:
// it was refused when it was set, so it can only come from a newer version.
func (b *Broker) Topic(overrides map[string]string) TopicConfig {
	get := func(name string) Value { v, _ := b.TopicValue(name, overrides); return v }
	num := func(name string) int64 { return get(name).Int64() }
	c := TopicConfig{
		RetentionMs: num("retention.ms"), RetentionBytes: num("retention.bytes"),
		SegmentBytes: num("segment.bytes"), SegmentMs: num("segment.ms"), SegmentJitterMs: num("segment.jitter.ms"),
		SegmentIndexBytes: int(num("segment.index.bytes")), IndexIntervalBytes: int(num("index.interval.bytes")),
		FileDeleteDelay: millis(num("file.delete.delay.ms")), Preallocate: get("preallocate").Bool(),
		FlushMessages: num("flush.messages"), FlushMs: num("flush.ms"), WriteCaching: get("write.caching").Bool(),
		MaxMessageBytes: int(num("max.message.bytes")), MaxDecompressedBytes: int(num("max.decompressed.message.bytes")),
		ValidateRecords: get("validate.records").Bool(), Compression: get("compression.type").Text,
		GzipLevel: int(num("compression.gzip.level")), Lz4Level: int(num("compression.lz4.level")), ZstdLevel: int(num("compression.zstd.level")),
		LogAppendTime:     get("message.timestamp.type").Text == "LogAppendTime",
		TimestampBeforeMs: num("message.timestamp.before.max.ms"), TimestampAfterMs: num("message.timestamp.after.max.ms"),
		MinISR: int(num("min.insync.replicas")), UncleanLeaderElection: get("unclean.leader.election.enable").Bool(),
		MinCleanableRatio: get("min.cleanable.dirty.ratio").Float(), DeleteRetentionMs: num("delete.retention.ms"),
		MinCompactionLagMs: num("min.compaction.lag.ms"), MaxCompactionLagMs: num("max.compaction.lag.ms"),
		RemoteStorage:    get("remote.storage.enable").Bool(),
		DeadLetters:      get("errors.deadletterqueue.group.enable").Bool(),
		LocalRetentionMs: num("local.retention.ms"), LocalRetentionBytes: num("local.retention.bytes"),
		LeaderThrottled:   get("leader.replication.throttled.replicas").List(),
		FollowerThrottled: get("follower.replication.throttled.replicas").List(),
	}
	for _, p := range get("cleanup.policy").List() {
		c.Delete, c.Compact = c.Delete || p == "delete", c.Compact || p == "compact"
	}
	if v := get("internal.segment.bytes"); !v.Null {
		c.SegmentBytes = v.Int64()
	}
	return c
}

// TopicValue is the effective value of one topic property and its source.
func (b *Broker) TopicValue(name string, overrides map[string]string) (Value, Source) {
	return b.inherited(Topic, name, overrides, FromTopic)
}

// GroupValue is the effective value of one group property and its source.
func (b *Broker) GroupValue(name string, overrides map[string]string) (Value, Source) {
	return b.inherited(Group, name, overrides, FromGroup)
}

// GroupEffective is what the groups of a broker work by: as [Broker.GroupValue], but
// a number that was set while the broker had other bounds is brought between those
// that it has now, as Kafka does. DescribeConfigs goes on telling what was set.
func (b *Broker) GroupEffective(name string, overrides map[string]string) Value {
	v, from := b.GroupValue(name, overrides)
	if from != FromGroup {
		return v
	}
	for _, bound := range groupBounds {
		if bound.name != name {
			continue
		}
		n := v.Int64()
		if bound.min != "" {
			n = max(n, b.Int64(bound.min))
		}
		if bound.max != "" {
			n = min(n, b.Int64(bound.max))
		}
		if within, err := Parse(v.Def, strconv.FormatInt(n, 10)); err == nil {
			return within
		}
	}
	return v
}

func (b *Broker) inherited(scope Scope, name string, overrides map[string]string, from Source) (Value, Source) {
	d, ok := Lookup(scope, name)
	if !ok {
		panic("config: no " + scope.String() + " property is called " + name)
	}
	if text, ok := overrides[name]; ok {
		if v, err := Parse(d, text); err == nil {
			return v, from
		}
	}
	if v, from, ok := b.standIn(d); ok {
		return v, from
	}
	return d.DefaultValue(), FromDefault
}
