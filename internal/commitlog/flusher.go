package commitlog

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// FlusherConfig says how a Flusher works. Now must be set unless nothing is ever
// scheduled lazily.
type FlusherConfig struct {
	// Parallel is how many files are synced at once. More helps a device with
	// a deep queue and costs a thread each. 0 is 8.
	Parallel int
	// LazyBytes and LazyDelay bound what a log may have unflushed that nobody
	// waits for; 0 is 64 MiB and 5 s. All logs of a directory together may have
	// twice as much: that is what a start after a crash has to look at. A log's
	// own flush.messages and flush.ms may be tighter.
	LazyBytes int64
	LazyDelay time.Duration
	Now       func() time.Time
	Logger    *slog.Logger
}

// Flusher makes logs durable, many waiters with one sync: the group commit of a
// log directory.
//
// A log that is scheduled while nobody flushes it is flushed at once; what comes
// while that is under way is collected and flushed together right after. So one
// lone producer waits for one sync, and a thousand do too.
//
//	append, append    append append append
//	|                 |
//	'-- sync ---------'-- sync, for all three --
type Flusher struct {
	cfg  FlusherConfig
	wake chan struct{} // one element for each worker that has something to do
	lazy chan struct{} // the lazy queue has a new first

	mu struct {
		sync.Mutex // memory only
		urgent     []*Log
		later      lazyQueue
		helping    int // flushes under way on goroutines of callers
	}
}

// debt counts what a log has unflushed, and all logs of its directory.
type debt struct {
	dirtyBytes, dirtyRecords atomic.Int64
	together                 *atomic.Int64 // bytes of all
}

// owe adds to it.
func (d *debt) owe(bytes, records int64) {
	d.dirtyBytes.Add(bytes)
	d.dirtyRecords.Add(records)
	d.together.Add(bytes)
}

// owes tells whether a flush is due when a log may have most bytes unflushed: it
// has so many, or all have twice as many and this one its part in that.
func (d *debt) owes(most int64) bool {
	own := d.dirtyBytes.Load()
	return own >= most || own >= most/lazyPart && d.together.Load() >= 2*most
}

// lazyPart is the part of its bound that makes the flush of a log worth while.
const lazyPart = 64

// schedule is what a Flusher knows of a log; guarded by its mu.
type schedule struct {
	queued  bool // in urgent
	running bool // a worker has it
	again   bool // asked for while it was running
	held    bool // somebody will call Help for it
	at      time.Time
	index   int // in later, plus 1; 0 if it is not
}

// NewFlusher makes a flusher; Run works.
func NewFlusher(cfg FlusherConfig) *Flusher {
	cfg.Parallel = orDefault(cfg.Parallel, 8)
	if cfg.LazyBytes <= 0 {
		cfg.LazyBytes = 64 << 20
	}
	if cfg.LazyDelay <= 0 {
		cfg.LazyDelay = 5 * time.Second
	}
	return &Flusher{cfg: cfg, wake: make(chan struct{}, cfg.Parallel), lazy: make(chan struct{}, 1)}
}

// Schedule asks for a flush of l, which ends in a call of its OnFlushed: soon if
// it is urgent, otherwise when enough bytes, records or time have come together.
// It never waits.
func (f *Flusher) Schedule(l *Log, urgent bool) {
	t := l.tunables.Load()
	if !urgent {
		urgent = l.owes(f.cfg.LazyBytes) || t.FlushMessages > 0 && l.dirtyRecords.Load() >= t.FlushMessages
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case urgent:
		f.pushLocked(l)
	case !l.due.queued && !l.due.again && l.due.index == 0:
		delay := f.cfg.LazyDelay
		if t.FlushAfter > 0 {
			delay = min(delay, t.FlushAfter)
		}
		l.due.at = f.cfg.Now().Add(delay)
		heap.Push(&f.mu.later, l)
		if f.mu.later[0] == l {
			signal(f.lazy)
		}
	}
}

// Hold is an urgent Schedule by somebody who has nothing else to do and calls
// Help or Release next: no worker is woken.
func (f *Flusher) Hold(l *Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case l.due.running:
		l.due.again = true
	case !l.due.queued:
		l.due.held = true
	}
}

// Help flushes a log that is held on the caller's goroutine, OnFlushed included,
// and returns when that is done. A lone producer so waits for its sync and for
// nobody to wake up. If a worker has the log meanwhile, Help does nothing; if
// many help already, a worker gets it, so that syncs stay bounded.
func (f *Flusher) Help(l *Log) {
	f.mu.Lock()
	mine := l.due.held && f.mu.helping < f.cfg.Parallel
	switch {
	case mine:
		if l.due.index > 0 {
			heap.Remove(&f.mu.later, l.due.index-1)
		}
		l.due.held, l.due.running = false, true
		f.mu.helping++
	case l.due.held:
		f.pushLocked(l)
	}
	f.mu.Unlock()
	if !mine {
		return
	}
	f.flush(l)
	f.mu.Lock()
	f.mu.helping--
	f.mu.Unlock()
}

// WriteOut begins to write to the device what a flush of l would wait for, for
// somebody who holds several: the first flush then finds all of them on their way.
func (*Flusher) WriteOut(l *Log) {
	l.mu.Lock()
	active := l.active()
	l.mu.Unlock()
	active.WriteOut()
}

// Release hands a log that is held to a worker, for somebody who holds several
// and can help but one at a time.
func (f *Flusher) Release(l *Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.due.held {
		f.pushLocked(l)
	}
}

// pushLocked puts l into the urgent queue, or marks it if a worker has it.
func (f *Flusher) pushLocked(l *Log) {
	if l.due.index > 0 {
		heap.Remove(&f.mu.later, l.due.index-1)
	}
	if l.due.running {
		l.due.again = true
		return
	}
	if !l.due.queued {
		l.due.queued, l.due.held = true, false
		f.mu.urgent = append(f.mu.urgent, l)
		signal(f.wake)
	}
}

// signal leaves a token unless there are enough: whoever takes one looks at the
// whole queue.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run flushes until ctx ends, and then what is queued at that moment, so that
// whoever waits gets an answer.
func (f *Flusher) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for range f.cfg.Parallel {
		workers.Go(func() { f.work(stop) })
	}
	f.clock(ctx)
	close(stop)
	workers.Wait()
	return nil
}

// work flushes logs until stop is closed and nothing is queued.
func (f *Flusher) work(stop chan struct{}) {
	for {
		for l := f.take(); l != nil; l = f.take() {
			f.flush(l)
		}
		//house:select the queue is looked at after either; at the end it is empty
		select {
		case <-f.wake:
		case <-stop:
			if l := f.peek(); l == nil {
				return
			}
		}
	}
}

// flush flushes a log that is marked as running, and tells.
func (f *Flusher) flush(l *Log) {
	err := l.Flush()
	f.done(l)
	if l.onFlushed != nil {
		l.onFlushed(l.Flushed(), err)
	}
}

func (f *Flusher) take() *Log {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mu.urgent) == 0 {
		return nil
	}
	l := f.mu.urgent[0]
	f.mu.urgent[0] = nil
	f.mu.urgent = f.mu.urgent[1:]
	l.due.queued, l.due.running = false, true
	return l
}

func (f *Flusher) peek() *Log {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mu.urgent) == 0 {
		return nil
	}
	return f.mu.urgent[0]
}

func (f *Flusher) done(l *Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.due.running = false
	if l.due.again {
		l.due.again = false
		f.pushLocked(l)
	}
}

// clock moves logs from the lazy queue to the urgent one when they are due.
func (f *Flusher) clock(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(f.ripen())
		//house:select after any of them the queue is looked at anew
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.lazy:
		}
	}
}

// ripen makes urgent what is due, and gives the time until the next is.
func (f *Flusher) ripen() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.mu.later) > 0 {
		wait := f.mu.later[0].due.at.Sub(f.cfg.Now())
		if wait > 0 {
			return wait
		}
		f.pushLocked(f.mu.later[0])
	}
	return time.Hour
}

// lazyQueue is a heap of logs by when they are due.
type lazyQueue []*Log

func (q lazyQueue) Len() int           { return len(q) }
func (q lazyQueue) Less(i, j int) bool { return q[i].due.at.Before(q[j].due.at) }
func (q lazyQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].due.index, q[j].due.index = i+1, j+1
}

// Push is heap's.
func (q *lazyQueue) Push(x any) {
	l := x.(*Log)
	*q = append(*q, l)
	l.due.index = len(*q)
}

// Pop is heap's.
func (q *lazyQueue) Pop() any {
	old := *q
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	l.due.index = 0
	return l
}
