package share

import "sync/atomic"

// Stats count what share partitions do, for the metrics.
type Stats struct {
	Held     atomic.Int64    // records that are with a member
	Acks     [5]atomic.Int64 // records, by acknowledge type
	Requests atomic.Int64    // that had acknowledgements
	Timeouts atomic.Int64    // records whose lock ran out
	Failures atomic.Int64    // writes of state that failed
	Loads    atomic.Int64    // share partitions loaded
	LoadTime atomic.Int64    // how long that took in all, in ns

	Letters     atomic.Int64 // records that were to go to a dead-letter topic
	LettersLost atomic.Int64 // those of them that could not be written there
}

// said counts acknowledgements.
func (s *Stats) said(acks []Ack) {
	for i := range acks {
		a := &acks[i]
		for at := a.First; at <= a.Last; {
			kind, last := a.of(at)
			s.Acks[kind].Add(last - at + 1)
			at = last + 1
		}
	}
}
