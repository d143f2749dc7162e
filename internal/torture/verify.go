package torture

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
)

// exactly holds a log to a history of which everything must be there.
func (h *history) exactly(l *commitlog.Log) error {
	if l.Start() != h.start || l.End() != h.end() {
		return fmt.Errorf("log is %d to %d, it must be %d to %d", l.Start(), l.End(), h.start, h.end())
	}
	return h.survives(l)
}

// stands holds a log that is open to a history of which everything must be
// there, though not all of it durable.
func (h *history) stands(l *commitlog.Log) error {
	if l.Start() != h.start || l.End() != h.end() {
		return fmt.Errorf("log is %d to %d, it must be %d to %d", l.Start(), l.End(), h.start, h.end())
	}
	got, err := readAll(l)
	if err == nil {
		err = h.contents(l.Start(), l.End(), got)
	}
	if err == nil {
		err = h.derived(l, l.Start(), l.End())
	}
	return err
}

// survives holds a log that was opened after a crash to its history:
//
//	start     where it was promised to be, or on the way that was asked
//	end       nothing promised is missing; a batch is there whole or not at all
//	contents  byte for byte what was given
//	state     what the batches that are there amount to
//	durable   it serves nothing that the next power cut could take
func (h *history) survives(l *commitlog.Log) error {
	start, end := l.Start(), l.End()
	if h.removing && start == 0 && end == 0 || h.emptying > 0 && start == h.emptying && end == start {
		return nil
	}
	switch {
	case start < h.start:
		return fmt.Errorf("starts at %d, records below %d were deleted", start, h.start)
	case start > max(h.asked, h.first):
		return fmt.Errorf("starts at %d, nobody asked for more than %d", start, h.asked)
	case end < h.acked:
		return fmt.Errorf("ends at %d, everything below %d is promised", end, h.acked)
	case end > h.end():
		return fmt.Errorf("ends at %d, nothing was given from %d on", end, h.end())
	case l.Flushed() != end:
		return fmt.Errorf("serves up to %d, of which %d is durable", end, l.Flushed())
	}
	got, err := readAll(l)
	if err == nil {
		err = h.contents(start, end, got)
	}
	if err == nil {
		err = h.derived(l, start, end)
	}
	return err
}

// readAll reads the log whole, as a consumer does.
func readAll(l *commitlog.Log) ([]byte, error) {
	var all []byte
	for at := l.Start(); at < l.End(); {
		r, err := l.Read(at, 1<<16, l.End(), true)
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", at, err)
		}
		if r.Len() == 0 {
			break // what is left was compacted away
		}
		data := make([]byte, r.Len())
		_, err = r.ReadAt(data, 0)
		r.Release()
		if err != nil {
			return nil, fmt.Errorf("read %d bytes at %d: %w", len(data), at, err)
		}
		all = append(all, data...)
		for len(data) > 0 {
			n := record.Size(data)
			if n == 0 || n > len(data) {
				return nil, fmt.Errorf("read at %d: no whole batch", at)
			}
			head, err := record.ParseHeader(data)
			if err != nil {
				return nil, fmt.Errorf("read at %d: %w", at, err)
			}
			if head.NextOffset() <= at {
				return nil, fmt.Errorf("read at %d gives a batch that ends at %d", at, head.LastOffset())
			}
			at, data = head.NextOffset(), data[n:]
		}
	}
	return all, nil
}

// contents compares what was read from start to end with what was given.
func (h *history) contents(start, end int64, got []byte) error {
	if start < h.clean {
		var err error
		if got, err = h.compacted(start, min(h.clean, end), got); err != nil {
			return err
		}
	}
	for _, b := range h.whole[at(h.whole, max(start, h.clean)):] {
		if b.head.BaseOffset >= end {
			break
		}
		if !bytes.HasPrefix(got, b.bytes) {
			return fmt.Errorf("batch at %d is not what was given: %s", b.head.BaseOffset, difference(got, b.bytes))
		}
		got = got[len(b.bytes):]
	}
	if len(got) > 0 {
		return fmt.Errorf("%d bytes behind what was given", len(got))
	}
	return nil
}

// difference describes where two batches part.
func difference(got, want []byte) string {
	if len(got) == 0 {
		return "nothing is there"
	}
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	head, err := record.ParseHeader(got)
	if err != nil {
		return fmt.Sprintf("it differs from byte %d on and is no batch: %v", n, err)
	}
	return fmt.Sprintf("it differs from byte %d on; offsets %d to %d, epoch %d, producer %d are there",
		n, head.BaseOffset, head.LastOffset(), head.LeaderEpoch, head.ProducerID)
}

// derived compares producers, transactions and epochs with the batches below
// end.
func (h *history) derived(l *commitlog.Log, start, end int64) error {
	s := h.foldTo(end)
	if err := h.sequences(l, s); err != nil {
		return err
	}
	stable, unstable := l.Producers().FirstUnstable(end)
	if !unstable {
		stable = end
	}
	if want := s.stable(end); stable != want {
		return fmt.Errorf("committed up to %d, it must be %d: %d transactions are open", stable, want, len(s.open))
	}
	if err := h.rolledBack(l, s, start, end); err != nil {
		return err
	}
	return h.led(l, s, start, end)
}

// sequences asks for each producer: is what comes next accepted, and what came
// last known.
func (h *history) sequences(l *commitlog.Log, s *state) error {
	for _, id := range s.ids() {
		p := s.producers[id]
		next := record.Header{ProducerID: id, ProducerEpoch: p.epoch, BaseSequence: p.next(), Count: 1}
		if p.first >= 0 {
			next.Attributes = record.Transactional
		}
		if v, err := l.Producers().Check(&next); err != nil || v.Duplicate {
			return fmt.Errorf("producer %d goes on with %d: %+v, %w", id, p.next(), v, err)
		}
		next.BaseSequence = record.AddSequence(p.next(), 1)
		if len(p.batches) == 0 && h.clean > 0 {
			continue // of its marker compaction leaves nothing
		}
		if _, err := l.Producers().Check(&next); !errors.Is(err, kafka.OutOfOrderSequenceNumber) {
			return fmt.Errorf("producer %d leaves out %d: %w", id, p.next(), err)
		}
		if err := l.Producers().CheckMarker(id, p.epoch, p.by-1); p.by > 0 && h.clean == 0 && !errors.Is(err, kafka.TransactionCoordinatorFenced) {
			return fmt.Errorf("producer %d, marker of coordinator epoch %d after %d: %w", id, p.by-1, p.by, err)
		}
		for i, b := range h.told(p) {
			v, err := l.Producers().Check(&b.head)
			if err != nil || !v.Duplicate || v.Base != b.head.BaseOffset || v.Last != b.head.LastOffset() {
				return fmt.Errorf("producer %d, batch %d of its last %d, offsets %d to %d, is no duplicate: %+v, %w",
					id, i+1, len(h.told(p)), b.head.BaseOffset, b.head.LastOffset(), v, err)
			}
		}
	}
	return nil
}

// rolledBack compares the aborted transactions.
func (h *history) rolledBack(l *commitlog.Log, s *state, start, end int64) error {
	got, err := l.Aborted(start, end)
	if err != nil {
		return err
	}
	return h.sameAborted(got, s, start, end)
}

// sameAborted compares the aborted transactions of [start, end). Those whose data
// compaction may have taken away need not be there.
func (h *history) sameAborted(got []commitlog.AbortedTxn, s *state, start, end int64) error {
	var want []commitlog.AbortedTxn
	for _, a := range s.aborted {
		there := slices.ContainsFunc(got, func(g commitlog.AbortedTxn) bool { return g.Last == a.Last })
		if a.Last >= start && a.First < end && (there || h.hides(a)) {
			want = append(want, a)
		}
	}
	for _, list := range [][]commitlog.AbortedTxn{want, got} {
		slices.SortFunc(list, func(a, b commitlog.AbortedTxn) int { return int(a.Last - b.Last) })
	}
	same := slices.EqualFunc(got, want, func(g, w commitlog.AbortedTxn) bool {
		if h.clean > w.First { // earlier ones, and its own first batches, may be gone
			return g.ProducerID == w.ProducerID && g.First >= w.First && g.Last == w.Last
		}
		return g == w
	})
	if !same {
		return fmt.Errorf("aborted transactions are %+v, they must be %+v", got, want)
	}
	return nil
}

// hides tells whether a reader needs to know of an aborted transaction: not where
// compaction may have taken all of its data.
func (h *history) hides(a commitlog.AbortedTxn) bool {
	for _, b := range h.given[at(h.given, max(a.First, h.clean)):] {
		if b.head.BaseOffset > a.Last {
			break
		}
		if b.head.ProducerID == a.ProducerID && !b.marker() {
			return true
		}
	}
	return false
}

// led compares the leader epochs: those of the batches must be there, others
// only where they were assigned.
func (h *history) led(l *commitlog.Log, s *state, start, end int64) error {
	got := l.Epochs()
	for i, e := range s.epochs {
		if i+1 < len(s.epochs) && s.epochs[i+1].Start <= start {
			continue // it ended before the log begins
		}
		if e.Start < h.clean {
			continue // compaction may have taken its batches
		}
		if e.Start = max(e.Start, start); e.Start < end && !slices.ContainsFunc(got, func(g commitlog.EpochStart) bool {
			return g.Epoch == e.Epoch && (g.Start == e.Start || g.Start < e.Start && slices.Contains(h.epochs, g))
		}) {
			return fmt.Errorf("epochs are %v, %v is missing", got, e)
		}
	}
	for i, e := range got {
		if i > 0 && (e.Epoch <= got[i-1].Epoch || e.Start < got[i-1].Start) {
			return fmt.Errorf("epochs are out of order: %v", got)
		}
		known := func(k commitlog.EpochStart) bool {
			// Found among batches of which compaction took the first, it begins later.
			later := e.Start == start || e.Start <= h.clean
			return k.Epoch == e.Epoch && (k.Start == e.Start || k.Start < e.Start && later)
		}
		if !slices.ContainsFunc(s.epochs, known) && !slices.ContainsFunc(h.epochs, known) {
			return fmt.Errorf("epochs are %v, nobody assigned %v", got, e)
		}
	}
	return nil
}
