package listen

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
)

// writer sends the answers of a connection's ring, in order. It starts with the
// first slot and ends with the connection.
type writer struct {
	c    *conn
	park api.Parker
	wg   sync.WaitGroup
	on   atomic.Bool // the goroutine was started
	buf  []byte

	alarm struct { // when to look at the head again, if nothing wakes before
		sync.Mutex
		timer *time.Timer
		at    time.Time
	}
}

// start makes the goroutine, once.
func (w *writer) start() {
	if w.on.Load() {
		return
	}
	w.park.Init()
	w.on.Store(true)
	w.wg.Go(w.run)
}

// arm makes sure that the writer wakes by t. It mostly finds that it will.
func (w *writer) arm(t time.Time) {
	w.alarm.Lock()
	defer w.alarm.Unlock()
	if !w.alarm.at.IsZero() && !t.Before(w.alarm.at) {
		return
	}
	w.alarm.at = t
	d := t.Sub(w.c.s.cfg.Now())
	if w.alarm.timer == nil {
		w.alarm.timer = time.AfterFunc(d, w.ring)
		return
	}
	w.alarm.timer.Reset(d)
}

// ring is the alarm's.
func (w *writer) ring() {
	w.alarm.Lock()
	w.alarm.at = time.Time{}
	w.alarm.Unlock()
	w.park.Wake()
}

// stop ends the goroutine after what is in the ring was answered or given up.
func (w *writer) stop() {
	if !w.on.Load() {
		return
	}
	w.park.Wake()
	w.wg.Wait()
	w.alarm.Lock()
	if w.alarm.timer != nil {
		w.alarm.timer.Stop()
	}
	w.alarm.Unlock()
}

func (w *writer) run() {
	c := w.c
	for {
		n := w.collect()
		if n > 0 {
			w.answer(n)
			continue
		}
		head := c.ring.at(0)
		if head == nil && c.ended.Load() {
			return
		}
		if head != nil {
			w.arm(head.Deadline)
		}
		w.park.Wait()
	}
}

// collect puts the frames of the first slots that are due into buf and says how
// many there are. Only the first needs a look at the clock: a slot behind it is
// not late before it can be sent.
func (w *writer) collect() (n int) {
	c := w.c
	w.buf = w.buf[:0]
	for len(w.buf) < readSize {
		s := c.ring.at(n)
		if s == nil {
			break
		}
		if !s.Ready() && !c.broken.Load() && (n > 0 || c.s.cfg.Now().Before(s.Deadline)) {
			break
		}
		w.buf = append(w.buf, s.Finish()...)
		n++
	}
	return n
}

// answer sends buf, which holds the first n slots.
func (w *writer) answer(n int) {
	c := w.c
	if !c.broken.Load() {
		if err := c.write(w.buf); err != nil {
			c.fail(err)
		}
	}
	now := c.s.cfg.Now()
	for i := range n {
		s := c.ring.at(i)
		c.s.cfg.Table.Answered(s, now)
		s.Free()
	}
	c.ring.pop(n)
	c.facts.Park.Wake()
}
