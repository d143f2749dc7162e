package compact

import "time"

// Settings are the broker's for compaction. Zero values mean Kafka's defaults.
type Settings struct {
	// Off stops compaction altogether (log.cleaner.enable=false).
	Off bool
	// Threads is how many logs are cleaned at once (log.cleaner.threads, 1).
	Threads int
	// Buffer bounds in bytes what all threads together hold in memory
	// (log.cleaner.dedupe.buffer.size): most of it the keys of a round. More than
	// 64 MiB is not used: a round whose keys do not fit costs another round, not
	// a record.
	Buffer int64
	// Load is how full the table of keys becomes
	// (log.cleaner.io.buffer.load.factor, 0.9).
	Load float64
	// BytesPerSecond bounds what all threads together read and write
	// (log.cleaner.io.max.bytes.per.second); 0 is unlimited.
	BytesPerSecond float64
	// Backoff is the pause when no log needs work (log.cleaner.backoff.ms, 15 s).
	Backoff time.Duration
}

const (
	// mostBuffer is the most that is used of Settings.Buffer.
	mostBuffer = 64 << 20
	// walkBuffers is what a thread needs beside its keys: to read, to write, and
	// to open a batch of usual size.
	walkBuffers = 4 << 20
	leastKeys   = 64 << 10
)

func (s Settings) withDefaults() Settings {
	s.Threads = max(s.Threads, 1)
	if s.Buffer <= 0 {
		s.Buffer = 128 << 20
	}
	if s.Load <= 0 {
		s.Load = 0.9
	}
	if s.Backoff <= 0 {
		s.Backoff = 15 * time.Second
	}
	return s
}

// keyBytes is how much memory one thread's table of keys may take.
func (s *Settings) keyBytes() int64 {
	share := min(s.Buffer, mostBuffer) / int64(s.Threads)
	return max(share-min(walkBuffers, share/4), leastKeys)
}
