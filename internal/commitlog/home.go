package commitlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// HomeConfig is what a log directory needs to open. FS and Path must be set.
type HomeConfig struct {
	FS     vfs.FS
	Path   string
	Logger *slog.Logger
	Now    func() time.Time
	// MaxOpenFiles is above how many open files idle ones are closed; 0 is 4096.
	MaxOpenFiles int
	// IndexCacheBytes bounds the indexes of closed segments in memory; 0 is 64 MiB.
	IndexCacheBytes int
	// ColdReads is how many readers of what is not in memory the device serves at
	// once; 0 is 4.
	ColdReads int
	// ColdCacheBytes bounds what such readers leave in memory; 0 is 256 MiB.
	ColdCacheBytes int
	// Room says when the volume counts as full; zero: never.
	Room RoomConfig
	// ClockSettle is for how long a wall clock that jumped is doubted by what
	// deletes by age; 0 is a day. Elapsed is a monotonic clock; nil takes the
	// readings that the times of Now carry.
	ClockSettle time.Duration
	Elapsed     func() time.Duration
	// NoSums leaves out the checksums of blocks (log.block.checksums=false).
	NoSums bool
	// OnDamage hears of damage when it is first seen; may be nil. It must not wait
	// for the log.
	OnDamage func(tp kafka.TopicPartition, d Damage)
}

// Home is a log directory: a folder with a folder per log, and what all logs in
// it share: the lock, the mark of a clean end, the checkpoints, the descriptors
// and the index cache.
type Home struct {
	fs     vfs.FS
	path   string
	logger *slog.Logger
	now    func() time.Time
	pool   *vfs.Pool
	cache  *segment.Cache
	ahead  *ahead
	dirty  atomic.Int64 // bytes that its logs have unflushed

	progress progress
	lock     io.Closer

	noSums   bool
	onDamage func(kafka.TopicPartition, Damage)

	clean    bool // the last owner closed it in order
	sameBoot bool // and the machine has not restarted since
	ours     bool // and was of this program
	sworn    bool // the manifest has the checksum of the recovery points
	foreign  bool // and another: somebody else worked here since
	tenancy

	scanners                 sync.Pool                // of *scanner, for readers
	saving                   *group                   // writes of the checkpoint files
	tunables                 atomic.Pointer[Tunables] // those that a log got last
	noting                   slot                     // for who writes .myelin_boot
	savedStarts, savedPoints []byte                   // as written last; whoever saves has them
	syncing                  *group                   // syncs of the folder itself
	cleaned                  *cleanPoints
	trash                    trash
	harm                     slot // for who writes a damage file

	*device
	clock
	journal journal // the manifest

	mu struct {
		sync.Mutex // memory only: never held across I/O
		recorded
		points offsetTable
		order  []kafka.TopicPartition // keys of points, sorted; nil: to be made anew
		news   bool                   // points or starts are not as they were saved last
		starts offsetTable
		open   map[kafka.TopicPartition]*Log
		trust  map[kafka.TopicPartition]trust
		buried map[kafka.TopicPartition]bool // removed, but still in the checkpoint files
		failed bool                          // some log failed: no clean end
		boot   bootNote                      // what .myelin_boot says
	}
}

// trust is what a log's next Open may take for granted.
type trust int

const (
	asHome    trust = iota // not opened yet by this Home: as the last owner left it
	unclean                // opened and not closed in order
	closed                 // closed in order
	untrusted              // a sync failed: memory may show what the disk lacks
)

// OpenHome takes the directory, making it if need be. It fails with
// [vfs.ErrLocked] if someone else has it.
//
// From here on the directory counts as unclean until Close: a crash at any point
// makes the next owner look at everything above the recovery points.
func OpenHome(cfg HomeConfig) (*Home, error) {
	h := &Home{fs: cfg.FS, path: path.Clean(cfg.Path), logger: cfg.Logger, now: cfg.Now, noSums: cfg.NoSums, onDamage: cfg.OnDamage}
	if h.logger == nil {
		h.logger = slog.New(slog.DiscardHandler)
	}
	h.pool = vfs.NewPool(h.fs, orDefault(cfg.MaxOpenFiles, 4096))
	h.cache = segment.NewCache(orDefault(cfg.IndexCacheBytes, 64<<20))
	h.progress.due = make(chan struct{}, 1)
	h.ahead = newAhead(orDefault(cfg.ColdReads, 4), int64(orDefault(cfg.ColdCacheBytes, 256<<20)))
	h.saving, h.syncing = newGroup(h.writeCheckpoints), newGroup(func() error { return h.fs.SyncDir(h.path) })
	h.cleaned = newCleanPoints(h.fs, h.path, h.logger)
	h.scanners.New = func() any { return new(scanner) }
	h.device = newDevice(&cfg, h.path, h.logger)
	h.clock.logger, h.clock.elapsed, h.clock.settle = h.logger, cfg.Elapsed, cfg.ClockSettle
	h.mu.open = map[kafka.TopicPartition]*Log{}
	h.mu.trust = map[kafka.TopicPartition]trust{}
	h.mu.buried = map[kafka.TopicPartition]bool{}
	if err := h.make(h.path); err != nil {
		return nil, h.fail(err)
	}
	lock, err := h.fs.Lock(h.join(lockFile))
	if err != nil {
		return nil, h.fail(err)
	}
	h.lock = lock
	if err := errors.Join(h.findBallast(), h.begin()); err != nil {
		return nil, errors.Join(h.fail(err), h.journal.close(false), lock.Close())
	}
	h.lookAtRoom()
	return h, nil
}

func orDefault(v, otherwise int) int {
	if v <= 0 {
		return otherwise
	}
	return v
}

func (h *Home) join(name string) string { return path.Join(h.path, name) }
func (h *Home) fail(err error) error    { return fmt.Errorf("log directory %s: %w", h.path, err) }

// cleanMark is the content of the mark of a clean end, Kafka's: the epoch under
// which the broker was registered tells the controller that it is the same one.
type cleanMark struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// readClean reads the mark. One that cannot be read still says that the end was
// clean, of a broker that nobody knows.
func (h *Home) readClean() error {
	h.previous, h.epoch = -1, -1
	text, err := vfs.ReadFile(h.fs, h.join(cleanFile), 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	h.clean = true
	if mark := (cleanMark{}); json.Unmarshal(text, &mark) == nil && len(text) > 0 {
		h.previous = mark.BrokerEpoch
	}
	return nil
}

// begin reads what the last owner left and takes its mark away.
func (h *Home) begin() error {
	var err error
	if err = h.readClean(); err != nil {
		return err
	}
	boot, err := vfs.ReadFile(h.fs, h.join(bootFile), 1<<10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	id := bootID(h)
	h.ours = err == nil // a torn one is ours too
	h.sameBoot = id != "" && parseBoot(boot) == id
	damaged := false
	if h.mu.points, err = readOffsetTable(h.fs, h.join(pointFile)); errors.Is(err, errMalformed) {
		h.logger.Warn("recovery points are unreadable, every log is examined whole", "error", err)
		h.mu.points, h.clean, damaged, err = offsetTable{}, false, true, nil
	}
	if err == nil {
		err = h.inherit(!damaged && (h.clean || h.sameBoot))
	}
	if err != nil {
		return err
	}
	// A lost start offset would bring deleted records back: not to be guessed.
	if h.mu.starts, err = readOffsetTable(h.fs, h.join(startFile)); err != nil {
		return err
	}
	if err := h.sweep(); err != nil {
		return err
	}
	if err := h.journal.load(h); err != nil {
		return err
	}
	if h.clean {
		if err := h.fs.Remove(h.join(cleanFile)); err != nil {
			return err
		}
	}
	// Either way that the mark is gone is durable before any log is written.
	if h.sameBoot {
		return h.fs.SyncDir(h.path)
	}
	return h.noteNewBoot()
}

// make makes the directory, every level with a name that lasts.
func (h *Home) make(dir string) error {
	there, err := vfs.Exists(h.fs, dir)
	if err != nil {
		return err
	}
	parent := path.Dir(dir)
	if parent == dir {
		return nil
	}
	if !there {
		if err := h.make(parent); err != nil {
			return err
		}
		if err := h.fs.MkdirAll(dir); err != nil {
			return err
		}
	}
	// Even one that is there: whoever made it may have been killed before this.
	err = h.fs.SyncDir(parent)
	if there && errors.Is(err, fs.ErrPermission) {
		return nil // made by someone else, with other rights
	}
	return err
}

// sweep removes the logs that were being removed.
func (h *Home) sweep() error {
	list, err := h.fs.ReadNames(h.path)
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Dir && strings.HasSuffix(i.Name, deleteSuffix) {
			if err := h.fs.RemoveAll(h.join(i.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteSuffix marks a folder that is being removed, as in Kafka.
const deleteSuffix = "-delete"

// scanner takes one out of the pool; put it back.
func (h *Home) scanner(f vfs.File, from, end int64) *scanner {
	s := h.scanners.Get().(*scanner)
	s.reset(f, from, end)
	return s
}

// Clean tells whether the last owner closed the directory in order.
func (h *Home) Clean() bool { return h.clean }

// SameBoot tells whether the machine has not restarted since the last owner, so
// that what a killed process wrote is still there.
func (h *Home) SameBoot() bool { return h.sameBoot }

// Path is the directory's path.
func (h *Home) Path() string { return h.path }

// Logs lists the logs on disk, sorted.
func (h *Home) Logs() ([]kafka.TopicPartition, error) {
	list, err := h.fs.ReadNames(h.path)
	if err != nil {
		return nil, h.fail(err)
	}
	var out []kafka.TopicPartition
	for _, i := range list {
		if tp, ok := parseFolder(i.Name); ok && i.Dir {
			out = append(out, tp)
		}
	}
	slices.SortFunc(out, kafka.TopicPartition.Compare)
	return out, nil
}

// RemoveLog takes away a log that is closed. Once it returns nil, the log does
// not come back, also after a power cut.
func (h *Home) RemoveLog(tp kafka.TopicPartition) error {
	h.mu.Lock()
	_, open := h.mu.open[tp]
	h.mu.Unlock()
	if open {
		return fmt.Errorf("%s: remove: the log is open", tp)
	}
	if err := h.relieved(func() error { return h.cleaned.forget(tp) }); err != nil {
		return h.fail(err)
	}
	gone := h.join(tp.String() + ".0" + deleteSuffix)
	if err := h.fs.RemoveAll(gone); err != nil {
		return h.fail(err)
	}
	err := h.fs.Rename(h.join(tp.String()), gone)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = h.syncing.do()
	}
	if err != nil {
		return h.fail(err)
	}
	h.journal.forget(tp)
	h.mu.Lock()
	delete(h.mu.points, tp)
	h.mu.order, h.mu.news = nil, true
	delete(h.mu.starts, tp)
	delete(h.mu.trust, tp)
	h.mu.buried[tp] = true // see unearth
	h.mu.Unlock()
	return h.fs.RemoveAll(gone)
}

// unearth takes what the checkpoint files say of a removed log out of them, before
// another of its name is made: a start offset of the old one would hide records
// of the new. Until then nobody minds, and many removals share one save.
func (h *Home) unearth(tp kafka.TopicPartition) error {
	h.mu.Lock()
	buried := h.mu.buried[tp]
	h.mu.Unlock()
	if buried {
		if err := h.saving.do(); err != nil {
			return err
		}
	}
	return h.journal.unearth(tp)
}

// Checkpoint writes down how far each log is durable, so that the next start
// examines less. Call it every few seconds.
func (h *Home) Checkpoint() error {
	h.journal.summed.Store(0)
	h.progress.begin()
	for _, l := range h.busyLogs() {
		err := l.checkpoint()
		if err == nil {
			err = rester{l}.repose()
		}
		if err != nil {
			h.logger.Error("log is left out of the checkpoint", "log", l.tp.String(), "error", err)
		}
	}
	err := h.saving.do()
	if kerr := h.journal.keep(); kerr != nil {
		h.logger.Warn("manifest is not kept up, the next start may take longer", "dir", h.path, "error", kerr)
	}
	return err
}

// busyLogs are the open logs that are not at rest: only they change.
func (h *Home) busyLogs() []*Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*Log
	for tp, l := range h.mu.open {
		if _, resting := h.mu.rest[tp]; !resting && l.segments.Load() != nil {
			out = append(out, l)
		}
	}
	sortLogs(out)
	return out
}

func sortLogs(list []*Log) {
	slices.SortFunc(list, func(a, b *Log) int { return a.tp.Compare(b.tp) })
}

func (h *Home) openLogs() []*Log {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*Log, 0, len(h.mu.open))
	for _, l := range h.mu.open {
		out = append(out, l)
	}
	sortLogs(out)
	return out
}

// writeCheckpoints writes both tables as they are now.
func (h *Home) writeCheckpoints() error {
	h.mu.Lock()
	for _, l := range h.mu.open {
		if l.segments.Load() == nil {
			continue // still opening
		}
		h.keepPointLocked(l)
		h.keepStartLocked(l)
	}
	if !h.mu.news && h.savedPoints != nil && h.savedStarts != nil {
		h.mu.Unlock()
		return h.noteExamined()
	}
	h.mu.news = false
	if h.mu.order == nil {
		h.mu.order = h.mu.points.keys()
	}
	points, starts := h.mu.points.encodeIn(h.mu.order), h.mu.starts.encode()
	buried := maps.Clone(h.mu.buried)
	h.mu.Unlock()
	if !bytes.Equal(points, h.savedPoints) || !bytes.Equal(starts, h.savedStarts) {
		if err := h.journal.announce(points, starts); err != nil {
			h.savedPoints = nil // so that it is tried again
			return h.fail(err)
		}
	}
	// The turn of saving guards what was written last. Start offsets first: a
	// start that is lost cannot be found again.
	for _, file := range []struct {
		name string
		now  []byte
		last *[]byte
	}{{startFile, starts, &h.savedStarts}, {pointFile, points, &h.savedPoints}} {
		if bytes.Equal(file.now, *file.last) {
			continue
		}
		if err := h.relieved(func() error { return vfs.WriteAtomic(h.fs, h.join(file.name), file.now) }); err != nil {
			*file.last = nil // so that it is tried again
			return h.fail(storageError(file.name, err))
		}
		*file.last = file.now
	}
	h.mu.Lock()
	for tp := range buried {
		delete(h.mu.buried, tp)
	}
	h.mu.Unlock()
	return h.noteExamined()
}

// keepPointLocked notes a log's recovery point.
func (h *Home) keepPointLocked(l *Log) {
	point := l.point.Load()
	was, had := h.mu.points[l.tp]
	if had && was == point {
		return
	}
	h.mu.points[l.tp], h.mu.news = point, true
	if !had {
		h.mu.order = nil
	}
}

// sameTunables gives the settings that another log has already where they are
// equal: most of a topic's logs share theirs.
func (h *Home) sameTunables(t *Tunables) *Tunables {
	if last := h.tunables.Load(); last != nil && *last == *t {
		return last
	}
	h.tunables.Store(t)
	return t
}

// keepStartLocked notes a log's start. Unlike Kafka also where the first segment
// begins there: that those before are removed may not be durable.
func (h *Home) keepStartLocked(l *Log) {
	start := l.Start()
	if h.mu.starts[l.tp] == start { // 0 where it is not in
		return
	}
	h.mu.news = true
	if start > 0 {
		h.mu.starts[l.tp] = start
	} else {
		delete(h.mu.starts, l.tp)
	}
}

// opening registers a log and says what it may trust.
func (h *Home) opening(l *Log) (found trust, point, start int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.open[l.tp] != nil {
		return 0, 0, 0, fmt.Errorf("log %s is open already", l.tp)
	}
	found = h.mu.trust[l.tp]
	if found != untrusted {
		delete(h.mu.trust, l.tp) // the log knows
	}
	h.mu.open[l.tp], l.found = l, found
	l.point.Store(h.mu.points[l.tp])
	l.start.Store(h.mu.starts[l.tp])
	return found, h.mu.points[l.tp], h.mu.starts[l.tp], nil
}

// closing takes a log out again.
func (h *Home) closing(l *Log, inOrder bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keepPointLocked(l)
	if l.segments.Load() != nil {
		h.keepStartLocked(l)
	}
	delete(h.mu.open, l.tp)
	if inOrder {
		h.mu.trust[l.tp] = closed
		return
	}
	h.mu.failed = true
	if h.mu.trust[l.tp] != untrusted {
		h.mu.trust[l.tp] = unclean
	}
}

// Close gives the directory back. With clean, and if every log was closed in
// order, it leaves the mark that spares the next owner the examination.
func (h *Home) Close(clean bool) error {
	h.ahead.close()
	err := h.saving.do()
	h.mu.Lock()
	inOrder := clean && err == nil && !h.mu.failed && len(h.mu.open) == 0
	h.mu.Unlock()
	if inOrder {
		inOrder, err = h.examined()
	}
	if err := h.journal.close(err == nil); err != nil {
		inOrder = false // logs at rest left to the manifest what they did not sync
		h.logger.Warn("manifest is not kept, the next start may take longer", "dir", h.path, "error", err)
	}
	if inOrder {
		mark, _ := json.Marshal(cleanMark{BrokerEpoch: h.epoch}) // two numbers: it cannot fail
		err = vfs.WriteAtomic(h.fs, h.join(cleanFile), mark)
	}
	return errors.Join(err, h.lock.Close())
}

// abandon takes out a log that did not open. Nobody has examined it to its end.
func (h *Home) abandon(l *Log) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.open, l.tp)
	if l.found != asHome && h.mu.trust[l.tp] != untrusted {
		h.mu.trust[l.tp] = unclean
	}
	h.mu.failed = true
}
