package torture

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/record"
)

// compacted holds what compaction made of the records below limit to what they
// were, and gives what was read behind them:
//
//	what is there is a record that was given, at its offset
//	what is missing was rolled back, a marker, a tombstone, or has a successor
//	of the same key that compaction knew
func (h *history) compacted(start, limit int64, got []byte) (rest []byte, err error) {
	there := map[int64]entry{}
	last := int64(-1)
	for len(got) > 0 {
		head, err := record.Check(got[:min(len(got), record.Size(got))])
		if err != nil {
			return nil, fmt.Errorf("compacted batch after %d: %w", last, err)
		}
		if head.BaseOffset >= limit {
			break
		}
		if head.BaseOffset <= last {
			return nil, fmt.Errorf("compacted batch at %d comes after %d", head.BaseOffset, last)
		}
		last = head.LastOffset()
		found, err := entriesOf(got[:head.Size()])
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			there[e.offset] = e
		}
		got = got[head.Size():]
	}
	return got, h.excused(start, limit, there)
}

// excused looks at every record that was given below limit.
func (h *history) excused(start, limit int64, there map[int64]entry) error {
	s := h.foldTo(h.end()) // a marker behind clean tells too what is rolled back
	newest := map[string]int64{}
	for _, b := range h.given[:at(h.given, h.clean)] {
		if b.marker() || s.hidden(b) {
			continue
		}
		for _, e := range b.entries {
			newest[e.key] = e.offset
		}
	}
	seen := 0
	for _, b := range h.given[at(h.given, start):] {
		if b.head.BaseOffset >= limit {
			break
		}
		for _, e := range b.entries {
			have, ok := there[e.offset]
			switch {
			case ok && have != e:
				return fmt.Errorf("compaction changed the record at %d: %+v, it was %+v", e.offset, have, e)
			case ok:
				seen++
			case e.offset < start || b.marker() || s.hidden(b) || e.tombstone || newest[e.key] > e.offset:
			default:
				return fmt.Errorf("record at %d is the last of key %q below %d and is missing", e.offset, e.key, h.clean)
			}
		}
	}
	if seen < len(there) {
		return fmt.Errorf("%d records below %d that nobody wrote", len(there)-seen, limit)
	}
	return nil
}

// entriesOf reads the records of a batch.
func entriesOf(b []byte) ([]entry, error) {
	var out []entry
	var r record.Reader
	defer r.Release()
	for r.Reset(b, record.DefaultLimit); r.Next(); {
		rec := r.Record()
		out = append(out, entry{offset: rec.Offset, time: rec.Timestamp, key: string(rec.Key), value: string(rec.Value), tombstone: rec.Value == nil})
	}
	return out, r.Err()
}
