package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// withDefaults fills in Kafka's defaults.
func (t Tunables) withDefaults() Tunables {
	def := func(v *int64, otherwise int64) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	def(&t.SegmentBytes, 1<<30)
	def((*int64)(&t.SegmentAge), int64(7*24*time.Hour))
	def((*int64)(&t.ProducerRetention), int64(24*time.Hour))
	t.IndexInterval = orDefault(t.IndexInterval, 4096)
	t.IndexBytes = orDefault(t.IndexBytes, 10<<20)
	if t.RetentionAge == 0 {
		t.RetentionAge = 7 * 24 * time.Hour
	}
	return t
}

// Open opens a log, making it if it is not there. It returns once the log may
// be trusted and written; what it gives out as End is then durable.
//
// After an owner that did not close it in order, everything above the recovery
// point is examined, see [Recovered]. Errors wrap INCONSISTENT_TOPIC_ID, or
// KAFKA_STORAGE_ERROR. Damage below the durable point is no error: it is never
// cut off, and all else is served, see [Log.Damage].
func Open(cfg Config) (*Log, Recovered, error) {
	l := newLog(cfg)
	if err := l.home.unearth(l.tp); err != nil {
		return nil, Recovered{}, err
	}
	known, wanted := cfg.Home.Resting(l.tp)
	if l.future {
		known, wanted = nil, false // that is a log's
	}
	found, point, start, err := l.home.opening(l)
	if err != nil {
		return nil, Recovered{}, err
	}
	o := &opener{Log: l, start: start, begin: cfg.Begin}
	begun := l.now()
	o.rec = Recovered{RecoveryPoint: point, CutFrom: -1, SameBoot: l.home.sameBoot}
	switch found {
	case asHome:
		o.rec.Clean = l.home.clean
	case closed:
		o.rec.Clean = true
	case unclean:
		o.rec.SameBoot = true
	case untrusted:
		o.rec.SameBoot = false
	}
	if wanted && found != untrusted && known.TopicID == cfg.TopicID {
		woken, err := o.wake(known)
		if woken {
			return l, o.rec, nil
		}
		if err != nil {
			o.abandon()
			return nil, o.rec, fmt.Errorf("open log %s: %w", l.tp, err)
		}
	}
	if err := o.walk(cfg.TopicID, known); err != nil {
		o.abandon()
		return nil, o.rec, fmt.Errorf("open log %s: %w", l.tp, err)
	}
	o.rec.Quarantined, o.rec.Millis = l.Damage(), l.now().Sub(begun).Milliseconds()
	return l, o.rec, nil
}

func newLog(cfg Config) *Log {
	l := &Log{
		debt: debt{together: &cfg.Home.dirty},
		home: cfg.Home, fs: cfg.Home.fs, tp: kafka.TopicPartition{Topic: cfg.Topic, Partition: cfg.Partition},
		logger: cfg.Logger, now: cfg.Now, onFlushed: cfg.OnFlushed, producers: newProducerState(),
		closedAt: -1, lastEnd: -1, snapshotAt: -1, id: cfg.TopicID,
	}
	l.dir, l.future = folderOf(&cfg), cfg.Folder != ""
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = cfg.Home.now
	}
	if l.now == nil {
		l.now = func() time.Time { return time.Time{} }
	}
	l.w = appender{Log: l, firstStamp: -1}
	l.harm.log = l
	l.snaps = snapshotFiles{fs: l.fs, dir: l.dir, logger: l.logger}
	l.SetConfig(cfg.Tunables)
	return l
}

// opener is a log on its way to being open.
type opener struct {
	*Log
	rec   Recovered
	start int64 // as checkpointed
	begin int64 // as Config has it
	moved bool  // start is where the segments begin, above what the checkpoint says
	segs  []*segment.Segment
	epoch bool // the epochs were read

}

// open has these steps:
//
//	folder    make it, clear away what was left half done
//	topic id  compare or write it
//	list      the segments, those below the start taken out
//	recover   examine, unless all was closed in order
//	resume    the active segment's indexes, the end
//	state     epochs and producers, from their files and the batches behind
func (o *opener) open(id kafka.UUID) error {
	if err := o.folder(); err != nil {
		return storageError("folder", err)
	}
	if err := o.topicID(id); err != nil {
		return err
	}
	if err := o.list(); err != nil {
		return storageError("segments", err)
	}
	if err := o.readEpochs(); err != nil {
		return storageError("epochs", err)
	}
	examined := len(o.segs) // segments from this one on were examined
	if !o.rec.Clean {
		var err error
		if examined, err = o.recover(); err != nil {
			return err
		}
	}
	if err := o.findMissing(); err != nil {
		return storageError("segments", err)
	}
	end, err := o.resume()
	if errors.Is(err, errUntidy) {
		// The mark of a clean end lied: something else wrote the files.
		o.logger.Warn("log was closed in order but does not end in order: examined", "log", o.tp.String(), "error", err)
		o.rec.Clean = false
		if examined, err = o.recover(); err == nil {
			end, err = o.resume()
		}
	}
	if err != nil {
		return storageError("end", err)
	}
	end = o.promised(end)
	if err := o.state(end, examined); err != nil {
		return storageError("state", err)
	}
	if o.missing(end-1) != nil {
		o.producers.doubt()
	}
	if err := o.seal(examined); err != nil {
		return storageError("state", err)
	}
	return o.settle(end)
}

// folder makes the log's folder and removes what an owner left half done.
func (o *opener) folder() error {
	there, err := vfs.Exists(o.fs, o.dir)
	if err != nil {
		return err
	}
	if !there {
		// What the checkpoints say is of another log, which was removed: a
		// crash came between its folder's end and theirs. It must not be there
		// any more when a crash finds the new folder.
		if err := o.disown(); err != nil {
			return err
		}
		o.start, o.rec.RecoveryPoint = 0, 0
		o.Log.start.Store(0)
		o.point.Store(0)
		o.mu.unsynced.root = true
		o.rec.Clean = true // nothing to examine
		return o.fs.MkdirAll(o.dir)
	}
	list, err := o.fs.ReadDir(o.dir)
	if err != nil {
		return err
	}
	if err := o.finishSwap(list); err != nil {
		return err
	}
	for _, i := range list {
		for _, suffix := range []string{".tmp", deletedSuffix, cleanedSuffix} {
			if !i.Dir && strings.HasSuffix(i.Name, suffix) {
				if err := o.fs.Remove(o.path(i.Name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// disown takes what the checkpoint files say of a log whose folder is gone out of
// them, durably.
func (o *opener) disown() error {
	h := o.home
	h.mu.Lock()
	_, point := h.mu.points[o.tp]
	_, start := h.mu.starts[o.tp]
	if point || start {
		delete(h.mu.points, o.tp)
		delete(h.mu.starts, o.tp)
		h.mu.order, h.mu.news = nil, true
	}
	h.mu.Unlock()
	if !point && !start {
		return nil
	}
	return h.saving.do()
}

// topicID compares the topic id with partition.metadata, or writes it there. It
// becomes durable with the first Flush, before any data does.
func (o *opener) topicID(id kafka.UUID) error {
	if id.IsZero() {
		return nil
	}
	data, err := vfs.ReadFile(o.fs, o.path(metadataFile), 1<<10)
	if err == nil {
		have, perr := parseTopicID(data)
		if perr == nil && have != id {
			return fmt.Errorf("folder belongs to topic id %s, not %s: %w", have, id, kafka.InconsistentTopicID)
		}
		if perr == nil {
			// Whoever wrote it may have been killed before it was synced.
			o.mu.unsynced.topicID = !o.rec.Clean
			return nil
		}
		if o.rec.Clean {
			return storageError(metadataFile, perr)
		}
		// It was never synced, so nothing here was ever acknowledged under
		// another id: written anew.
	} else if !errors.Is(err, fs.ErrNotExist) {
		return storageError(metadataFile, err)
	}
	if o.rec.RecoveryPoint > 0 { // it was durable before anything else was
		o.logger.Warn("partition.metadata was gone or not readable: written anew with the id that the metadata has", "log", o.tp.String(), "topic_id", id.String())
	}
	f, err := o.fs.Create(o.path(metadataFile))
	if err != nil {
		return storageError(metadataFile, err)
	}
	_, err = f.WriteAt(encodeTopicID(id), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return storageError(metadataFile, err)
	}
	o.mu.unsynced.topicID, o.mu.unsynced.names = true, true
	return nil
}

// list finds the segments. Those that lie whole below the start are what a
// removal left; the last one stays.
func (o *opener) list() error {
	files, err := o.fs.ReadDir(o.dir)
	if err != nil {
		return err
	}
	have, snapshot := map[int64]bool{}, map[int64]bool{}
	for _, i := range files {
		base, suffix, ok := segment.ParseName(i.Name)
		snapshot[base] = snapshot[base] || ok && suffix == snapshotSuffix
		if ok && suffix == segment.LogSuffix && !i.Dir {
			have[base] = true
			o.segs = append(o.segs, segment.Open(o.segmentConfig(base), i.Size))
		}
	}
	for _, i := range files {
		base, suffix, ok := segment.ParseName(i.Name)
		orphan := suffix == segment.IdxSuffix || suffix == segment.TimeSuffix || suffix == segment.TxnSuffix || suffix == segment.SumsSuffix
		// Another program keeps no sums of what it changes.
		void := suffix == segment.SumsSuffix && o.home.foreign
		// What belongs to a missing file stays: the file may be put back.
		kept := len(o.segs) > 0 && base >= o.from() && base < o.segs[0].Base() && o.headless(o.segs[0].Base())
		if ok && orphan && (!have[base] && !kept || void) {
			if err := o.fs.Remove(o.path(i.Name)); err != nil {
				return err
			}
		}
	}
	// A removal begins when the producers are written down at the base that it
	// leaves: without that, the segments are still needed for what they tell.
	first := 0
	for i, s := range o.segs {
		if s.Base() <= o.start && snapshot[s.Base()] {
			first = i
		}
	}
	for _, s := range o.segs[:first] {
		if err := s.Remove(); err != nil {
			return err
		}
		o.mu.unsynced.names = true
	}
	o.segs = o.segs[first:]
	if err := o.cutHeadless(); err != nil {
		return err
	}
	if len(o.segs) == 0 {
		return o.create(o.start)
	}
	begin := o.segs[0].Base()
	headless := o.headless(begin)
	if begin > o.start {
		was := o.start
		if o.start = begin; headless {
			o.start = max(was, o.begin)
		}
		o.moved = o.start > was
	}
	if slices.ContainsFunc(files, func(i vfs.Info) bool { return i.Name == damageFile }) {
		if err := o.readDamage(); err != nil {
			return err
		}
	}
	if headless {
		o.tellHead(begin)
	}
	return nil
}

// from is where the log begins, by all that is written down.
func (o *opener) from() int64 { return max(o.start, o.begin) }

// headless tells whether durable records are gone with their files from the log's
// begin: the checkpoints are as this program wrote them, no deletion is in them,
// and something before the first segment was durable, so its file's name was too.
func (o *opener) headless(first int64) bool {
	return o.home.sworn && first > o.from() && o.rec.RecoveryPoint > o.from()
}

// tellHead notes that the log lacks its first segments. Its start stays: what
// nobody deleted does not count as deleted.
func (o *opener) tellHead(first int64) {
	o.rec.Missing += first - o.start
	o.damaged(Damage{Segment: o.start, From: o.start, To: first, Reason: fileMissing, Found: o.now().UTC()})
}

// cutHeadless takes away all segments if a power cut took the name of the first.
// Its name is durable before anything in any of them is promised, and the start
// before a deletion, so none of them holds a promise. To keep them would be to
// keep the later half of what producers are going to send again.
func (o *opener) cutHeadless() error {
	if len(o.segs) == 0 || o.rec.Clean || o.rec.SameBoot || !o.home.ours {
		return nil
	}
	first := o.segs[0].Base()
	if first <= max(o.from(), o.rec.RecoveryPoint) || o.headless(first) {
		return nil
	}
	o.rec.CutFrom = o.start
	for j := len(o.segs) - 1; j >= 0; j-- {
		o.rec.CutBytes += o.segs[j].Size()
		o.rec.CutSegments++
		if err := o.segs[j].Remove(); err != nil {
			return err
		}
	}
	o.logger.Warn("log lacks its first segment, which was never durable: cut off whole", "log", o.tp.String(),
		"start", o.start, "first", first, "bytes", o.rec.CutBytes, "segments", o.rec.CutSegments)
	o.segs = nil
	return nil
}

func (o *opener) create(base int64) error {
	s, err := segment.Create(o.segmentConfig(base))
	if err != nil {
		return err
	}
	o.segs = []*segment.Segment{s}
	o.start = base
	o.mu.unsynced.names = true
	return nil
}

// errUntidy says that a log which was closed in order does not end with a batch.
var errUntidy = errors.New("the last segment does not end with a whole batch")

// resume finds the end and readies the active segment for writing.
func (o *opener) resume() (int64, error) {
	active := o.segs[len(o.segs)-1]
	err := active.Resume()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUntidy, err)
	}
	end := active.Base()
	from, _, err := active.Floor(1 << 62)
	if err != nil {
		return 0, err
	}
	err = active.With(func(f vfs.File) error {
		s := newScanner(f, from, active.Size())
		for s.Next() || damageIn(s.err) != nil {
			if damage := damageIn(s.err); damage != nil {
				end = max(end, damage.Next)
				s.skip()
				continue
			}
			end = max(end, s.head.NextOffset())
		}
		if s.err != nil {
			return fmt.Errorf("%w: %w", errUntidy, s.err)
		}
		if active.Size() > 0 {
			first := newScanner(f, 0, active.Size())
			if first.Next() {
				o.w.firstStamp = first.head.MaxTimestamp
			}
		}
		return nil
	})
	o.w.createdAt = o.now()
	return end, err
}

// readDamage takes over the damage that is known and whose bytes are still there.
// A file that cannot be read counts for nothing: what it said is found again.
func (o *opener) readDamage() error {
	all, err := ReadDamage(o.fs, o.dir)
	if errors.Is(err, errMalformed) {
		o.logger.Warn("list of damage is unreadable", "log", o.tp.String(), "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	holes := map[int64][]segment.Hole{}
	for i := range all {
		o.fileBack(&all[i])
	}
	kept := slices.DeleteFunc(all, func(d Damage) bool {
		if d.Bytes == 0 {
			return d.To <= max(o.start, d.From)
		}
		there := slices.ContainsFunc(o.segs, func(s *segment.Segment) bool {
			return s.Base() == d.Segment && d.Position >= 0 && d.Position+d.Bytes <= s.Size()
		})
		if there {
			holes[d.Segment] = append(holes[d.Segment],
				segment.Hole{From: d.Position, To: d.Position + d.Bytes, First: d.From, Next: d.To, Reason: d.Reason})
		}
		return !there
	})
	for _, s := range o.segs {
		s.SetHoles(holes[s.Base()])
	}
	o.setDamage(kept)
	return nil
}

// fileBack makes a gap end where the first file begins that somebody put back.
func (o *opener) fileBack(d *Damage) {
	if d.Reason != fileMissing {
		return
	}
	for _, s := range o.segs {
		if s.Base() >= d.From {
			d.To = min(d.To, s.Base())
			return
		}
	}
}

// promised gives the log's end: not below what is known to have been durable, if
// the files say less. Its offsets were given out; they are not to be given out
// again.
func (o *opener) promised(end int64) int64 {
	durable := o.rec.RecoveryPoint
	if durable <= end || durable <= o.start || !o.home.sworn {
		return end
	}
	o.rec.Missing += durable - end
	o.damaged(Damage{Segment: o.segs[len(o.segs)-1].Base(), Position: o.segs[len(o.segs)-1].Size(), From: end, To: durable,
		Reason: "the log ends below its durable point", Found: o.now().UTC()})
	return durable
}

// seal completes what is kept beside the closed segments that were examined, and
// looks at the active one's list of aborted transactions, which is to be added
// to.
func (o *opener) seal(examined int) error {
	for i := examined; i+1 < len(o.segs); i++ {
		if err := o.segs[i].Sync(); err != nil {
			return err
		}
		if err := o.segs[i].SyncIndexes(o.segs[i+1].Base()); err != nil {
			return err
		}
	}
	r := reading{segs: o.segs, log: o.Log}
	_, err := r.abortedIn(len(o.segs) - 1)
	return err
}

// settle makes the log ready to serve: the start within its bounds, the end
// published, and all of it durable.
func (o *opener) settle(end int64) error {
	o.mu.Lock()
	o.mu.end, o.mu.size = end, o.segs[len(o.segs)-1].Size()
	o.mu.Unlock()
	o.Log.start.Store(o.start)
	o.Log.segments.Store(&o.segs) // from here on a checkpoint sees the log
	o.cutDamage(end)              // a truncation that was cut off may have left it
	o.rec.End = end
	if end < o.rec.RecoveryPoint && !o.rec.Clean { // a foreign one: what it says is a hint
		o.rec.Missing += o.rec.RecoveryPoint - end
		o.logger.Error("log ends below its recovery point: durable records are missing", "log", o.tp.String(),
			"end", end, "recovery_point", o.rec.RecoveryPoint)
	}
	switch {
	case o.start > end:
		// The start is only ever moved over flushed records: the folder was
		// emptied by hand.
		o.logger.Warn("log ends below its start offset: begun anew there", "log", o.tp.String(), "end", end, "start", o.start)
		if err := (trimmer{o.Log}).reset(o.start); err != nil {
			return o.fail(err)
		}
		return nil
	case o.rec.Clean:
		o.flushed.Store(end)
		o.point.Store(min(max(o.rec.RecoveryPoint, o.start), end))
		o.closedAt = end
		return o.tellStart()
	}
	o.point.Store(min(max(o.rec.RecoveryPoint, o.start), end))
	if err := o.tellStart(); err != nil {
		return err
	}
	o.mu.unsynced.names, o.mu.unsynced.root = true, true
	if o.mu.end == 0 && o.rec.ScannedBytes == 0 && o.rec.CutBytes == 0 {
		return nil // new or empty: the first Flush does
	}
	return o.Flush()
}

// tellStart writes the start down if only the segments told it, as in another
// program's directory: else, after a crash, cutHeadless would miss segments before.
func (o *opener) tellStart() error {
	if !o.moved {
		return nil
	}
	return o.home.saving.do()
}

// abandon lets go of everything after a failed Open.
func (o *opener) abandon() {
	for _, s := range o.segs {
		s.Close()
	}
	o.failed.Store(&errClosed)
	o.home.abandon(o.Log)
}
