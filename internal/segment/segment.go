// Package segment keeps one segment of a log: a file of batches and the caches
// that find things in it.
//
// A segment is named by its base offset. What it holds, Kafka's layout in every
// file, all numbers big-endian:
//
//	00000000000000004932.log        whole batches, one after the other
//	                    .index      last offset − base (4), position (4)       every few KiB of log
//	                    .timeindex  largest timestamp so far (8), offset (4)   beside it
//	                    .txnindex   aborted transactions, 34 bytes each
//	                    .sums       checksums of all of these; not Kafka's
//
// An entry of .index says: the batch that begins at this position ends with this
// offset. An entry of .timeindex says: up to and with the batch that ends with
// this offset, no record is younger than this.
//
// The .log file is the truth. The others are caches: they are looked over when
// they are loaded and made anew from the batches when they are missing, short or
// wrong. This package does not know what a batch looks like inside; whoever
// opens a segment passes in how to walk over it, see [Walk].
//
// One goroutine writes, any number read at the same time. A position below Size
// is never written again, so readers need no lock for the bytes.
package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// The suffixes of a segment's files.
const (
	LogSuffix  = ".log"
	IdxSuffix  = ".index"
	TimeSuffix = ".timeindex"
	TxnSuffix  = ".txnindex"
	SumsSuffix = ".sums"
)

// Name is the file name of a base offset: 20 digits and a suffix.
func Name(base int64, suffix string) string { return fmt.Sprintf("%020d%s", base, suffix) }

// ParseName reads the base offset and suffix of a file name.
func ParseName(name string) (base int64, suffix string, ok bool) {
	if len(name) <= 20 || name[20] != '.' {
		return 0, "", false
	}
	base, err := strconv.ParseInt(name[:20], 10, 64)
	if err != nil || base < 0 {
		return 0, "", false
	}
	return base, name[20:], true
}

// Mark is what the indexes and the sums need to know of a batch.
type Mark struct {
	LastOffset   int64
	MaxTimestamp int64 // ms; -1 for none
	Bytes        int
	// CRC is the CRC-32C of the bytes from Head on, which was compared with them
	// when the batch came in. A Head of 0 says that there is none.
	Head int
	CRC  uint32
	// Position is where it begins, for a [Walk]; Write knows better.
	Position int64
}

// Walk visits the batches of f between two positions, the first of which begins
// a batch. It steps over what f says is damaged. An error of visit ends the walk
// and comes back.
type Walk func(f vfs.File, from, to int64, visit func(Mark) error) error

// Config is what a segment needs.
type Config struct {
	FS    vfs.FS
	Pool  *vfs.Pool
	Cache *Cache
	Walk  Walk
	Dir   string
	Base  int64

	// Audit is a Walk that visits only batches whose own checksum holds; another
	// is an error that wraps CORRUPT_MESSAGE. It is for parts without sums; nil
	// takes them as they are. Resync finds out how far damage at a position
	// reaches in such a part: where the next batch lies that may be believed, and
	// its offset; next is the offset expected at from.
	Audit  Walk
	Resync func(f vfs.File, from, limit, next int64) (to, offset int64)
	// NoSums leaves out the checksums: none are made, none are looked at.
	NoSums bool
	// Watch hears of damage; may be nil.
	Watch Watcher

	// IndexInterval is after how many bytes of log an index entry is due.
	IndexInterval int
	// IndexBytes is how large each index may grow.
	IndexBytes int
	// Ending follows the name of every file, see [Swap.Rename].
	Ending string
}

// Segment is one segment. Write, Note, Persist, Seal, Truncate and
// AppendAborted belong to the one who writes.
type Segment struct {
	cfg  Config
	base int64
	data *vfs.Handle
	size atomic.Int64
	room reserve
	summing
	guard

	names names

	mu struct {
		sync.Mutex // memory only: never held across I/O
		index      *index
		pinned     bool   // data is held open because it has bytes that are not synced
		writes     uint64 // writes begun and writes ended
		newest     stamp  // as of when the index was dropped
		known      bool   // newest is known
		aborted    []AbortedTxn
		abortedIn  bool // aborted is loaded
		unwritten  int  // the last so many of aborted are not in the file
	}
}

// stamp is the largest timestamp of a segment and the last offset of the batch
// that has it; -1 where there is none.
type stamp struct{ timestamp, offset int64 }

// Create makes an empty segment. Its name is not durable before the folder is
// synced: the caller sees to that before anything in it is acknowledged.
func Create(cfg Config) (*Segment, error) {
	s := newSegment(cfg)
	f, err := cfg.FS.Create(s.path(LogSuffix))
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	for _, stale := range suffixes() {
		if stale == LogSuffix {
			continue
		}
		if err := removeIfThere(cfg.FS, s.path(stale)); err != nil {
			return nil, err
		}
	}
	s.begin(0, 0)
	s.mu.index = &index{newest: stamp{-1, -1}}
	s.mu.abortedIn = true
	return s, nil
}

// Open takes an existing segment of size bytes. Nothing is read yet.
func Open(cfg Config, size int64) *Segment {
	s := newSegment(cfg)
	s.size.Store(size)
	s.own.Store(size)
	s.begin(size, -1)
	return s
}

// Reopen is Open for who knows from before what Newest would find out.
func Reopen(cfg Config, size, timestamp, offset int64) *Segment {
	s := Open(cfg, size)
	s.mu.newest, s.mu.known = stamp{timestamp, offset}, true
	return s
}

// Drop gives the segment's descriptor back unless it is in use; who needs one
// later opens it again.
func Drop(s *Segment) { s.data.Drop() }

func newSegment(cfg Config) *Segment {
	s := &Segment{cfg: cfg, base: cfg.Base}
	s.names.turn = make(turn, 1)
	s.names.ending.Store(&cfg.Ending)
	s.data = cfg.Pool.Handle(s.path(LogSuffix), vfs.ReadWrite)
	s.summing.seg, s.guard.seg = s, s
	return s
}

func removeIfThere(f vfs.FS, name string) error {
	if err := f.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *Segment) path(suffix string) string {
	return path.Join(s.cfg.Dir, Name(s.base, suffix)+*s.names.ending.Load())
}

// Base is the offset that names the segment: no batch in it begins below.
func (s *Segment) Base() int64 { return s.base }

// Size is how many bytes of whole batches it holds.
func (s *Segment) Size() int64 { return s.size.Load() }

// Write appends batches with one call to the system and lets readers see them.
// Each mark is of the next Bytes of a buffer. On an error the file may have a torn
// end behind Size: nothing must be written any more, or, if the disk was only
// full, not before the file is cut there.
func (s *Segment) Write(bufs [][]byte, marks []Mark) error {
	f, err := s.pin()
	if err != nil {
		return err
	}
	var n int64
	for _, m := range marks {
		n += int64(m.Bytes)
	}
	s.room.ahead(f, s.size.Load(), n)
	_, err = f.Writev(bufs, s.size.Load())
	s.mu.Lock()
	s.mu.writes++
	s.mu.Unlock()
	if err != nil {
		return err
	}
	at := s.size.Load()
	open := s.open
	if !s.cfg.NoSums {
		open = s.sum(bufs, marks)
	}
	s.mu.Lock()
	for _, m := range marks {
		s.note(s.mu.index, m, at)
		at += int64(m.Bytes)
	}
	s.open, s.pending = open, append(s.pending, s.made...)
	pending := s.mu.index.pending()
	s.mu.Unlock()
	s.size.Store(at)
	if pending >= persistBytes {
		// On a full disk the indexes wait in memory: the data is in.
		if err := s.Persist(); !vfs.IsNoSpace(err) {
			return err
		}
	}
	return nil
}

// pin holds the data file open until a Sync has covered what is written.
func (s *Segment) pin() (vfs.File, error) {
	f, err := s.data.Acquire()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.mu.writes++
	pinned := s.mu.pinned
	s.mu.pinned = true
	s.mu.Unlock()
	if pinned {
		s.data.Release() // the pin holds it
	}
	return f, nil
}

// Dirty tells whether the segment has bytes that no Sync has covered.
func (s *Segment) Dirty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.pinned
}

// Sync makes what was written before the call durable. An error is final.
func (s *Segment) Sync() error {
	s.mu.Lock()
	pinned, writes, size := s.mu.pinned, s.mu.writes, s.size.Load()
	if !pinned {
		s.synced = size
	}
	s.mu.Unlock()
	if !pinned {
		return nil
	}
	f, err := s.data.Acquire()
	if err != nil {
		return err
	}
	defer s.data.Release()
	if err := f.Sync(); err != nil {
		return err
	}
	// writes is odd while one is under way: it may land after the sync, so the
	// pin must outlive it.
	s.mu.Lock()
	s.synced = max(s.synced, size)
	unpin := s.mu.pinned && s.mu.writes == writes && writes%2 == 0
	if unpin {
		s.mu.pinned = false
	}
	s.mu.Unlock()
	if unpin {
		s.data.Release()
	}
	return nil
}

// WriteOut begins to write to the device what a Sync would wait for. It says
// nothing of what became of that.
func (s *Segment) WriteOut() {
	s.mu.Lock()
	pinned, from, size := s.mu.pinned, s.synced, s.size.Load()
	s.mu.Unlock()
	if !pinned {
		return
	}
	f, err := s.data.Acquire()
	if err != nil {
		return // Sync says so
	}
	defer s.data.Release()
	_ = f.Advise(from, size-from, vfs.WriteOut) // errors of writing come with Sync
}

// SyncFromDevice makes durable what is there, also what an earlier process
// wrote, and then forgets what memory holds of it from a position on, so that
// the next read of that tells what the device has.
func (s *Segment) SyncFromDevice(from int64) error {
	f, err := s.data.Acquire()
	if err != nil {
		return err
	}
	defer s.data.Release()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.DropCache(from); err != nil {
		return err
	}
	size, err := f.Size()
	s.size.Store(size)
	s.own.Store(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin(size, -1)
	return err
}

// Close lets go of the descriptors and of the cache. What was not synced is not
// durable.
func (s *Segment) Close() {
	s.mu.Lock()
	pinned := s.mu.pinned
	s.mu.pinned = false
	s.mu.Unlock()
	if pinned {
		s.data.Release()
	}
	s.data.Close()
	s.cfg.Cache.forget(s)
	s.cfg.Cache.forget(&s.guard)
}

// Remove takes the files away, the data last, so that what a power cut leaves
// in between is a segment without indexes. Readers that hold a [Range] finish.
func (s *Segment) Remove() error {
	s.Close()
	for _, suffix := range suffixes() {
		if err := removeIfThere(s.cfg.FS, s.path(suffix)); err != nil {
			return err
		}
	}
	return nil
}

// Truncate cuts the data at a position that begins a batch, syncs it, and makes
// the indexes of what is left. The sums forget what is cut first, and the block
// that the cut goes through.
func (s *Segment) Truncate(size int64) error {
	if err := s.Cut(size); err != nil {
		return err
	}
	return s.Rebuild()
}
