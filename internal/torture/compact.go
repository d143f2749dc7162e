package torture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/compact"
	"github.com/myelin-stream/myelin/internal/record"
)

// compact cleans a log whose records have keys, and takes over what is there
// then.
func (s *story) compact(p *part) error {
	if s.opt.keys == 0 {
		return nil
	}
	// A transaction whose marker is not below the high watermark is not stable.
	stable := p.hist.foldTo(p.log.Flushed()).stable(p.log.Flushed())
	segs := p.log.Segments()
	s.note(p, event{kind: cleaning, at: min(stable, segs[len(segs)-1].Base), firm: p.log.Flushed()})
	c := compact.Cleaner{Settings: compact.Settings{Buffer: 1 << 20}, Now: func() time.Time { return s.now }, Rand: s.rng}
	_, done, err := c.Clean(context.Background(), compact.Target{Log: p.log, Stable: stable, HW: p.log.Flushed()})
	if errors.Is(err, commitlog.ErrOvertaken) || err == nil && !done {
		return nil
	}
	if err != nil {
		return err
	}
	s.note(p, event{kind: flushed, at: p.log.Flushed()})
	data, err := readAll(p.log)
	if err == nil {
		err = p.hist.contents(p.log.Start(), p.log.End(), data)
	}
	if err != nil {
		return fmt.Errorf("after compaction below %d: %w", p.hist.clean, err)
	}
	s.note(p, event{kind: cleaned, list: p.hist.replaced(p.log.Start(), data)})
	return nil
}

// replaced is what is to be read now that compaction has been at the batches
// below clean: those from start on as they were read, the others as they were.
func (h *history) replaced(start int64, data []byte) []*batch {
	var all []*batch
	for _, b := range h.whole {
		if b.head.LastOffset() < start {
			all = append(all, b)
		}
	}
	for len(data) > 0 {
		b := &batch{bytes: data[:record.Size(data)]}
		b.read()
		data = data[len(b.bytes):]
		if b.head.BaseOffset < h.clean {
			all = append(all, b)
		}
	}
	return append(all, h.whole[at(h.whole, h.clean):]...)
}
