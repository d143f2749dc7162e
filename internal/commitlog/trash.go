package commitlog

import (
	"slices"
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
	log *Log
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
	t.mu.waiting = append(t.mu.waiting, discarded{l, s, l.now().Add(delay)})
	return nil
}

// take gives those for which due is true.
func (t *trash) take(due func(d *discarded) bool) (out []*segment.Segment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := t.mu.waiting[:0]
	for i := range t.mu.waiting {
		if d := &t.mu.waiting[i]; due(d) {
			out = append(out, d.seg)
		} else {
			rest = append(rest, *d)
		}
	}
	clear(t.mu.waiting[len(rest):])
	t.mu.waiting = rest
	return out
}

// holds tells whether something of a log is in.
func (t *trash) holds(l *Log) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.mu.waiting, func(d discarded) bool { return d.log == l })
}

// EmptyTrash removes the files of segments that were deleted or replaced, once
// their file.delete.delay.ms is over, or at once while room is scarce. Call it every
// few seconds.
func (h *Home) EmptyTrash(now time.Time) {
	scarce := h.Room() != Plenty
	h.remove(h.trash.take(func(d *discarded) bool { return scarce || !d.due.After(now) }))
}

// emptyTrashOf removes what a log that is closing has put there.
func (h *Home) emptyTrashOf(l *Log) {
	h.remove(h.trash.take(func(d *discarded) bool { return d.log == l }))
}

func (h *Home) remove(segs []*segment.Segment) {
	for _, s := range segs {
		if err := s.Remove(); err != nil { // the next Open of the log will
			h.logger.Warn("files of a deleted segment stay until the next start", "segment", s.Base(), "error", err)
		}
	}
}
