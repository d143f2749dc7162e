package kafka

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// Sentinels that stand for "none" or "unknown" on the wire and in records.
const (
	NoOffset     int64 = -1 // no offset is known
	NoTimestamp  int64 = -1 // a batch or lookup without a time
	NoProducer   int64 = -1 // a batch that is not idempotent
	NoProdEpoch  int16 = -1
	NoSequence   int32 = -1
	NoEpoch      int32 = -1 // leader epoch unknown: no fencing
	NoBroker     int32 = -1 // no leader, no preferred replica
	NoGeneration int32 = -1 // an offset commit from outside a group
)

// Sentinel timestamps of ListOffsets and what each asks for (KIP-79, KIP-734,
// KIP-405, KIP-1005, KIP-1023).
const (
	LatestTimestamp                = int64(-1)
	EarliestTimestamp              = int64(-2)
	MaxTimestamp                   = int64(-3)
	EarliestLocalTimestamp         = int64(-4)
	LatestTieredTimestamp          = int64(-5)
	EarliestPendingUploadTimestamp = int64(-6)
)

// Names of the topics that the broker keeps for itself.
const (
	OffsetsTopic    = "__consumer_offsets"
	TxnTopic        = "__transaction_state"
	ShareStateTopic = "__share_group_state"

	// MetadataTopic is the quorum's own log. It looks like a partition on disk
	// but is no replica of this cluster's topics.
	MetadataTopic = "__cluster_metadata"
)

// IsInternalTopic says whether clients may not write the topic directly.
func IsInternalTopic(name string) bool {
	return name == OffsetsTopic || name == TxnTopic || name == ShareStateTopic
}

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String is Kafka's directory form, "topic-0".
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// Compare orders by topic, then by partition number.
func (tp TopicPartition) Compare(o TopicPartition) int {
	return cmp.Or(strings.Compare(tp.Topic, o.Topic), cmp.Compare(tp.Partition, o.Partition))
}

// MaxTopicName is the longest legal topic name in bytes; with the partition
// number and a suffix it still fits a file name.
const MaxTopicName = 249

// CheckTopicName says why name is not a legal topic name, or "" if it is one:
// letters, digits, '.', '_' and '-', not "." or "..", at most 249 long.
func CheckTopicName(name string) string {
	switch {
	case name == "":
		return "the empty string is not allowed"
	case name == "." || name == "..":
		return "'.' or '..' is not allowed"
	case len(name) > MaxTopicName:
		return "the length of '" + name + "' is longer than the max allowed length " + strconv.Itoa(MaxTopicName)
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
		}
	}
	return ""
}

// TopicNamesCollide says whether two names differ only in '.' against '_',
// which metric names cannot tell apart.
func TopicNamesCollide(a, b string) bool {
	return strings.ReplaceAll(a, ".", "_") == strings.ReplaceAll(b, ".", "_")
}

// JavaHash is java.lang.String.hashCode of s (UTF-16 code units), by which
// tools find the partition of __consumer_offsets that keeps a group.
func JavaHash(s string) int32 {
	var h int32
	for _, r := range s {
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + int32(0xd800+(r>>10))
			r = 0xdc00 + (r & 0x3ff)
		}
		h = 31*h + int32(r)
	}
	return h
}

// CoordinatorPartition is the partition, of n, of the internal topic that
// keeps the group or transactional id: the absolute value of the Java hash
// modulo n, and 0 for the one hash whose absolute value is no int32. (Keyed
// records go another way, by murmur2 with the sign bit cut off.)
func CoordinatorPartition(id string, n int32) int32 {
	h := JavaHash(id)
	switch {
	case h == math.MinInt32:
		return 0
	case h < 0:
		h = -h
	}
	return h % n
}
