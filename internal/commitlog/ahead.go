package commitlog

import (
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// ahead brings old data into memory before somebody sends it, and lets it go
// again. A thread that sends what is not in memory stands still until the device
// has it, and Go cannot run anything else on it; a reader that waits here costs
// no thread.
//
//	Read --> all in memory? -- yes --------------------------> send
//	             | no
//	             v
//	         a window is asked for, and one more ahead of
//	         a reader that goes on where it stopped
//	             v
//	         a worker brings it, piece by piece ------------> send
//	             v
//	         the oldest windows brought are dropped
//
// The workers are few, so that readers of old data, however many, do not fill
// the queue of the device before those who write. What is dropped is only what
// was brought here, was not in memory before and is not in the segment that is
// written: the memory that the tail has is not spent on what one reader wanted
// once.
//
// Where the file system cannot say what is in memory nothing of this happens.
type ahead struct {
	workers int   // how many run at once
	keep    int64 // bytes that were brought and stay in memory

	wg      sync.WaitGroup
	follows atomic.Bool // some reader of old data was seen

	mu struct {
		sync.Mutex // memory only
		urgent     []*window
		lazy       []*window // nobody waits for these yet
		pending    []*window // all of them, and those under way
		running    int
		closed     bool
		readers    [aheadReaders]oldReader
		clock      uint64
		brought    []*window // oldest first
		bytes      int64     // of brought
	}
}

// window is a part of a segment that is wanted in memory.
type window struct {
	seg      *segment.Segment
	from, to int64
	active   bool          // of the segment that is written
	done     chan struct{} // closed when it is there, or cannot be
}

// oldReader is a consumer that reads what was not in memory.
type oldReader struct {
	seg   *segment.Segment
	next  int64  // where it will go on
	asked int64  // up to where windows were asked for
	step  int64  // how far ahead of it
	used  uint64 // by the clock
}

const (
	aheadReaders = 64        // readers of old data that are told apart
	aheadLeast   = 32 << 10  // ranges below are read through memory, with a token of the directory
	aheadFirst   = 1 << 20   // how far ahead of a reader that goes on once
	aheadMost    = 8 << 20   // and of one that keeps going on
	aheadWait    = 4 << 20   // how much of a range is waited for at a time
	aheadPiece   = 256 << 10 // what a worker asks the device for at a time
)

func newAhead(workers int, keep int64) *ahead {
	return &ahead{workers: workers, keep: keep}
}

// ready waits until the bytes of seg from pos to end are in memory. It can say
// so too early: memory may be taken away at any time, and reading tells errors.
func (a *ahead) ready(seg *segment.Segment, pos, end int64, active bool) {
	cold := missing(seg, pos, end) > 0
	if !cold && !a.follows.Load() {
		return
	}
	a.mu.Lock()
	r := a.readerLocked(seg, pos)
	if !cold && r == nil || a.mu.closed {
		a.mu.Unlock()
		return
	}
	var wait *window
	if cold {
		wait = a.wantLocked(&window{seg: seg, from: pos, to: end, active: active}, &a.mu.urgent)
	}
	a.followLocked(r, seg, end, active)
	a.mu.Unlock()
	if wait != nil {
		<-wait.done
	}
}

// missing is how many bytes are not in memory.
func missing(seg *segment.Segment, pos, end int64) (n int64) {
	seg.Raw(func(f vfs.File) error { //nolint:errcheck // whoever reads sees it
		n = end - pos - f.Cached(pos, end-pos)
		return nil
	})
	return n
}

// readerLocked finds the reader that goes on at pos.
func (a *ahead) readerLocked(seg *segment.Segment, pos int64) *oldReader {
	for i := range a.mu.readers {
		if r := &a.mu.readers[i]; r.seg == seg && r.next == pos {
			return r
		}
	}
	return nil
}

// followLocked notes that a reader has come to end. One that went on from where
// it was gets a window ahead of it, twice as far each time; one that is new, in
// the place of the one heard of longest ago, does not: it may have jumped here.
func (a *ahead) followLocked(r *oldReader, seg *segment.Segment, end int64, active bool) {
	a.mu.clock++
	if r == nil {
		r = &a.mu.readers[0]
		for i := range a.mu.readers {
			if q := &a.mu.readers[i]; q.used < r.used {
				r = q
			}
		}
		*r = oldReader{seg: seg, next: end, asked: end, used: a.mu.clock}
		a.follows.Store(true)
		return
	}
	r.next, r.used = end, a.mu.clock
	r.asked = max(r.asked, end)
	// All readers together go no further ahead than half of what may stay.
	most := max(min(aheadMost, a.keep/2/aheadReaders), aheadFirst)
	r.step = min(max(2*r.step, aheadFirst), most)
	to := min(end+r.step, seg.Size())
	if to-r.asked >= min(r.step/2, to-end) && to > r.asked {
		a.wantLocked(&window{seg: seg, from: r.asked, to: to, active: active}, &a.mu.lazy)
		r.asked = to
	}
}

// wantLocked puts a window in line, unless one that covers it is there already,
// and gives the one to wait for.
func (a *ahead) wantLocked(w *window, line *[]*window) *window {
	for i, p := range a.mu.pending {
		if p.seg != w.seg || p.from > w.from || p.to < w.to {
			continue
		}
		if line == &a.mu.urgent {
			a.hurryLocked(a.mu.pending[i])
		}
		return p
	}
	w.done = make(chan struct{})
	*line = append(*line, w)
	a.mu.pending = append(a.mu.pending, w)
	if a.mu.running < a.workers {
		a.mu.running++
		a.wg.Go(a.work)
	}
	return w
}

// hurryLocked moves a window that nobody waited for so far to those that
// somebody does.
func (a *ahead) hurryLocked(w *window) {
	if removeWindow(&a.mu.lazy, w) {
		a.mu.urgent = append(a.mu.urgent, w)
	}
}

func removeWindow(line *[]*window, w *window) bool {
	for i, p := range *line {
		if p == w {
			*line = append((*line)[:i], (*line)[i+1:]...)
			return true
		}
	}
	return false
}

// work is a worker: it lives while there is something to bring.
func (a *ahead) work() {
	var last *window
	for {
		a.mu.Lock()
		if last != nil {
			removeWindow(&a.mu.pending, last)
		}
		line := &a.mu.urgent
		if len(*line) == 0 {
			line = &a.mu.lazy
		}
		if len(*line) == 0 {
			a.mu.running--
			a.mu.Unlock()
			return
		}
		w := (*line)[0]
		*line = (*line)[1:]
		closed := a.mu.closed
		a.mu.Unlock()
		var drop []*window
		if !closed && w.bring() {
			drop = a.count(w)
		}
		close(w.done)
		for _, d := range drop {
			d.seg.Raw(func(f vfs.File) error { return f.Advise(d.from, d.to-d.from, vfs.DontNeed) }) //nolint:errcheck // only memory
		}
		last = w
	}
}

// bring reads a window into memory and tells whether that is to be undone later.
// Small pieces leave the device to those who write in between.
func (w *window) bring() (fresh bool) {
	w.seg.Raw(func(f vfs.File) error { //nolint:errcheck // whoever reads sees it
		n := w.to - w.from
		had := f.Cached(w.from, n)
		if had == n {
			return nil
		}
		fresh = !w.active && had < n/4
		var last [1]byte
		for at := w.from; at < w.to; {
			end := min(at+aheadPiece, w.to)
			if err := f.Advise(at, end-at, vfs.WillNeed); err != nil {
				return err
			}
			if _, err := f.ReadAt(last[:], end-1); err != nil {
				return err
			}
			at = end
		}
		return nil
	})
	return fresh
}

// count notes what was brought and gives what is to be dropped for it.
func (a *ahead) count(w *window) (drop []*window) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.brought = append(a.mu.brought, w)
	a.mu.bytes += w.to - w.from
	n := 0
	for ; a.mu.bytes > a.keep && n < len(a.mu.brought)-1; n++ {
		a.mu.bytes -= a.mu.brought[n].to - a.mu.brought[n].from
	}
	drop = a.mu.brought[:n:n]
	a.mu.brought = a.mu.brought[n:]
	return drop
}

// close waits for the workers; what is still in line is not brought any more.
func (a *ahead) close() {
	a.mu.Lock()
	a.mu.closed = true
	a.mu.Unlock()
	a.wg.Wait()
}
