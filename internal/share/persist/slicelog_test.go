package persist

import (
	"bytes"
	"sync"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// sliceLog is a log in memory of which everything is committed at once.
type sliceLog struct {
	mu      sync.Mutex
	batches [][]byte
	start   int64
	end     int64
}

func (l *sliceLog) Append(_ int32, batch []byte) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := bytes.Clone(batch)
	record.Stamp(b, l.end, 0)
	h, err := record.Check(b)
	if err != nil {
		return 0, err
	}
	l.batches = append(l.batches, b)
	l.end = h.NextOffset()
	return l.end, nil
}

func (l *sliceLog) Committed(_ int64, done func(error)) { done(nil) }

func (l *sliceLog) Read(from int64) ([]byte, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from = max(from, l.start)
	for _, b := range l.batches {
		if h, _ := record.ParseHeader(b); h.NextOffset() > from {
			return bytes.Clone(b), h.NextOffset(), nil
		}
	}
	return nil, from, nil
}

// prune drops batches that lie before an offset.
func (l *sliceLog) prune(before int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before > l.end {
		return kafka.OffsetOutOfRange
	}
	for len(l.batches) > 0 {
		if h, _ := record.ParseHeader(l.batches[0]); h.NextOffset() > before {
			break
		}
		l.batches = l.batches[1:]
	}
	l.start = max(l.start, before)
	return nil
}

// copy is the log as a later leader finds it.
func (l *sliceLog) copy() *sliceLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &sliceLog{batches: l.batches[:len(l.batches):len(l.batches)], start: l.start, end: l.end}
}

// span is where the log begins and ends.
func (l *sliceLog) span() (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.end
}
