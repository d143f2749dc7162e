package share

import (
	"slices"
	"sort"
	"time"
)

// window is what became of the records in flight of a share partition. It is a
// pure machine: the time comes in, what is to be stored goes out.
//
//	             start                                   end
//	... done ... | batch | batch | hole | batch | gap | batch | not yet read ...
//	             | run run run |
//
// Batches lie in order and without a space between them from start to end. A
// batch is what was once handed out as one, and is handed out as one again as
// long as it is whole; once its records go different ways it has several runs.
//
// A record goes through these states:
//
//	                 acquire
//	Available ───────────────────▶ Acquired
//	    ▲                             │ acknowledge, release, lock ran out
//	    ├─────────────────────────────┼───────────────────────┐
//	    │                             ▼                       ▼
//	    └── not yet too often    Acknowledged, Archived ◀─ Archiving
//	                             done for good             until its [Letter] is sent
//
// Only groups with a dead-letter topic archive by way of Archiving. A letter is
// sent when that state was stored, so that who comes after a crash sends it.
//
// What a member says of a record changes nothing until it is stored: the run
// keeps its state and a change, and the [ticket] tells when that is settled. A
// lock that runs out changes the state at once, and is stored when it can be.
//
// Invariants: start ≤ free ≤ end; the batches cover [start, end) exactly; a run
// has a change only while it is acquired; a record that is done is never handed
// out again.
type window struct {
	limits
	start, end int64
	batches    []*batch
	free       int64 // no record before it is available
	kept       int64 // the start that is stored
	keeping    int64 // the start that is being stored

	queued  []*ticket // changes that are to be stored
	writing []*ticket // changes that are being stored
	loose   []span    // of states that changed at once and are to be stored too
	mail

	done int64 // records in a final state
	held int64 // records acquired
}

// limits of a share partition: the group's settings, the broker's where it has
// none.
type limits struct {
	locks      int64         // records in the window (share.partition.max.record.locks)
	deliveries int16         // share.delivery.count.limit
	lock       time.Duration // share.record.lock.duration.ms
	letters    bool          // records that are given up go to a dead-letter topic
}

// throttle is the delivery count from which records are handed out in smaller
// and smaller parts, so that one that its readers choke on is found.
func (l *limits) throttle() int16 { return max(2, (l.deliveries+1)/2) }

// span is a range of offsets, both ends included.
type span struct{ first, last int64 }

func (s span) size() int64 { return s.last - s.first + 1 }

// batch is what is handed out as one.
type batch struct {
	first, last int64
	runs        []run
	split       bool // its records are looked at one by one
	gap         bool // was never read: nothing is known of its records
	hole        bool // there are no records
}

// run is a part of a batch with one fate.
type run struct {
	span
	state  Delivery
	count  int16  // deliveries
	member string // who acquired it
	until  time.Time
	change *change // what it becomes once that is stored
}

// change is what a run becomes when a ticket is settled well.
type change struct {
	to     Delivery
	cause  Cause // where that is Archiving
	ticket *ticket
}

// ticket is one request's changes.
type ticket struct {
	spans   []span
	settled bool
	err     error
}

func final(s Delivery) bool { return s == Acknowledged || s == Archived }

// open begins a window with what is stored. The start is known.
func (w *window) open(start int64, stored []Batch) {
	w.start, w.end, w.free, w.kept = start, start, start, start
	for _, s := range stored {
		first := max(s.First, w.end)
		if s.Last < first {
			continue
		}
		if first > w.end {
			w.push(&batch{gap: true}, run{span: span{w.end, first - 1}})
		}
		state := s.State
		if state == Acquired {
			state = Available
		}
		r := run{span: span{first, s.Last}, state: state, count: s.Count}
		if state == Archiving { // its leader went before it could say that the letter is sent
			w.post = append(w.post, w.resumed(&r))
		}
		w.push(&batch{}, r)
	}
	w.advance()
}

// push adds a batch of one run at the end.
func (w *window) push(b *batch, r run) {
	b.first, b.last, b.runs = r.first, r.last, []run{r}
	w.batches = append(w.batches, b)
	w.end = r.last + 1
	w.count(&r, 1)
}

// count keeps the sums: r comes (1) or goes (-1).
func (w *window) count(r *run, sign int64) {
	switch {
	case final(r.state):
		w.done += sign * r.size()
	case r.state == Acquired:
		w.held += sign * r.size()
	}
}

// turn gives a run another state.
func (w *window) turn(r *run, to Delivery) {
	w.count(r, -1)
	r.state = to
	w.count(r, 1)
	if to != Acquired {
		r.member, r.until, r.change = "", time.Time{}, nil
	}
	if to == Available {
		w.free = min(w.free, r.first)
	}
}

// at is the index of the batch that holds an offset, or of the first behind it.
func (w *window) at(offset int64) int {
	return sort.Search(len(w.batches), func(i int) bool { return w.batches[i].last >= offset })
}

// cut makes a run of b begin at an offset, if b holds it.
func (b *batch) cut(offset int64) {
	i := sort.Search(len(b.runs), func(i int) bool { return b.runs[i].last >= offset })
	if i == len(b.runs) || b.runs[i].first >= offset {
		return
	}
	left, right := b.runs[i], b.runs[i]
	left.last, right.first = offset-1, offset
	b.runs[i] = left
	b.runs = slices.Insert(b.runs, i+1, right)
}

// within cuts the runs of b at the ends of s and calls f for those inside.
func (b *batch) within(s span, f func(r *run)) {
	b.cut(s.first)
	b.cut(s.last + 1)
	for i := range b.runs {
		if r := &b.runs[i]; r.first >= s.first && r.last <= s.last {
			f(r)
		}
	}
}

// tidy joins runs of b that have come to the same fate.
func (b *batch) tidy() {
	out := b.runs[:1]
	for _, r := range b.runs[1:] {
		l := &out[len(out)-1]
		if l.state == r.state && l.count == r.count && l.state != Acquired {
			l.last = r.last
			continue
		}
		out = append(out, r)
	}
	clear(b.runs[len(out):])
	b.runs = out
}

// each calls f for the runs inside s, cut at its ends.
func (w *window) each(s span, f func(b *batch, r *run)) {
	for i := w.at(s.first); i < len(w.batches) && w.batches[i].first <= s.last; i++ {
		b := w.batches[i]
		b.within(s, func(r *run) { f(b, r) })
	}
}

// next is the offset to read from: of the first available record, or the end.
func (w *window) next() int64 {
	for i := w.at(w.free); i < len(w.batches); i++ {
		for j := range w.batches[i].runs {
			if r := &w.batches[i].runs[j]; r.state == Available {
				w.free = r.first
				return r.first
			}
		}
	}
	w.free = w.end
	return w.end
}

// room says whether anything could be acquired.
func (w *window) room() bool { return w.end-w.start < w.limits.locks || w.next() < w.end }

// advance moves the start over what is done.
func (w *window) advance() {
	for len(w.batches) > 0 {
		r := &w.batches[0].runs[0]
		if !final(r.state) {
			break
		}
		w.dropTo(r.last + 1)
	}
}

// dropTo forgets all before an offset.
func (w *window) dropTo(start int64) {
	for len(w.batches) > 0 {
		b := w.batches[0]
		b.cut(start)
		for len(b.runs) > 0 && b.runs[0].last < start {
			w.count(&b.runs[0], -1)
			b.runs = b.runs[1:]
		}
		if len(b.runs) > 0 {
			break
		}
		w.batches = w.batches[1:]
	}
	if len(w.batches) == 0 {
		w.batches = nil
	}
	w.start = start
	w.end, w.free = max(w.end, start), max(w.free, start)
}

// logStart notes that the log begins at an offset now: what lay before is gone,
// whoever had it. True if that moved the start.
func (w *window) logStart(offset int64) bool {
	if offset <= w.start {
		return false
	}
	w.dropTo(offset)
	w.advance()
	return true
}
