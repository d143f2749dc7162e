package segment

import (
	"errors"
	"io/fs"
	"sort"
)

// Floor gives a position at which a batch begins that lies at or before the
// batch with offset; the caller walks on from there. last is the offset with
// which that batch must end, or -1 if the index does not say: if it ends with
// another, the index is wrong and [Segment.Rebuild] is due.
func (s *Segment) Floor(offset int64) (pos, last int64, err error) {
	x, err := s.view()
	if err != nil {
		return 0, -1, err
	}
	rel := offset - s.base
	n := sort.Search(x.offsetCount(), func(i int) bool {
		r, _ := x.offset(i)
		return int64(r) > rel
	})
	if n == 0 {
		return 0, -1, nil
	}
	r, pos := x.offset(n - 1)
	return pos, s.base + int64(r), nil
}

// FloorPosition gives the last position at or before pos at which the index
// knows a batch to begin.
func (s *Segment) FloorPosition(pos int64) (int64, error) {
	x, err := s.view()
	if err != nil {
		return 0, err
	}
	n := sort.Search(x.offsetCount(), func(i int) bool {
		_, p := x.offset(i)
		return p > pos
	})
	if n == 0 {
		return 0, nil
	}
	_, at := x.offset(n - 1)
	return at, nil
}

// Ceiling gives the last offset of the first batch that the index knows to begin
// at pos or behind it; false if it knows none.
func (s *Segment) Ceiling(pos int64) (offset int64, ok bool, err error) {
	x, err := s.view()
	if err != nil {
		return 0, false, err
	}
	n := sort.Search(x.offsetCount(), func(i int) bool {
		_, p := x.offset(i)
		return p >= pos
	})
	if n == x.offsetCount() {
		return 0, false, nil
	}
	rel, _ := x.offset(n)
	return s.base + int64(rel), true, nil
}

// Before gives an offset up to which every record is older than ts: the search
// for ts begins behind it. Below the base if there is none.
func (s *Segment) Before(ts int64) (int64, error) {
	x, err := s.view()
	if err != nil {
		return 0, err
	}
	n := sort.Search(x.timeCount(), func(i int) bool {
		t, _ := x.time(i)
		return t >= ts
	})
	if n == 0 {
		return s.base - 1, nil
	}
	_, rel := x.time(n - 1)
	return s.base + int64(rel), nil
}

// Newest gives the largest timestamp in the segment, and the last offset of the
// first batch that has it; -1 and -1 if no batch has a time.
func (s *Segment) Newest() (timestamp, offset int64, err error) {
	s.mu.Lock()
	newest, known := s.mu.newest, s.mu.known
	if s.mu.index != nil {
		newest, known = s.mu.index.newest, true
	}
	s.mu.Unlock()
	if known {
		return newest.timestamp, newest.offset, nil
	}
	end, err := s.readSeal()
	if err == nil && end != nil {
		newest = end.newest
	} else if err == nil {
		newest, err = s.readTail()
	}
	if errors.Is(err, fs.ErrClosed) {
		return -1, -1, err
	}
	if err != nil || end == nil && (newest.timestamp <= 0 || newest.offset < s.base) {
		x, err := s.view() // looks the files over
		if err != nil {
			return -1, -1, err
		}
		newest = x.newest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.newest, s.mu.known = newest, true
	return newest.timestamp, newest.offset, nil
}

// Resume prepares an existing segment for writing: the indexes are in memory
// and stay there, and what is after their last entry is taken in.
func (s *Segment) Resume() error {
	x, err := s.view()
	if err != nil {
		return err
	}
	s.cfg.Cache.forget(s)
	s.mu.Lock()
	if s.mu.index == nil {
		s.mu.index = &x
	}
	s.mu.Unlock()
	return nil
}
