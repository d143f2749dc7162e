package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
)

// turn is a lock that may be held over I/O: a channel with room for one.
type turn chan struct{}

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

// names are a segment's claim on the names of its files.
type names struct {
	turn                          // of who writes whole caches anew, and of who gives the names up
	gone   atomic.Bool            // given up, by who has the turn
	ending atomic.Pointer[string] // of every name
}

// ours is an error once the names are another's.
func (n *names) ours() error {
	if n.gone.Load() {
		return fmt.Errorf("segment was replaced: %w", fs.ErrClosed)
	}
	return nil
}

// Swap is what replacing segments needs of each of them besides.
type Swap struct{ *Segment }

// suffixes are those of all files, the data last: what a power cut leaves of a
// change of them is then data without caches, never caches without data.
func suffixes() []string { return []string{IdxSuffix, TimeSuffix, TxnSuffix, SumsSuffix, LogSuffix} }

// Rename gives every file another ending: "" for a segment in its place. The
// data goes last. The names are durable once the folder is synced.
//
// The caller holds the data open meanwhile if there are readers, see
// [Swap.Hold]: the indexes must be in memory, too.
func (s Swap) Rename(ending string) error {
	s.names.take()
	defer s.names.give()
	for _, suffix := range suffixes() {
		from := s.path(suffix)
		to := from[:len(from)-len(*s.names.ending.Load())] + ending
		err := s.cfg.FS.Rename(from, to)
		if err != nil && (suffix == LogSuffix || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
		if suffix == LogSuffix {
			s.data.Rename(to)
		}
	}
	s.names.ending.Store(&ending)
	return nil
}

// Hold keeps the data file open until the function it gives is called.
func (s Swap) Hold() (release func(), err error) {
	if _, err := s.data.Acquire(); err != nil {
		return nil, err
	}
	return s.data.Release, nil
}

// Evictable lets the cache drop the indexes, which were held so far.
func (s Swap) Evictable() {
	s.mu.Lock()
	n := 0
	if s.mu.index != nil {
		n = s.mu.index.memory()
	}
	s.mu.Unlock()
	s.cfg.Cache.add(s.Segment, n)
}

// IndexSizes are how many bytes of entries the two indexes have.
func (s Swap) IndexSizes() (offsets, times int, err error) {
	x, err := s.view()
	return len(x.offsets), len(x.times), err
}

// Detach ends the use of a segment whose names another is about to take. A
// [Range] stays good; everything else answers [fs.ErrClosed] from here on, also
// what is under way and might have read the other's files, and nothing is
// written any more.
func (s Swap) Detach() {
	s.names.take()
	defer s.names.give()
	s.names.gone.Store(true)
	s.Close()
}
