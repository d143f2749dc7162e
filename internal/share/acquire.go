package share

import (
	"slices"
	"time"
)

// AcquireMode says how exactly a member's MaxRecords is kept to (KIP-1206).
type AcquireMode int8

const (
	// BatchOptimized hands out whole batches of the log: MaxRecords may be
	// passed by the rest of a batch.
	BatchOptimized AcquireMode = 0
	// RecordLimit never hands out more than MaxRecords.
	RecordLimit AcquireMode = 1
)

// AcquiredRecords are records of a member now, both offsets included. They may
// contain offsets at which there is no record: the member says so by
// acknowledging them as a gap.
type AcquiredRecords struct {
	First, Last int64
	Count       int16 // deliveries, this one included
}

// acquisition is what a member may get of the records that were read.
type acquisition struct {
	member    string
	mode      AcquireMode
	batchSize int64 // records in one row of the answer, but for whole batches
	max       int64
	from      int64  // where the log was read from
	read      []span // the batches of the log that were read, in order
	aborted   []span // those of them that were aborted
	now       time.Time

	got  int64
	rows []AcquiredRecords
}

// acquire hands out records that were read and are available.
func (w *window) acquire(q *acquisition) []AcquiredRecords {
	if len(q.read) == 0 || q.max <= 0 {
		return nil
	}
	s := span{q.read[0].first, q.read[len(q.read)-1].last}
	if s.last < w.start {
		return nil
	}
	if room := w.limits.locks - (w.end - w.start); room > 0 {
		q.max = min(q.max, room)
	} else {
		s.last = min(s.last, w.end-1)
		q.max = min(q.max, w.end-q.from)
	}
	if q.max <= 0 {
		return nil
	}
	w.vanished(q.from, s.first)
	s.first = max(s.first, w.start)
	for i := w.at(s.first); i < len(w.batches) && w.batches[i].first <= s.last && q.got < q.max; i++ {
		if b := w.batches[i]; b.gap {
			i += w.acquireGap(q, i, s)
		} else if !w.acquireBatch(q, b, s) {
			q.max = 0
		}
	}
	if q.got < q.max && w.end <= s.last {
		w.acquireNew(q, s)
	}
	w.refuse(q)
	return q.rows
}

// vanished gives up available records from one offset up to another: the log
// was read there and has none.
func (w *window) vanished(from, to int64) {
	if from >= to || len(w.batches) == 0 {
		return
	}
	for i := w.at(from); i < len(w.batches) && w.batches[i].first < to; i++ {
		b := w.batches[i]
		if b.gap && b.last >= to {
			w.part(i, to)
		}
		b.gap = false
		b.within(span{max(from, b.first), to - 1}, func(r *run) {
			if r.state == Available {
				w.turn(r, Archived)
			}
		})
		b.split = b.split || len(b.runs) > 1
	}
	w.advance()
}

// part makes two batches of a gap: the second begins at an offset.
func (w *window) part(i int, at int64) {
	b := w.batches[i]
	b.cut(at)
	rest := &batch{first: at, last: b.last, gap: b.gap, runs: []run{b.runs[1]}}
	b.last, b.runs = at-1, b.runs[:1]
	w.batches = slices.Insert(w.batches, i+1, rest)
}

// acquireGap hands out what of a gap was read as if it were new, and returns how
// many batches it put before the next one to look at.
func (w *window) acquireGap(q *acquisition, i int, s span) int {
	skip := 0
	if b := w.batches[i]; b.runs[0].first < s.first {
		w.part(i, s.first)
		i, skip = i+1, skip+1
	}
	b := w.batches[i]
	fresh := w.fresh(q, span{max(b.runs[0].first, s.first), min(b.last, s.last)})
	if end := fresh[len(fresh)-1].last; end < b.last {
		w.part(i, end+1)
	}
	w.batches = slices.Replace(w.batches, i, i+1, fresh...)
	return skip + len(fresh) - 1
}

// acquireNew hands out records behind the window.
func (w *window) acquireNew(q *acquisition, s span) {
	first := max(w.end, q.read[0].first)
	// Between two batches of the log there may be offsets without a record.
	for _, r := range q.read {
		if r.last >= first {
			first = max(first, r.first)
			break
		}
	}
	switch {
	case len(w.batches) == 0:
		w.start, w.end, w.free = first, first, first
	case first > w.end:
		w.push(&batch{hole: true}, run{span: span{w.end, first - 1}, state: Archived})
	}
	for _, b := range w.fresh(q, span{first, s.last}) {
		w.batches = append(w.batches, b)
		w.end = b.last + 1
	}
}

// fresh makes batches of records that were never handed out, beginning with the
// first of s, and hands them out.
func (w *window) fresh(q *acquisition, s span) []*batch {
	left := q.max - q.got
	whole := s
	if left < s.size() {
		whole.last = min(s.last, lastOf(q.read, s.first+left-1))
	}
	var out []*batch
	add := func(s span) *batch {
		b := &batch{first: s.first, last: s.last, runs: []run{{span: s, state: Acquired, count: 1, member: q.member,
			until: q.now.Add(w.limits.lock)}}}
		w.count(&b.runs[0], 1)
		out = append(out, b)
		return b
	}
	if q.mode == RecordLimit {
		b := add(whole)
		if whole.size() > left {
			b.split = true
			b.within(span{whole.first + left, whole.last}, func(r *run) {
				w.turn(r, Available)
				r.count = 0
			})
			whole.last = whole.first + left - 1
		}
		q.row(whole, 1)
		return out
	}
	first := whole.first
	for _, r := range q.read {
		if whole.size() > q.batchSize && r.first <= whole.last && r.first-first >= q.batchSize {
			add(span{first, r.first - 1})
			first = r.first
		}
	}
	add(span{first, whole.last})
	for _, b := range out {
		q.row(span{b.first, b.last}, 1)
	}
	return out
}

// lastOf is the last offset of the batch that holds an offset, or that offset.
func lastOf(read []span, offset int64) int64 {
	for _, r := range read {
		if r.first <= offset && offset <= r.last {
			return r.last
		}
	}
	return offset
}

func (q *acquisition) row(s span, count int16) {
	q.rows = append(q.rows, AcquiredRecords{s.first, s.last, count})
	q.got += s.size()
}

// acquireBatch hands out a batch again, whole if it still is. False ends the
// acquisition: what comes next is to be delivered apart.
func (w *window) acquireBatch(q *acquisition, b *batch, s span) bool {
	apart := w.suspect(b, s)
	if apart && q.got > 0 {
		return false
	}
	whole := b.first >= s.first && b.last <= s.last && !b.split && len(b.runs) == 1
	if r := &b.runs[0]; len(b.runs) == 1 && r.state != Available {
		return true
	}
	if whole && !apart && (q.mode == BatchOptimized || b.runs[0].size() <= q.max-q.got) {
		r := &b.runs[0]
		w.take(q, r)
		q.row(r.span, r.count)
		return true
	}
	b.split = true
	got := q.got
	w.acquireSome(q, b, s)
	return !apart || q.got == got
}

// take gives a run to the member.
func (w *window) take(q *acquisition, r *run) {
	w.turn(r, Acquired)
	r.count++
	r.member, r.until = q.member, q.now.Add(w.limits.lock)
}

// suspect says whether the batch holds records that were delivered so often
// that something may be wrong with one of them.
func (w *window) suspect(b *batch, s span) bool {
	for i := range b.runs {
		r := &b.runs[i]
		if r.state == Available && r.last >= s.first && r.first <= s.last && r.count >= w.throttle() {
			return true
		}
	}
	return false
}

// acquireSome hands out the available runs of b within s. A record that gets its
// last chance goes alone; those that had many go in a part of the batch that
// halves with each delivery.
func (w *window) acquireSome(q *acquisition, b *batch, s span) {
	part, got := int64(-1), int64(0)
	from := len(q.rows)
	for i := 0; i < len(b.runs); i++ {
		r := &b.runs[i]
		if r.state != Available || r.last < s.first || r.first > s.last {
			continue
		}
		alone := w.deliveries > 2 && r.count >= w.deliveries-1
		if alone && got > 0 {
			break
		}
		first := max(r.first, s.first)
		n := min(r.last, s.last) - first + 1
		if alone {
			n = 1
		}
		if q.mode == RecordLimit {
			n = min(n, q.max-q.got)
		}
		if r.count >= w.throttle() && part < 0 {
			part = max(1, (b.last-b.first+1)>>(r.count-w.throttle()+1))
		}
		if part > got {
			n = min(n, part-got)
		}
		b.cut(first)
		b.cut(first + n)
		if b.runs[i].first < first {
			i++
		}
		r = &b.runs[i]
		w.take(q, r)
		got += n
		if k := len(q.rows) - 1; k >= from && q.rows[k].Last+1 == r.first && q.rows[k].Count == r.count {
			q.rows[k].Last = r.last
			q.got += n
		} else {
			q.row(r.span, r.count)
		}
		if alone || got == part || q.mode == RecordLimit && q.got >= q.max {
			break
		}
	}
}

// refuse takes aborted records out of what was handed out: they are done.
func (w *window) refuse(q *acquisition) {
	if len(q.aborted) == 0 {
		return
	}
	var rows []AcquiredRecords
	for _, row := range q.rows {
		for _, a := range q.aborted {
			if a.last < row.First || a.first > row.Last {
				continue
			}
			out := span{max(a.first, row.First), min(a.last, row.Last)}
			w.each(out, func(b *batch, r *run) {
				w.turn(r, Archived)
				b.split = true
			})
			if row.First < out.first {
				rows = append(rows, AcquiredRecords{row.First, out.first - 1, row.Count})
			}
			row.First = out.last + 1
		}
		if row.First <= row.Last {
			rows = append(rows, row)
		}
	}
	q.rows = rows
	w.advance()
}
