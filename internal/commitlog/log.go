package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Log is one partition's log. See the package comment for who may do what.
type Log struct {
	home   *Home
	fs     vfs.FS
	tp     kafka.TopicPartition
	id     kafka.UUID // zero: not known
	dir    string
	future bool // a copy, see Futures
	logger *slog.Logger
	now    func() time.Time

	found     trust // what Open could take for granted
	onFlushed func(end int64, err error)
	tunables  atomic.Pointer[Tunables]
	failed    atomic.Pointer[error] // set once: no writing any more
	producers *ProducerState
	epochs    epochCache

	// turn is the lock of whoever changes what the log holds, tidying of who
	// writes the caches of rolled segments, flushing of who makes data durable.
	// Whoever needs several takes them in this order.
	turn, tidying, flushing slot

	// segments are never empty; the last is active. The slice is replaced, not
	// changed.
	segments atomic.Pointer[[]*segment.Segment]
	start    atomic.Int64
	flushed  atomic.Int64
	point    atomic.Int64 // recovery point: durable, and the epochs below are in their file

	w          appender // the turn holder's
	unsaved    bool     // the turn holder's: the start has moved and is not durable
	cuts       int      // the flushing holder's: how often the end was moved back
	closedAt   int64    // the turn holder's: the end of which all caches are on disk; -1 unless that still holds
	snapshotAt int64    // the turn holder's: the end of which the manifest says that its snapshot is durable; -1 if it was never so
	lastEnd    int64    // the turn holder's: the end when the log was last asked to come to rest
	loose      bool     // the turn holder's: at rest, but its caches may not be on disk
	snaps      snapshotFiles

	stirred atomic.Bool // the manifest does not say that the log is at rest; see rest

	debt
	due schedule // the Flusher's
	harm

	mu struct {
		sync.Mutex // memory only: never held across I/O or a channel
		view
		unsynced unsynced
		untidy   []retired // their data is durable, their caches not yet; oldest first
	}
}

// view is what readers see of the log's end, published by each append.
type view struct {
	end     int64    // next offset to give out
	size    int64    // bytes of the active segment below end
	recent  []place  // a ring of recentBatches, which grows to that as it is written
	written int      // how many places were ever written
	ahead   *cursors // where readers go on; nil before the first has read
}

// recentBatches is how many of the last batches Read finds without looking at
// the disk: consumers at the end of the log need no index.
const recentBatches = 16

// place is where a batch lies.
type place struct {
	seg        *segment.Segment
	base, last int64
	pos, size  int64
	recent     bool // it was found among the last ones written
}

// unsynced is what Flush must make durable besides the active segment's data.
type unsynced struct {
	stir    bool      // that the log's rest is over
	topicID bool      // partition.metadata is written, not synced
	names   bool      // the log's folder has new names
	root    bool      // the log's folder is new
	retired []retired // segments that were rolled, oldest first
}

// retired is a rolled segment, with the producer state at its end. It becomes
// durable in two steps: the data by Flush, which somebody may be waiting for, the
// caches by tidy, before the recovery point passes.
type retired struct {
	seg      *segment.Segment
	snapshot []byte
	at       int64
}

var errClosed = fmt.Errorf("log is %w: %w", fs.ErrClosed, kafka.KafkaStorageError)

// slot is a lock that may be held over I/O, and in a bubble of testing/synctest:
// who waits for
// it waits at a channel.
//
// The zero value is free. A hundred thousand logs have three each, so it has no
// channel while nobody waits.
type slot struct {
	mu struct {
		sync.Mutex // memory only
		held       bool
		waiting    []chan struct{} // in the order of asking; each is closed when its turn comes
	}
}

func (s *slot) lock() {
	s.mu.Lock()
	if !s.mu.held {
		s.mu.held = true
		s.mu.Unlock()
		return
	}
	mine := make(chan struct{})
	s.mu.waiting = append(s.mu.waiting, mine)
	s.mu.Unlock()
	<-mine
}

func (s *slot) unlock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.waiting) == 0 {
		s.mu.held, s.mu.waiting = false, nil
		return
	}
	close(s.mu.waiting[0])
	s.mu.waiting = s.mu.waiting[1:]
}

// Start is the first offset that may be read.
func (l *Log) Start() int64 { return l.start.Load() }

// End is the offset of the next record.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.end
}

// Flushed is the offset up to which everything is durable.
func (l *Log) Flushed() int64 { return l.flushed.Load() }

// Failed is the error that ended writing; nil while the log is well.
func (l *Log) Failed() error {
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Producers is the log's producer state.
func (l *Log) Producers() *ProducerState { return l.producers }

// Home is the log directory that the log is in.
func (l *Log) Home() *Home { return l.home }

// Name is the log's topic and partition.
func (l *Log) Name() kafka.TopicPartition { return l.tp }

// SetConfig changes the settings from now on.
func (l *Log) SetConfig(t Tunables) {
	t = t.withDefaults()
	l.tunables.Store(l.home.sameTunables(&t))
}

func (l *Log) active() *segment.Segment {
	segs := *l.segments.Load()
	return segs[len(segs)-1]
}

// fail ends writing for good. The first error stays.
func (l *Log) fail(err error) error {
	err = storageError("log "+l.tp.String(), err)
	if l.failed.CompareAndSwap(nil, &err) {
		l.logger.Error("log takes no more writes", "log", l.tp.String(), "error", err)
		l.home.suspect(err)
	}
	return l.Failed()
}

// Append writes checked and stamped batches, with one call to the system where
// they fit one segment, and lets readers see them. Their offsets must rise and
// not be below End; gaps are allowed.
//
// On return the batches are in the page cache, not yet on disk: whoever must
// answer "durable" waits until Flushed has passed them, see [Flusher]. The bytes
// may be used again.
//
// A batch larger than a segment is RECORD_LIST_TOO_LARGE and changes nothing. An
// I/O error wraps KAFKA_STORAGE_ERROR and is final, see [Log.Failed], except for a
// full disk ([vfs.IsNoSpace]): then the batches from End on are not in the log,
// which takes writes again as soon as there is room.
func (l *Log) Append(batches []Batch) error {
	l.turn.lock()
	defer l.turn.unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	t := l.tunables.Load()
	if err := l.w.admit(batches, t); err != nil {
		return err
	}
	if err := (rester{l}).stir(); err != nil {
		return err // nothing has changed
	}
	if err := l.w.mend(); err != nil {
		return l.w.refuse(err)
	}
	for len(batches) > 0 {
		n, err := l.w.room(batches, t)
		if err == nil {
			err = l.w.write(batches[:n])
		}
		if err != nil {
			return l.w.refuse(err)
		}
		batches = batches[n:]
	}
	return nil
}

func (l *Log) segmentConfig(base int64) segment.Config {
	t := l.tunables.Load()
	return segment.Config{
		FS: l.fs, Pool: l.home.pool, Cache: l.home.cache, Walk: walk, Dir: l.dir, Base: base,
		IndexInterval: t.IndexInterval, IndexBytes: t.IndexBytes,
		Audit: audit, Resync: resync, NoSums: l.home.noSums, Watch: l,
	}
}

// account takes a written batch into what the log knows besides its bytes.
// Recovery goes the same way.
func (l *Log) account(h *record.Header, bytes []byte, seg *segment.Segment) error {
	l.epochs.assign(h.LeaderEpoch, h.BaseOffset)
	if !h.Idempotent() {
		return nil
	}
	if !h.Attributes.Has(record.Control) {
		l.producers.Update(h)
		return nil
	}
	t, coordinatorEpoch, ok, err := marker(bytes)
	if err != nil || !ok {
		return err
	}
	if aborted, is := l.producers.end(h, t, coordinatorEpoch); is {
		return seg.AppendAborted(aborted)
	}
	return nil
}

// Flush makes durable all that was written before the call, and then moves
// Flushed. In this order: the topic id, the folder's name, the names in it, the
// data of every segment that has some.
//
// An error is final: the log refuses to write from then on, and the kernel must
// not be asked again, since it would say yes.
func (l *Log) Flush() error {
	l.flushing.lock()
	defer l.flushing.unlock()
	return l.flushLocked()
}

// flushLocked is Flush for who holds flushing.
func (l *Log) flushLocked() error {
	if err := l.Failed(); err != nil {
		return err
	}
	bytes, records := l.dirtyBytes.Load(), l.dirtyRecords.Load()
	l.mu.Lock()
	end, todo, active := l.mu.end, l.mu.unsynced, l.active()
	l.mu.unsynced = unsynced{stir: todo.stir} // who must have it durable does not wait for this flush
	l.mu.Unlock()
	if err := todo.sync(l, active); err != nil {
		l.home.distrust(l.tp)
		return l.fail(err)
	}
	l.mu.Lock()
	l.mu.untidy = append(l.mu.untidy, todo.retired...)
	l.mu.unsynced.stir = l.mu.unsynced.stir && !todo.stir
	l.mu.Unlock()
	l.owe(-bytes, -records)
	l.flushed.Store(end)
	l.home.progress.count(bytes)
	return nil
}

// sync makes all of it durable, and then the active segment's data.
func (todo *unsynced) sync(l *Log, active *segment.Segment) error {
	if todo.stir {
		if err := l.home.journal.syncing.do(); err != nil {
			return err
		}
	}
	if todo.topicID {
		if err := syncFile(l.fs, l.path(metadataFile)); err != nil {
			return err
		}
	}
	if todo.names {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
	}
	if todo.root {
		if err := l.home.syncing.do(); err != nil {
			return err
		}
	}
	for _, r := range todo.retired {
		if err := r.seg.Sync(); err != nil {
			return err
		}
	}
	return active.Sync()
}

// tidy makes the caches of rolled segments durable, those whose data is: their
// indexes, so that a start after a crash need not look at them, and the producer
// state at their ends. It is for who holds tidying.
func (l *Log) tidy() error {
	l.mu.Lock()
	todo := l.mu.untidy
	l.mu.untidy = nil
	l.mu.Unlock()
	for i, r := range todo {
		err := r.seg.Persist()
		if err == nil {
			err = r.seg.SyncIndexes(r.at)
		}
		if err == nil {
			err = vfs.WriteAtomic(l.fs, l.snaps.name(r.at), r.snapshot)
		}
		if err != nil {
			l.mu.Lock()
			l.mu.untidy = append(todo[i:len(todo):len(todo)], l.mu.untidy...)
			l.mu.Unlock()
			return err
		}
	}
	return nil
}

func syncFile(fs vfs.FS, name string) error {
	f, err := fs.Open(name, vfs.ReadWrite)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (l *Log) path(name string) string { return l.dir + "/" + name }

// checkpoint moves the recovery point to what is durable, once the epochs below
// it are in their file. All that it writes are caches: where the disk is full it
// leaves them for another time, and the log goes on.
func (l *Log) checkpoint() error {
	if err := l.Failed(); err != nil {
		return nil //nolint:nilerr // it was reported when it happened; the point stays
	}
	if l.active().Unpersisted() { // so that tools see the indexes of a log that is open
		l.turn.lock()
		var err error
		if l.Failed() == nil {
			err = l.active().Persist()
		}
		l.turn.unlock()
		if err != nil {
			return l.failUnlessFull(err)
		}
	}
	return pointer{l}.move()
}

func (l *Log) failUnlessFull(err error) error {
	if vfs.IsNoSpace(err) {
		return err
	}
	return l.fail(err)
}

func (l *Log) saveEpochs() error {
	data, version, ok := l.epochs.unsaved()
	if !ok {
		return nil
	}
	if err := vfs.WriteAtomic(l.fs, l.path(epochFile), data); err != nil {
		return err
	}
	l.epochs.markSaved(version)
	return nil
}

// Close flushes, writes down what spares the next Open an examination, and lets
// go of all files. A log that has failed only lets go.
func (l *Log) Close() error {
	l.turn.lock()
	defer l.turn.unlock()
	l.tidying.lock()
	defer l.tidying.unlock()
	l.flushing.lock()
	defer l.flushing.unlock()
	if errors.Is(l.Failed(), fs.ErrClosed) {
		return nil
	}
	l.home.emptyTrashOf(l)
	err := l.closeInOrder()
	rester{l}.letGo(err == nil)
	return err
}

// Sleep closes a log that is at rest. One that is not is left as it is, with
// [ErrBusy].
func (l *Log) Sleep() error {
	l.turn.lock()
	defer l.turn.unlock()
	if l.stirred.Load() { // and may be being flushed, which is not waited for
		return ErrBusy
	}
	l.tidying.lock()
	defer l.tidying.unlock()
	l.flushing.lock()
	defer l.flushing.unlock()
	if l.stirred.Load() || l.Failed() != nil {
		return ErrBusy
	}
	rester{l}.polish()
	rester{l}.letGo(true)
	return nil
}

// ErrBusy says that a log is not at rest.
var ErrBusy = errors.New("the log is not at rest")

func (l *Log) closeInOrder() error {
	if err := l.Failed(); err != nil {
		return err
	}
	if !l.stirred.Load() {
		rester{l}.polish()
		return nil
	}
	end := l.End()
	if err := l.w.mend(); err != nil {
		return l.fail(err)
	}
	relieved, small := l.home.relieved, (rester{l}).small()
	if !small || l.future {
		if err := relieved(l.active().Seal); err != nil {
			return l.fail(err)
		}
	}
	if !(rester{l}).unwritten() {
		if err := l.flushLocked(); err != nil {
			return err
		}
	}
	if err := relieved(l.tidy); err != nil {
		return l.fail(err)
	}
	err := relieved(func() error {
		if (!small || l.future) && end != l.closedAt {
			return vfs.WriteAtomic(l.fs, l.snaps.name(end), l.producers.encode(end))
		}
		return nil
	})
	switch {
	case err != nil:
	case l.future:
		err = rester{l}.saveCaches(end) // no manifest will have them
	default:
		err = relieved(rester{l}.rest)
	}
	if err != nil {
		return l.fail(err)
	}
	rester{l}.polish()
	l.point.Store(end)
	return nil
}
