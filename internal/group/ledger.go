package group

import (
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// ledger keeps the offsets of all groups of a shard.
type ledger struct {
	cfg     *Config
	tl      *coordinator.Timeline
	offsets map[string]offsets // by group
	pending pending            // those of open transactions
}

// offsets are those of one group. They are pointers since most groups have few,
// and a map has room for eight values from the first on; nobody changes what they
// point to.
type offsets = *coordinator.Table[kafka.TopicPartition, *offset]

// tableOf is the table of a group's offsets.
func (l *ledger) tableOf(group string) offsets {
	t := l.offsets[group]
	if t == nil {
		t = coordinator.NewTable[kafka.TopicPartition, *offset](l.tl, kafka.TopicPartition.Compare)
		l.offsets[group] = t
	}
	return t
}
