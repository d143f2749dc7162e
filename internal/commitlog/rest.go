package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// smallLog is up to how many bytes a log of one segment is so small that an
// examination costs less than keeping its caches durable: at rest these are left
// to the manifest.
const smallLog = 64 << 10

// rester lets a log come to rest and ends it.
type rester struct{ *Log }

// stir says that the log is going to change, before anything of it does. The
// caller has turn or tidying, so the log cannot come to rest meanwhile. It is cheap where the log is stirred already; that its
// rest is over becomes durable with the next Flush.
func (l rester) stir() error {
	if l.stirred.Load() {
		return nil
	}
	if err := l.home.journal.stir(l.Log); err != nil {
		return err
	}
	l.mu.Lock()
	l.mu.unsynced.stir = true
	l.mu.Unlock()
	l.stirred.Store(true)
	return nil
}

// stirForGood is stir for who takes something away: that the rest is over is
// durable when it returns.
func (l rester) stirForGood() error {
	if err := l.stir(); err != nil {
		return err
	}
	l.mu.Lock()
	unsynced := l.mu.unsynced.stir
	l.mu.Unlock()
	if !unsynced {
		return nil
	}
	if err := l.home.journal.syncing.do(); err != nil {
		return err
	}
	l.mu.Lock()
	l.mu.unsynced.stir = false
	l.mu.Unlock()
	return nil
}

// sumsMost is of how many small logs the checksums are written in one checkpoint:
// a hundred thousand that come to rest together must not hold it up.
const sumsMost = 1000

// small tells whether the log's caches are not worth a sync.
func (l rester) small() bool { return l.smallOf(*l.segments.Load()) }

func (rester) smallOf(segs []*segment.Segment) bool {
	return len(segs) == 1 && segs[0].Size() <= smallLog
}

// repose lets the log come to rest if nothing was written since the last time it
// was asked. It stays open; a crash then costs it no examination.
func (l rester) repose() error {
	l.turn.lock()
	defer l.turn.unlock()
	if !l.stirred.Load() || l.future || l.Failed() != nil {
		return nil
	}
	end := l.End()
	if quiet := end == l.lastEnd; !quiet || l.Flushed() != end {
		l.lastEnd = end
		return nil
	}
	l.tidying.lock()
	defer l.tidying.unlock()
	l.flushing.lock()
	defer l.flushing.unlock()
	if err := l.rest(); err != nil {
		return l.failUnlessFull(err)
	}
	return nil
}

// rest tells the home what is known of the log, which is durable as a whole.
// The caller has turn, tidying and flushing.
func (l rester) rest() error {
	l.mu.Lock()
	end, todo, untidy := l.mu.end, l.mu.unsynced, len(l.mu.untidy)
	l.mu.Unlock()
	if l.w.torn || len(l.w.strays) > 0 {
		return nil // what a full disk left behind is to be taken away first
	}
	empty := l.unwritten()
	unnamed := todo.names || todo.root || todo.topicID
	if l.Flushed() != end || untidy > 0 || len(todo.retired) > 0 || unnamed && !empty || l.home.trash.holds(l.Log) {
		return nil // another time
	}
	small := l.small()
	if small {
		// Without sums its batches are believed by their own checksums, until
		// it is scrubbed.
		if l.home.journal.summed.Add(1) <= sumsMost {
			if err := l.active().PersistSums(); err != nil {
				return err
			}
		}
	} else if err := l.saveCaches(end); err != nil {
		return err
	}
	known := &Rest{TopicID: l.id, Start: l.Start(), End: end, Epochs: l.epochs.all(), firstStamp: l.w.firstStamp, loose: small, unnamed: unnamed}
	var ok bool
	if known.producers, ok = l.producers.encodeTraces(end); !ok {
		if err := vfs.WriteAtomic(l.fs, l.snaps.name(end), l.producers.encode(end)); err != nil {
			return err
		}
		known.producers, known.snapshot = nil, true
		l.snapshotAt = end
	}
	for _, seg := range *l.segments.Load() {
		stamp, at, err := seg.Newest()
		if err != nil {
			return err
		}
		known.Segments = append(known.Segments, SegmentInfo{Base: seg.Base(), Bytes: seg.Size(), MaxTimestamp: stamp})
		known.newestAt = append(known.newestAt, at)
	}
	l.stirred.Store(false)
	l.loose = small
	l.w.bufs, l.w.marks = nil, nil
	segment.Drop(l.active()) // no descriptor for who is idle
	l.point.Store(end)
	l.home.journal.rested(l.Log, known)
	return nil
}

// unwritten tells whether nothing was ever written: should its folder be lost, it
// is made again as it was.
func (l rester) unwritten() bool { return l.End() == 0 && l.active().Size() == 0 }

// leaveCaches writes epochs and producers of a small log for other programs and
// does not sync them: we have them in the manifest, and a file that is not whole
// is not believed.
func (l rester) leaveCaches(end int64) error {
	if data, version, ok := l.epochs.unsaved(); ok {
		if err := vfs.WriteFile(l.fs, l.path(epochFile), data); err != nil {
			return err
		}
		l.epochs.markSaved(version)
	}
	// Where the active segment is empty, the snapshot at its base has been made
	// durable, and tells what no batch that is left does: it stays as it is.
	if !l.producers.any() || end == l.active().Base() || end == l.snapshotAt {
		return nil
	}
	return vfs.WriteFile(l.fs, l.snaps.name(end), l.producers.encode(end))
}

// polishMost is how many small logs of a directory are polished: the files of a
// hundred thousand would take an orderly end a minute. What misses them, Kafka
// too, makes them from the batches.
const polishMost = 1000

// polish writes the files of a log at rest that only other programs miss.
func (l rester) polish() {
	end := l.End()
	if end == l.closedAt || l.unwritten() || l.stirred.Load() || l.home.journal.polished.Add(1) > polishMost {
		return
	}
	err := l.active().Seal()
	if err == nil {
		err = l.leaveCaches(end)
	}
	if err != nil {
		l.logger.Warn("log at rest is closed without its caches", "log", l.tp.String(), "error", err)
		return
	}
	l.closedAt = end
}

// letGo ends the log's being open. The caller has all locks.
func (l rester) letGo(inOrder bool) {
	l.failed.Store(&errClosed)
	l.owe(-l.dirtyBytes.Load(), -l.dirtyRecords.Load())
	for _, s := range *l.segments.Load() {
		s.Close()
	}
	l.home.closing(l.Log, inOrder)
}

// saveCaches makes durable what spares a later open a look at the batches.
func (l rester) saveCaches(end int64) error {
	if err := l.saveEpochs(); err != nil || end == l.closedAt {
		return err
	}
	if err := l.active().Seal(); err != nil {
		return err
	}
	if err := l.active().SyncIndexes(-1); err != nil {
		return err
	}
	// A missing index is made anew; that a list of aborted transactions is
	// missing cannot be seen, so its name must last.
	if aborted, err := l.active().Aborted(); err != nil || len(aborted) > 0 {
		if err := errors.Join(err, l.fs.SyncDir(l.dir)); err != nil {
			return err
		}
	}
	l.closedAt = end
	return nil
}

// wake opens the log from what is known of it, with one look at the folder. It
// tells false, and leaves everything to be found out, if the folder is not as it
// was left.
func (o *opener) wake(known *Rest) (bool, error) {
	if known.suspect || known.Start < o.start {
		return false, nil
	}
	list, err := o.fs.ReadDir(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, storageError("folder", err)
	}
	if what := known.differs(list); what != "" {
		o.logger.Warn("log is not as it was left at rest: examined", "log", o.tp.String(), "found", what)
		return false, nil
	}
	damaged, named := false, known.unnamed || known.TopicID.IsZero()
	for _, i := range list {
		damaged, named = damaged || i.Name == damageFile, named || i.Name == metadataFile
	}
	if !named {
		o.logger.Warn("log is not as it was left at rest: examined", "log", o.tp.String(), "found", "no "+metadataFile)
		return false, nil
	}
	for i, s := range known.Segments {
		seg := segment.Reopen(o.segmentConfig(s.Base), s.Bytes, s.MaxTimestamp, known.newestAt[i])
		o.segs = append(o.segs, seg)
	}
	if damaged {
		err = o.readDamage()
	}
	if first := o.segs[0].Base(); known.Start < first && o.missing(known.Start) == nil {
		o.start = known.Start // the list of damage was lost
		o.tellHead(first)
	}
	if err == nil {
		err = o.revive(known)
	}
	if err != nil {
		o.logger.Warn("log at rest cannot be woken: examined", "log", o.tp.String(), "error", err)
		o.letGo()
		return false, nil
	}
	return true, nil
}

// differs says what in the folder is not as it was, "" if nothing.
func (r *Rest) differs(list []vfs.Info) string {
	n := 0
	for _, i := range list {
		base, suffix, ok := segment.ParseName(i.Name)
		switch {
		case i.Dir || !ok:
		case strings.HasSuffix(suffix, swapSuffix) || strings.HasSuffix(suffix, cleanedSuffix) || strings.HasSuffix(suffix, deletedSuffix):
			return i.Name
		case suffix != segment.LogSuffix:
		case n == len(r.Segments) || r.Segments[n].Base != base || r.Segments[n].Bytes != i.Size:
			return fmt.Sprintf("%s of %d bytes", i.Name, i.Size)
		default:
			n++
		}
	}
	if n < len(r.Segments) {
		return "a segment less"
	}
	return ""
}

// cutAborted takes out of a segment's list the transactions that were rolled back
// behind the end: a power cut may leave what was added to the list after the rest,
// and nothing of the batches.
func cutAborted(seg *segment.Segment, end int64) error {
	all, err := seg.Aborted()
	n := 0
	for n < len(all) && all[n].Last < end && (n == 0 || all[n].Last > all[n-1].Last) {
		n++
	}
	if err != nil || n == len(all) {
		return err
	}
	return seg.SetAborted(slices.Clone(all[:n]))
}

// revive makes the state of a log of which all segments are as they were.
func (o *opener) revive(known *Rest) error {
	active := o.segs[len(o.segs)-1]
	if err := active.Resume(); err != nil {
		return err
	}
	if err := o.seal(len(o.segs)); err != nil {
		return err
	}
	if err := cutAborted(active, known.End); err != nil {
		return err
	}
	if known.snapshot {
		at, err := o.snaps.load(o.producers, known.End, known.End)
		if err != nil || at != known.End {
			return errors.Join(err, errMalformed)
		}
		o.snapshotAt = known.End
	} else if err := o.producers.decodeTraces(known.producers); err != nil {
		return err
	}
	o.producers.expire(o.home.Safe(o.now()).Add(-o.tunables.Load().ProducerRetention).UnixMilli())
	o.epochs.set(known.Epochs)
	if known.loose {
		o.epochs.touch() // their file may not be there
	}
	l := o.Log
	l.w.firstStamp, l.w.createdAt = known.firstStamp, o.now()
	l.segments.Store(&o.segs)
	l.mu.end, l.mu.size = known.End, active.Size()
	l.mu.unsynced.names, l.mu.unsynced.root, l.mu.unsynced.topicID = known.unnamed, known.unnamed, known.unnamed && !l.id.IsZero()
	l.start.Store(known.Start)
	l.flushed.Store(known.End)
	l.point.Store(known.End)
	l.lastEnd = known.End
	if !known.loose {
		l.closedAt = known.End
	}
	l.loose = known.loose
	o.rec.Clean, o.rec.End = true, known.End
	return nil
}

// letGo gives back the segments of a waking that came to nothing.
func (o *opener) letGo() {
	for _, s := range o.segs {
		s.Close()
	}
	o.segs = nil
	o.producers.reset()
	o.epochs.set(nil)
}

// walk opens a log from its folder. What a manifest may still say of it is taken
// back first.
func (o *opener) walk(id kafka.UUID, known *Rest) error {
	if known != nil {
		if err := o.home.journal.stir(o.Log); err != nil {
			return err
		}
		o.mu.unsynced.stir = true
		o.rec.Clean = false
	}
	o.stirred.Store(true)
	return o.open(id)
}
