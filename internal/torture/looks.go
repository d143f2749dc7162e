package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// looks are what a broker asks of its logs; each compares the answer with the
// history's.
var looks = [...]act{
	{"read", 200, (*story).read},
	{"look for a time", 60, (*story).lookForTime},
	{"look for the newest", 10, (*story).lookForNewest},
	{"aborted transactions", 20, (*story).lookForAborted},
	{"end of an epoch", 10, (*story).lookForEpoch},
	{"look at everything", 6, (*story).lookOver},
	{"scrub", 3, (*story).scrub},
}

func (s *story) lookOver(p *part) error { return p.hist.stands(p.log) }

// scrub has a scrubber go over the directory once. Nothing is damaged in a story.
func (s *story) scrub(p *part) error {
	if n := s.scrubbed(p); n > 0 {
		return fmt.Errorf("the scrubber finds %d damaged ranges: %+v", n, p.log.Damage())
	}
	return nil
}

// scrubbed gives how many damaged ranges a scrubber finds in a log's directory.
func (s *story) scrubbed(p *part) int64 {
	c := commitlog.NewScrubber(commitlog.ScrubConfig{
		Home: s.home(p), BytesPerSecond: 1 << 40, Interval: time.Nanosecond, Now: func() time.Time { return s.now },
	})
	c.Pass(context.Background())
	return c.Stats().Damaged
}

// read asks for a range anywhere, also outside the log.
func (s *story) read(p *part) error {
	l, h := p.log, p.hist
	offset := l.Start() - 2 + s.rng.Int64N(l.End()-l.Start()+5)
	limit := l.End()
	if i := s.rng.IntN(4 * (len(h.whole) + 1)); i < len(h.whole) {
		limit = h.whole[i].head.BaseOffset
	}
	most := []int{1, 100, 400, 4000, 1 << 20}[s.rng.IntN(5)]
	minOne := s.rng.IntN(2) == 0
	r, err := l.Read(offset, most, limit, minOne)
	if offset < l.Start() || offset > l.End() {
		if !errors.Is(err, kafka.OffsetOutOfRange) {
			return fmt.Errorf("read at %d of %d to %d: %w", offset, l.Start(), l.End(), err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	data := make([]byte, r.Len())
	if r.Len() > 0 {
		_, err = r.ReadAt(data, 0)
		r.Release()
		if err != nil {
			return err
		}
	}
	if err := h.given1(data, offset, limit, most, minOne); err != nil {
		return fmt.Errorf("read at %d, at most %d bytes, below %d, at least one %v: %w", offset, most, limit, minOne, err)
	}
	return nil
}

// given1 holds what one read gave to what is there.
func (h *history) given1(data []byte, offset, limit int64, most int, minOne bool) error {
	i := at(h.whole, offset)
	none := offset >= limit || i == len(h.whole) || h.whole[i].head.BaseOffset >= limit ||
		!minOne && len(h.whole[i].bytes) > most
	if none != (len(data) == 0) {
		return fmt.Errorf("%d bytes", len(data))
	}
	total := len(data)
	for n := 0; len(data) > 0; n++ {
		if i+n >= len(h.whole) || h.whole[i+n].head.BaseOffset >= limit {
			return fmt.Errorf("%d bytes behind the limit", len(data))
		}
		b := h.whole[i+n]
		if !bytes.HasPrefix(data, b.bytes) {
			return fmt.Errorf("batch at %d: %s", b.head.BaseOffset, difference(data, b.bytes))
		}
		if total > most && n > 0 {
			return fmt.Errorf("%d bytes in several batches", total)
		}
		data = data[len(b.bytes):]
	}
	return nil
}

func (s *story) lookForTime(p *part) error {
	ts := p.clock - 20 + s.rng.Int64N(40)
	if p.clock > began.UnixMilli() && s.rng.IntN(8) > 0 {
		ts = began.UnixMilli() - 20 + s.rng.Int64N(p.clock-began.UnixMilli()+30)
	}
	want := commitlog.Found{Offset: -1}
search:
	for _, b := range p.hist.whole[at(p.hist.whole, p.log.Start()):] {
		if b.head.MaxTimestamp < ts {
			continue
		}
		for _, e := range b.entries {
			if e.time >= ts && e.offset >= p.log.Start() {
				want = commitlog.Found{Offset: e.offset, Timestamp: e.time, Epoch: b.head.LeaderEpoch}
				break search
			}
		}
	}
	got, ok, err := p.log.OffsetForTime(ts)
	if err != nil || ok != (want.Offset >= 0) || ok && got != want {
		return fmt.Errorf("time %d is at %+v, %v, it must be %+v: %w", ts, got, ok, want, err)
	}
	return nil
}

// lookForNewest asks for the record with the largest timestamp. One that lies
// below the start in a segment that is still there is let pass, as in Kafka.
func (s *story) lookForNewest(p *part) error {
	got, ok, err := p.log.MaxTimestamp()
	if err != nil {
		return err
	}
	want, there := commitlog.Found{Timestamp: math.MinInt64}, false
	for _, b := range p.hist.whole[at(p.hist.whole, p.log.Start()):] {
		for _, e := range b.entries {
			if e.offset >= p.log.Start() && e.time > want.Timestamp {
				want, there = commitlog.Found{Offset: e.offset, Timestamp: e.time, Epoch: b.head.LeaderEpoch}, true
			}
		}
	}
	if ok && got.Offset < p.log.Start() || p.hist.clean > 0 {
		return nil // nor is a batch that compaction has emptied looked behind
	}
	if ok != there || ok && got != want {
		return fmt.Errorf("the newest is at %+v, %v, it must be %+v", got, ok, want)
	}
	return nil
}

func (s *story) lookForAborted(p *part) error {
	from := p.log.Start() + s.rng.Int64N(p.log.End()-p.log.Start()+1)
	to := from + s.rng.Int64N(p.log.End()-from+1)
	return p.hist.rolledBack(p.log, p.hist.fold(), from, to)
}

// lookForEpoch asks where an epoch ended, and finds that out from the list.
func (s *story) lookForEpoch(p *part) error {
	list := p.log.Epochs()
	if len(list) == 0 {
		return nil
	}
	asked := int32(s.rng.IntN(int(list[len(list)-1].Epoch) + 1))
	want := commitlog.EpochStart{Epoch: asked, Start: list[0].Start}
	for i, e := range list {
		if e.Epoch <= asked {
			want = commitlog.EpochStart{Epoch: e.Epoch, Start: p.log.End()}
			if i+1 < len(list) {
				want.Start = list[i+1].Start
			}
		}
	}
	if epoch, end := p.log.EndOffsetForEpoch(asked); epoch != want.Epoch || end != want.Start {
		return fmt.Errorf("epoch %d: %d ended at %d, it must be %+v of %v", asked, epoch, end, want, list)
	}
	return nil
}
