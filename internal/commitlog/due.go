package commitlog

import (
	"sync"
	"sync/atomic"
)

// progress counts what was made durable since the durable points were written
// down. At [checkpointBytes] it is time again: a start after a crash looks at
// all that lies above them.
type progress struct {
	bytes atomic.Int64
	due   chan struct{} // one element: it is time
}

// checkpointBytes is how much a directory makes durable before its next
// checkpoint begins.
const checkpointBytes = 64 << 20

// count adds what a flush made durable.
func (p *progress) count(n int64) {
	if p.bytes.Add(n) >= checkpointBytes {
		signal(p.due)
	}
}

// begin is for who writes the points down.
func (p *progress) begin() { p.bytes.Store(0) }

// Moved writes checkpoints between the regular ones of [Home.Checkpoint], when
// much was flushed.
type Moved struct {
	Home *Home
	// Parallel is of how many logs the caches are synced at once; 0 is 1. Syncs of
	// small files share the commits of the file system.
	Parallel int
}

// Due gives an element each time that so much was flushed that Checkpoint is
// worth its syncs.
func (m Moved) Due() <-chan struct{} { return m.Home.progress.due }

// Checkpoint is [Home.Checkpoint] for the logs that were flushed since theirs. It
// brings none to rest, and waits neither for writers nor for flushes. Logs that
// have begun a segment since have caches to sync: they do not hold up the others.
func (m Moved) Checkpoint() error {
	m.Home.progress.begin()
	var rolled []*Log
	for _, l := range m.Home.busyLogs() {
		switch {
		case l.flushed.Load() == l.point.Load():
		case pointer{l}.untidied():
			rolled = append(rolled, l)
		default:
			m.move(l)
		}
	}
	err := m.Home.saving.do()
	if len(rolled) == 0 || err != nil {
		return err
	}
	var movers sync.WaitGroup
	tokens := make(chan struct{}, max(m.Parallel, 1))
	for _, l := range rolled {
		tokens <- struct{}{}
		movers.Go(func() {
			m.move(l)
			<-tokens
		})
	}
	movers.Wait()
	return m.Home.saving.do()
}

func (m Moved) move(l *Log) {
	if err := (pointer{l}).move(); err != nil {
		m.Home.logger.Error("log is left out of the checkpoint", "log", l.tp.String(), "error", err)
	}
}

// pointer moves a log's recovery point.
type pointer struct{ *Log }

// move is checkpoint without the index of the active segment. It waits
// neither for the writer nor for a flush: who moves the end back has tidying too.
func (l pointer) move() error {
	l.tidying.lock()
	defer l.tidying.unlock()
	if err := l.Failed(); err != nil { // closed while this waited: the folder may be another Log's by now
		return nil //nolint:nilerr // it was reported when it happened; the point stays
	}
	flushed := l.flushed.Load() // what is untidy below it is known by now
	err := l.tidy()
	small := rester(l).small() // then every batch is looked at anyway
	if err == nil && !small {
		err = l.active().PersistSums()
	}
	if err == nil && !small {
		err = l.saveEpochs()
	}
	if err != nil {
		return l.failUnlessFull(err)
	}
	l.point.Store(flushed)
	return nil
}

// untidied tells whether the log has rolled segments that were flushed and whose
// caches were not.
func (l pointer) untidied() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.mu.untidy) > 0
}
