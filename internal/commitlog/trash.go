package commitlog

import (
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/segment"
)

// trash holds the segments that are out of their logs and wait for their
// removal, named .deleted, for file.delete.delay.ms. A crash forgets them: the
// log's next Open removes them.
type trash struct {
	mu struct {
		sync.Mutex // memory only
		waiting    []discarded
	}
}

type discarded struct {
	seg *segment.Segment
	due time.Time
}

// put takes a segment that nobody finds any more: away at once, or after the
// log's delay.
func (t *trash) put(l *Log, s *segment.Segment) error {
	segment.Swap{Segment: s}.Detach()
	delay := l.tunables.Load().FileDeleteDelay
	if delay <= 0 {
		return s.Remove()
	}
	if err := (segment.Swap{Segment: s}).Rename(deletedSuffix); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.waiting = append(t.mu.waiting, discarded{s, l.now().Add(delay)})
	return nil
}

// take gives the segments that are due.
func (t *trash) take(now time.Time) (due []*segment.Segment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := t.mu.waiting[:0]
	for _, d := range t.mu.waiting {
		if d.due.After(now) {
			rest = append(rest, d)
		} else {
			due = append(due, d.seg)
		}
	}
	clear(t.mu.waiting[len(rest):])
	t.mu.waiting = rest
	return due
}

// EmptyTrash removes the files of segments that were deleted or replaced, once
// their file.delete.delay.ms is over. Call it every few seconds.
func (h *Home) EmptyTrash(now time.Time) {
	for _, s := range h.trash.take(now) {
		if err := s.Remove(); err != nil { // the next Open of the log will
			h.logger.Warn("files of a deleted segment stay until the next start", "segment", s.Base(), "error", err)
		}
	}
}
