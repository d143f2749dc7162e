package commitlog

import (
	"log/slog"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
)

// Config is what a log needs to open. Home, or FS and Dir, must be set; zero
// values of the rest mean Kafka's defaults.
type Config struct {
	// Home is the log directory that holds the log and its checkpoints.
	Home *Home
	// Topic and Partition name the log; its folder in Home is "topic-partition".
	Topic     string
	Partition int32
	// Folder is the folder of a copy in Home that is on its way to replace a log
	// in another directory, see [FutureFolder]; empty for a log.
	Folder string
	// TopicID is kept in partition.metadata. A folder of another id is refused
	// with INCONSISTENT_TOPIC_ID. Zero: neither written nor checked.
	TopicID kafka.UUID
	// Begin is where the log may begin although no checkpoint says that anything
	// before it was deleted: a log whose first segment lies higher has lost it.
	Begin int64

	Logger *slog.Logger
	Now    func() time.Time

	// OnFlushed is called by [Flusher], from its goroutine, after each flush of
	// this log: everything below end is durable, or err is final.
	OnFlushed func(end int64, err error)

	Tunables
}

// Tunables are the settings that may change while a log is open, see
// [Log.SetConfig]. Zero means Kafka's default.
type Tunables struct {
	SegmentBytes      int64         // segment.bytes, 1 GiB
	SegmentAge        time.Duration // segment.ms, 7 days
	SegmentJitter     time.Duration // segment.jitter.ms: up to this much earlier, fixed per segment
	IndexInterval     int           // index.interval.bytes, 4096
	IndexBytes        int           // segment.index.bytes, 10 MiB
	RetentionAge      time.Duration // retention.ms; 0 is 7 days, < 0 unlimited
	RetentionBytes    int64         // retention.bytes; 0 and < 0 unlimited
	KeepAll           bool          // cleanup.policy without delete: only DeleteTo removes
	FlushMessages     int64         // flush.messages; 0 unlimited
	FlushAfter        time.Duration // flush.ms; 0 leaves it to the flusher
	ProducerRetention time.Duration // producer.id.expiration.ms, 24 h
	FileDeleteDelay   time.Duration // file.delete.delay.ms; 0 removes at once
	Compaction        Compaction
}

// Compaction is what a topic's settings say of compaction.
type Compaction struct {
	On              bool          // cleanup.policy holds compact
	DirtyRatio      float64       // min.cleanable.dirty.ratio
	MinLag          time.Duration // min.compaction.lag.ms
	MaxLag          time.Duration // max.compaction.lag.ms; 0 unlimited
	DeleteRetention time.Duration // delete.retention.ms
}

// Batch is one checked and stamped batch: Bytes are final, Header is parsed from
// them.
type Batch struct {
	Bytes  []byte
	Header record.Header
}

// Recovered says what Open found and did. Its JSON is what the node logs of a
// log that was not clean, and what storage recover --dry-run prints.
type Recovered struct {
	Clean          bool  `json:"clean"`          // the last run closed the directory, or left the log at rest: nothing was examined
	SameBoot       bool  `json:"same_boot"`      // the machine has not restarted since: the page cache survived
	RecoveryPoint  int64 `json:"recovery_point"` // where the examination began
	ScannedBytes   int64 `json:"scanned_bytes"`
	CutBytes       int64 `json:"cut_bytes"`    // torn tail that was cut off
	CutFrom        int64 `json:"cut_from"`     // the offset at which it was cut; -1 when nothing was
	CutSegments    int   `json:"cut_segments"` // whole segments behind the cut, removed
	RebuiltIndexes int   `json:"rebuilt_indexes"`
	// Quarantined is all damage that is known, what was found in this Open too.
	Quarantined []Damage `json:"quarantined"`
	Missing     int64    `json:"missing"` // offsets below the durable point that are gone from the begin or the end: files were lost or emptied
	End         int64    `json:"end"`
	Millis      int64    `json:"ms"` // how long it took
}

// SegmentInfo describes one segment, for DescribeLogDirs and dump-log.
type SegmentInfo struct {
	Base         int64
	Bytes        int64
	MaxTimestamp int64 // ms, -1 unknown
	Active       bool
}

// EpochStart is an entry of the leader epoch cache: the offset at which the
// epoch's first batch is, or would be.
type EpochStart struct {
	Epoch int32
	Start int64
}

// Found is the answer of a lookup by time.
type Found struct {
	Offset    int64
	Timestamp int64 // ms
	Epoch     int32 // leader epoch of the batch
}

// AbortedTxn is a transaction that was rolled back, for read_committed fetches.
type AbortedTxn = segment.AbortedTxn
