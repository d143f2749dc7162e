package share

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// What a member can say of a record.
const (
	Gap    int8 = 0 // there is none at this offset
	Accept int8 = 1
	Free   int8 = 2 // to be delivered again
	Reject int8 = 3
	Renew  int8 = 4 // keep it, the lock begins anew (KIP-1222)
)

// Ack is what a member says of records, both offsets included: one type for all
// of them, or one for each.
type Ack struct {
	First, Last int64
	Types       []int8
}

// of is what it says of an offset, and up to which it says the same.
func (a *Ack) of(offset int64) (t int8, last int64) {
	if len(a.Types) == 1 {
		return a.Types[0], a.Last
	}
	i := int(offset - a.First)
	t = a.Types[i]
	for i+1 < len(a.Types) && a.Types[i+1] == t {
		i++
	}
	return t, a.First + int64(i)
}

// acknowledge notes what a member says. It is all or nothing: on an error
// nothing has changed. The ticket is settled when it is stored; nil means that
// there was nothing to store.
//
// Errors: INVALID_REQUEST for what was never handed out, INVALID_RECORD_STATE
// for what is not the member's.
func (w *window) acknowledge(member string, acks []Ack, now time.Time) (*ticket, error) {
	for i := range acks {
		if err := w.check(member, &acks[i]); err != nil {
			return nil, err
		}
	}
	t := &ticket{}
	for i := range acks {
		a := &acks[i]
		for at := max(a.First, w.start); at <= a.Last; {
			kind, last := a.of(at)
			w.each(span{at, last}, func(b *batch, r *run) { w.say(t, kind, b, r, now) })
			at = last + 1
		}
	}
	return w.queue(t), nil
}

// queue puts a ticket with changes into the queue.
func (w *window) queue(t *ticket) *ticket {
	if len(t.spans) == 0 {
		return nil
	}
	w.queued = append(w.queued, t)
	return t
}

// check says whether a member may say what it says.
func (w *window) check(member string, a *Ack) error {
	for _, t := range a.Types {
		if t < Gap || t > Renew {
			return fmt.Errorf("acknowledge type %d: %w", t, kafka.InvalidRequest)
		}
	}
	if a.First > a.Last || len(a.Types) != 1 && int64(len(a.Types)) != a.Last-a.First+1 {
		return fmt.Errorf("offsets %d to %d with %d types: %w", a.First, a.Last, len(a.Types), kafka.InvalidRequest)
	}
	switch {
	case a.Last < w.start:
		return nil
	case len(w.batches) == 0:
		return fmt.Errorf("offset %d is not in flight: %w", a.First, kafka.InvalidRecordState)
	case a.Last >= w.end:
		return fmt.Errorf("offset %d was not handed out: %w", a.Last, kafka.InvalidRequest)
	}
	some := false
	s := span{max(a.First, w.start), a.Last}
	for i := w.at(s.first); i < len(w.batches) && w.batches[i].first <= s.last; i++ {
		b := w.batches[i]
		for j := range b.runs {
			r := &b.runs[j]
			if r.last < s.first || r.first > s.last || b.hole || b.gap {
				continue
			}
			some = true
			if r.state != Acquired || r.change != nil || r.member != member {
				return fmt.Errorf("offset %d is not with the member: %w", max(r.first, s.first), kafka.InvalidRecordState)
			}
		}
	}
	if !some {
		return fmt.Errorf("offset %d was not handed out: %w", a.First, kafka.InvalidRequest)
	}
	return nil
}

// say notes what is said of a run.
func (w *window) say(t *ticket, kind int8, b *batch, r *run, now time.Time) {
	b.split = b.split || len(b.runs) > 1
	if b.hole || b.gap {
		return
	}
	c := &change{to: Archived, ticket: t}
	switch kind {
	case Renew:
		r.until = now.Add(w.limits.lock)
		return
	case Accept:
		c.to = Acknowledged
	case Free:
		c.to, c.cause = w.again(r.count), TooOften
	case Reject:
		c.to, c.cause = w.givenUp(), Rejected
	}
	r.change = c
	t.spans = append(t.spans, r.span)
}

// again is the state of a record that was delivered so often without success.
func (w *window) again(count int16) Delivery {
	if count >= w.deliveries {
		return w.givenUp()
	}
	return Available
}

// givenUp is the state of a record that is not to be delivered again.
func (w *window) givenUp() Delivery {
	if w.letters {
		return Archiving
	}
	return Archived
}

// release gives back all that a member has, as when its session ends. What it
// said something about stays as it said.
func (w *window) release(member string) *ticket {
	t := &ticket{}
	for _, b := range w.batches {
		for i := range b.runs {
			r := &b.runs[i]
			if r.state == Acquired && r.change == nil && r.member == member {
				r.change = &change{w.again(r.count), TooOften, t}
				t.spans = append(t.spans, r.span)
			}
		}
	}
	return w.queue(t)
}

// expire takes back what was locked up to now, and tells how many records that
// were and when to look again: zero if nothing is locked.
func (w *window) expire(now time.Time) (records int64, wake time.Time) {
	for _, b := range w.batches {
		for i := range b.runs {
			r := &b.runs[i]
			switch {
			case r.state != Acquired || r.change != nil: // settle looks at those
			case !r.until.After(now):
				records += r.size()
				w.loosen(r)
			case wake.IsZero() || r.until.Before(wake):
				wake = r.until
			}
		}
	}
	w.tidyAll()
	w.advance()
	return records, wake
}

// loosen takes a run back from its member at once.
func (w *window) loosen(r *run) {
	w.turn(r, w.again(r.count))
	w.loose = append(w.loose, r.span)
	if r.state == Archiving {
		w.late = append(w.late, Letter{r.first, r.last, r.count, TooOften})
	}
}

func (w *window) tidyAll() {
	for _, b := range w.batches {
		if len(b.runs) > 1 {
			b.tidy()
		}
	}
}

// dirty says whether there is something to store.
func (w *window) dirty() bool { return w.pressing() || len(w.filed) > 0 }

// pressing says whether there is something to store that was not tried yet.
func (w *window) pressing() bool { return len(w.queued) > 0 || len(w.loose) > 0 }

// store begins to store all that is queued. [window.settle] has to follow, also
// where nothing came out to be stored (false).
func (w *window) store() (u Update, any bool) {
	w.writing, w.queued = w.queued, nil
	spans := w.loose
	w.loose = nil
	w.seal()
	spans = append(spans, w.filing...)
	complete := w.done
	for _, t := range w.writing {
		spans = append(spans, t.spans...)
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	at := w.start
	for _, s := range spans {
		if s.first = max(s.first, at); s.first > s.last {
			continue
		}
		w.each(s, func(_ *batch, r *run) {
			state, count := r.state, r.count
			switch {
			case r.change != nil:
				state = r.change.to
				if final(state) {
					complete += r.size()
				}
			case state == Acquired: // taken again since: it was available
				state, count = Available, count-1
			}
			u.add(Batch{First: r.first, Last: r.last, State: state, Count: count})
		})
		at = s.last + 1
	}
	u.StartOffset, u.DeliveryComplete = w.start, int32(complete)
	w.keeping = w.kept
	// What is done at once may lie before the start already.
	if any = len(u.Batches) > 0 || len(spans) > 0 && w.start > w.kept; any {
		w.keeping = w.start
	}
	return u, any
}

// add appends a batch, or makes the last one longer.
func (u *Update) add(b Batch) {
	if n := len(u.Batches); n > 0 {
		if l := &u.Batches[n-1]; l.Last+1 == b.First && l.State == b.State && l.Count == b.Count {
			l.Last = b.Last
			return
		}
	}
	u.Batches = append(u.Batches, b)
}

// settle ends what store began: changes come true, or on an error are taken
// back. A lock that ran out meanwhile ends now; for the others look at expire.
func (w *window) settle(err error, now time.Time) {
	for _, t := range w.writing {
		for _, s := range t.spans {
			w.each(s, func(_ *batch, r *run) {
				c := r.change
				switch {
				case c == nil || c.ticket != t:
				case err == nil:
					if w.turn(r, c.to); c.to == Archiving {
						w.post = append(w.post, Letter{r.first, r.last, r.count, c.cause})
					}
				default:
					r.change = nil
					if !r.until.After(now) {
						w.loosen(r)
					}
				}
			})
		}
		t.settled, t.err = true, err
	}
	w.writing = nil
	if err == nil {
		w.kept = w.keeping
	}
	w.sealed(err)
	w.tidyAll()
	w.advance()
}
