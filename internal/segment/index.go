package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"sort"

	"github.com/myelin-stream/myelin/internal/vfs"
)

const (
	offsetEntry = 8  // last offset − base (4), position (4)
	timeEntry   = 12 // timestamp (8), last offset − base (4)

	// persistBytes is how much of the indexes may be in memory only. A crash
	// loses it, and recovery makes it anew.
	persistBytes = 768
)

// ErrBadIndex is the class of indexes that cannot be right: they are caches, and
// to be made anew.
var ErrBadIndex = errors.New("index does not fit its segment")

// index holds both indexes as they are on disk. They only grow, so a copy of
// the struct is a stable view.
type index struct {
	offsets, times         []byte
	offsetsDone, timesDone int   // bytes that are in the files
	since                  int   // bytes of log since the last entry
	newest                 stamp // the largest timestamp of all batches
}

func (x *index) pending() int {
	return len(x.offsets) - x.offsetsDone + len(x.times) - x.timesDone
}

func (x *index) memory() int { return cap(x.offsets) + cap(x.times) }

func (x *index) offset(i int) (rel int32, pos int64) {
	e := x.offsets[i*offsetEntry:]
	return int32(binary.BigEndian.Uint32(e)), int64(int32(binary.BigEndian.Uint32(e[4:])))
}

func (x *index) time(i int) (ts int64, rel int32) {
	e := x.times[i*timeEntry:]
	return int64(binary.BigEndian.Uint64(e)), int32(binary.BigEndian.Uint32(e[8:]))
}

func (x *index) offsetCount() int { return len(x.offsets) / offsetEntry }
func (x *index) timeCount() int   { return len(x.times) / timeEntry }

// addTime adds an entry if ts is younger than the last.
func (x *index) addTime(s stamp, base int64) {
	if s.timestamp < 0 {
		return
	}
	if n := x.timeCount(); n > 0 {
		if last, _ := x.time(n - 1); s.timestamp <= last {
			return
		}
	}
	x.times = binary.BigEndian.AppendUint64(x.times, uint64(s.timestamp))
	x.times = binary.BigEndian.AppendUint32(x.times, uint32(s.offset-base))
}

// note takes the batch at position at into the indexes.
func (s *Segment) note(x *index, m Mark, at int64) {
	if m.MaxTimestamp > x.newest.timestamp {
		x.newest = stamp{m.MaxTimestamp, m.LastOffset}
	}
	if x.since > s.cfg.IndexInterval && at <= math.MaxInt32 {
		x.offsets = binary.BigEndian.AppendUint32(x.offsets, uint32(m.LastOffset-s.base))
		x.offsets = binary.BigEndian.AppendUint32(x.offsets, uint32(at))
		x.addTime(x.newest, s.base)
		x.since = 0
	}
	x.since += m.Bytes
}

// IndexFull tells whether an index has no room for another entry.
func (s *Segment) IndexFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.mu.index
	return x != nil && (len(x.offsets)+offsetEntry > s.cfg.IndexBytes || len(x.times)+timeEntry > s.cfg.IndexBytes)
}

// Persist writes what the index files lack, also that of aborted transactions. It syncs nothing: they are caches.
func (s *Segment) Persist() error {
	if err := persistAborted(s); err != nil {
		return err
	}
	s.mu.Lock()
	if s.mu.index == nil {
		s.mu.Unlock()
		return nil
	}
	x := *s.mu.index
	s.mu.Unlock()
	if err := s.extend(IdxSuffix, x.offsets, x.offsetsDone); err != nil {
		return err
	}
	if err := s.extend(TimeSuffix, x.times, x.timesDone); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.mu.index; now != nil {
		now.offsetsDone, now.timesDone = max(now.offsetsDone, len(x.offsets)), max(now.timesDone, len(x.times))
	}
	return nil
}

// extend writes data[done:] at its place in an index file. The first write cuts
// off what an earlier life of the file left.
func (s *Segment) extend(suffix string, data []byte, done int) error {
	if done == len(data) {
		return nil
	}
	flag := vfs.ReadWrite | vfs.CreateNew
	if done == 0 {
		flag |= vfs.Truncate
	}
	f, err := s.cfg.FS.Open(s.path(suffix), flag)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data[done:], int64(done))
	return errors.Join(err, f.Close())
}

// Retire ends writing for good: it seals, and lets the cache drop the indexes.
func (s *Segment) Retire() error {
	if err := s.Seal(); err != nil {
		return err
	}
	s.mu.Lock()
	n := 0
	if s.mu.index != nil {
		n = s.mu.index.memory()
	}
	s.mu.Unlock()
	s.cfg.Cache.add(s, n)
	return nil
}

// Seal adds the last time entry, so that the last entry tells the segment's
// youngest record, and writes the indexes. Writing may go on.
func (s *Segment) Seal() error {
	if err := s.LoadIndex(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.mu.index != nil {
		s.mu.index.addTime(s.mu.index.newest, s.base)
	}
	s.mu.Unlock()
	if err := s.Persist(); err != nil {
		return err
	}
	if err := s.With(func(f vfs.File) error { return s.room.giveBack(f, s.Size()) }); err != nil {
		return err
	}
	for _, suffix := range []string{IdxSuffix, TimeSuffix} { // Kafka's tools want them, if empty
		f, err := s.cfg.FS.Open(s.path(suffix), vfs.ReadWrite|vfs.CreateNew)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Unpersisted tells whether [Segment.Persist] has anything to do.
func (s *Segment) Unpersisted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.unwritten > 0 || s.mu.index != nil && s.mu.index.pending() > 0
}

// LoadIndex reads the indexes into memory unless they are there, and makes them
// anew if they are not right.
func (s *Segment) LoadIndex() error {
	_, err := s.view()
	return err
}

// view gives the indexes as they are now.
func (s *Segment) view() (index, error) {
	s.mu.Lock()
	if s.mu.index != nil {
		x := *s.mu.index
		s.mu.Unlock()
		s.cfg.Cache.touch(s)
		return x, nil
	}
	s.mu.Unlock()
	end, err := s.readSeal()
	if err != nil {
		return index{}, err
	}
	x, err := s.read(end)
	bad := errors.Is(err, ErrBadIndex)
	if bad {
		x, err = s.remake()
	}
	if err == nil {
		err = s.names.ours()
	}
	if err != nil {
		return index{}, err
	}
	s.install(&x)
	if bad {
		return x, s.reseal(end, 0, 1)
	}
	return x, nil
}

// install puts a loaded index in place and into the cache.
func (s *Segment) install(x *index) {
	s.mu.Lock()
	s.mu.index = x
	n := x.memory()
	s.mu.Unlock()
	s.cfg.Cache.add(s, n)
}

// drop is the cache's eviction.
func (s *Segment) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.mu.index; x != nil && x.pending() == 0 {
		s.mu.newest, s.mu.known = x.newest, true
		s.mu.index = nil
	}
}

// read loads the index files and looks them over: they are as the seal says, if
// there is one; otherwise the entries rise, lie within the segment, and none is
// missing at the end.
func (s *Segment) read(end *seal) (index, error) {
	x := index{}
	var err error
	if x.offsets, err = s.readTable(0, offsetEntry, end); err != nil {
		return x, err
	}
	if x.times, err = s.readTable(1, timeEntry, end); err != nil {
		return x, err
	}
	size := s.size.Load()
	lastRel, lastPos := int32(-1), int64(-1)
	for i := range x.offsetCount() {
		rel, pos := x.offset(i)
		if rel <= lastRel || pos <= lastPos || pos >= size {
			return x, fmt.Errorf("segment %d, entry %d (%d at %d): %w", s.base, i, rel, pos, ErrBadIndex)
		}
		lastRel, lastPos = rel, pos
	}
	lastRel = -1
	lastTime := int64(-1)
	for i := range x.timeCount() {
		ts, rel := x.time(i)
		if ts <= lastTime || rel < 0 || rel <= lastRel && i > 0 {
			return x, fmt.Errorf("segment %d, time entry %d (%d of %d): %w", s.base, i, ts, rel, ErrBadIndex)
		}
		lastTime, lastRel = ts, rel
	}
	x.offsetsDone, x.timesDone = len(x.offsets), len(x.times)
	x.newest = stamp{-1, -1}
	if n := x.timeCount(); n > 0 {
		x.newest = stamp{lastTime, s.base + int64(lastRel)}
	}
	x.since = int(size - max(lastPos, 0))
	if end != nil {
		x.newest = end.newest
		return x, nil
	}
	return x, s.checkEnd(&x, size)
}

// checkEnd walks from the last entry to the end: it must be the batch that the
// entry says, and no further entry may be due.
func (s *Segment) checkEnd(x *index, size int64) error {
	from, rel := int64(0), int32(-1)
	since := 0
	if n := x.offsetCount(); n > 0 {
		rel, from = x.offset(n - 1)
	}
	first := true
	return s.Raw(func(f vfs.File) error { // headers; whoever uses an entry looks again
		err := s.cfg.Walk(f, from, size, func(m Mark) error {
			if first && rel >= 0 && m.LastOffset != s.base+int64(rel) || m.MaxTimestamp > x.newest.timestamp ||
				!first && since > s.cfg.IndexInterval && from+int64(since) <= math.MaxInt32 {
				return ErrBadIndex
			}
			first = false
			since += m.Bytes
			return nil
		})
		if err != nil && !errors.Is(err, ErrBadIndex) {
			return fmt.Errorf("%w: %w", ErrBadIndex, err)
		}
		return err
	})
}

// readTable reads the index file that is number i of those that are sealed.
func (s *Segment) readTable(i, entry int, end *seal) ([]byte, error) {
	// An index has at most an entry for every batch, and a batch 61 bytes.
	data, err := vfs.ReadFile(s.cfg.FS, s.path(sealed[i]), max(s.size.Load(), int64(s.cfg.IndexBytes), 10<<20))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if end != nil && !end.holds(i, data) {
		return nil, fmt.Errorf("segment %d: %s is not what was sealed: %w", s.base, sealed[i], ErrBadIndex)
	}
	data = data[:len(data)/entry*entry]
	// Kafka's active indexes are preallocated: the rest is zeros. An entry of
	// zeros cannot follow another, and cannot be the first of .index.
	n := len(data) / entry
	used := sort.Search(n, func(i int) bool {
		return i > 0 && allZero(data[i*entry:(i+1)*entry])
	})
	return slices.Clip(data[:used*entry]), nil
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// Rebuild makes both indexes anew from the batches, in memory and on disk.
func (s *Segment) Rebuild() error {
	x, err := s.remake()
	if err != nil {
		return err
	}
	s.install(&x)
	return nil
}

// remake makes both indexes from the batches and writes the files.
func (s *Segment) remake() (index, error) {
	x := index{newest: stamp{-1, -1}}
	err := s.With(func(f vfs.File) error {
		return s.cfg.Walk(f, 0, s.size.Load(), func(m Mark) error {
			s.note(&x, m, m.Position)
			return nil
		})
	})
	if err != nil {
		return x, err
	}
	err = x.write(s)
	return x, err
}

// write makes the index files of s what x says.
func (x *index) write(s *Segment) error {
	x.addTime(x.newest, s.base)
	s.names.take()
	defer s.names.give()
	if err := s.names.ours(); err != nil {
		return err
	}
	for _, file := range []struct {
		suffix string
		table  []byte
	}{{IdxSuffix, x.offsets}, {TimeSuffix, x.times}} {
		var err error
		if len(file.table) == 0 {
			err = removeIfThere(s.cfg.FS, s.path(file.suffix))
		} else {
			err = s.extend(file.suffix, file.table, 0)
		}
		if vfs.IsNoSpace(err) {
			return nil // they wait in memory for Persist
		}
		if err != nil {
			return err
		}
	}
	x.offsetsDone, x.timesDone = len(x.offsets), len(x.times)
	return nil
}

// readTail gives the last entry of the time index file.
func (s *Segment) readTail() (stamp, error) {
	f, err := s.cfg.FS.Open(s.path(TimeSuffix), vfs.ReadOnly)
	if err != nil {
		return stamp{-1, -1}, err
	}
	defer f.Close() //nolint:errcheck // only read
	size, err := f.Size()
	if err != nil || size < timeEntry {
		return stamp{-1, -1}, errors.Join(err, io.ErrUnexpectedEOF)
	}
	var e [timeEntry]byte
	if _, err := f.ReadAt(e[:], size/timeEntry*timeEntry-timeEntry); err != nil {
		return stamp{-1, -1}, err
	}
	x := index{times: e[:]}
	ts, rel := x.time(0)
	return stamp{ts, s.base + int64(rel)}, s.names.ours()
}
