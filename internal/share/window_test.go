package share

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// verify checks what must hold of a window at any time.
func (w *window) verify() error {
	at, done, held := w.start, int64(0), int64(0)
	for _, b := range w.batches {
		if len(b.runs) == 0 {
			return fmt.Errorf("batch %d to %d has no runs", b.first, b.last)
		}
		for i := range b.runs {
			r := &b.runs[i]
			switch {
			case r.first != at || r.last < r.first || r.first < b.first || r.last > b.last:
				return fmt.Errorf("run %d to %d of batch %d to %d, expected to begin at %d", r.first, r.last, b.first, b.last, at)
			case (r.state == Acquired) != (r.member != ""):
				return fmt.Errorf("run %d: state %d, member %q", r.first, r.state, r.member)
			case r.change != nil && r.state != Acquired:
				return fmt.Errorf("run %d has a change in state %d", r.first, r.state)
			case r.state == Available && r.first < w.free:
				return fmt.Errorf("run %d is available, free is %d", r.first, w.free)
			}
			if final(r.state) {
				done += r.size()
			}
			if r.state == Acquired {
				held += r.size()
			}
			at = r.last + 1
		}
		if at != b.last+1 {
			return fmt.Errorf("batch %d to %d ends at %d", b.first, b.last, at)
		}
	}
	switch {
	case at != w.end:
		return fmt.Errorf("the batches end at %d, the window at %d", at, w.end)
	case done != w.done || held != w.held:
		return fmt.Errorf("done %d, counted %d; held %d, counted %d", w.done, done, w.held, held)
	case w.free < w.start || w.free > w.end:
		return fmt.Errorf("free %d in %d to %d", w.free, w.start, w.end)
	case len(w.batches) > 0 && final(w.batches[0].runs[0].state):
		return errors.New("the start is done")
	}
	return nil
}

// A random history of a share partition against a model of each record:
// fetches of two members at once that read the same, acknowledgements right and
// wrong, locks that run out, sessions that end, writes that fail, or fail and
// are stored nevertheless, a log whose start moves and whose batches vanish, and
// a leader that is lost and comes back with what is stored. In all of them
//
//   - what was acknowledged and answered is never handed out again, and neither
//     are aborted records;
//   - no record is with two members at once;
//   - nobody gets a record more often than the limit says;
//   - in the end every record was handed out or has a reason not to be, and the
//     window is empty;
//   - where the group has a dead-letter topic, there was a letter of every record
//     that was given up, also when the leader was lost on the way.
func TestWindowAgainstRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStory(rt)
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			s.step()
			s.check()
		}
		s.drain()
	})
}
