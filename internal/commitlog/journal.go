package commitlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// journal is the manifest as a home keeps it: written whole now and then, and in
// between what changes is put behind.
//
// A log comes to rest in memory first, which needs no file call; the operation
// goes to the file with the next that must. Before a resting log changes it is
// stirred: that is in the file before the change is, and durable before anything
// of the change counts as durable. So a manifest never praises a log that has
// moved on, whenever the process or the machine dies; at worst it says nothing.
type journal struct {
	home    *Home
	turn    slot      // whoever writes; held over I/O
	syncing *group    // its run syncs the file
	file    vfs.File  // nil: there is no manifest; the turn's
	end     int64     // where the next frame goes; the turn's
	whole   int64     // bytes of it that were written at once; the turn's
	crc     uint32    // of the last frame; the turn's
	stale   bool      // what it says of the machine's run is out of date; the turn's
	failed  error     // a manifest is there that cannot be changed; the turn's
	sums    [2]uint32 // CRC-32C of both checkpoint files; the turn's
	scratch []byte    // the turn's

	polished atomic.Int64 // logs that were, see rester.polish
	summed   atomic.Int64 // small logs whose checksums were written since the last checkpoint began
}

// recorded is the part of it that is memory only, under the home's mutex.
type recorded struct {
	rest   map[kafka.TopicPartition]resting
	hurt   map[kafka.TopicPartition]int  // damaged ranges of those of rest that have some
	gone   map[kafka.TopicPartition]bool // forgotten, which the file may not say yet
	writer manifestWriter
	kept   bool                   // there is a file, so operations are worth making
	late   []kafka.TopicPartition // while it is written anew: what came to rest meanwhile
}

// load reads what the last owner left. A manifest that is missing or
// wrong, or older than what somebody else did here, costs a walk, no more.
func (j *journal) load(h *Home) error {
	j.home = h
	j.syncing = newGroup(j.sync)
	h.mu.rest, h.mu.hurt = map[kafka.TopicPartition]resting{}, map[kafka.TopicPartition]int{}
	h.mu.gone = map[kafka.TopicPartition]bool{}
	if err := j.sumCheckpoints(); err != nil {
		return err
	}
	data, err := vfs.ReadFile(h.fs, h.join(manifestFile), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := parseManifest(data)
	if err == nil {
		err = j.fits(m)
		h.sworn, h.foreign = err == nil, err != nil
	}
	if err == nil {
		j.file, err = h.fs.Open(h.join(manifestFile), vfs.ReadWrite)
	}
	if err != nil {
		h.logger.Warn("manifest is not used, logs are walked", "error", err)
		return h.fs.Remove(h.join(manifestFile))
	}
	if !h.sameBoot || m.boot != bootID(h) {
		for tp, r := range m.logs {
			r.doubt()
			m.logs[tp] = r
		}
		j.stale = true
	}
	j.end, j.whole, j.crc = m.good, m.good, m.crc
	h.mu.rest, h.mu.writer, h.mu.kept = m.logs, m.writer(), true
	for tp, r := range m.logs {
		h.mu.put(tp, r)
	}
	if m.good == int64(len(data)) && m.version == manifestVersion {
		return nil
	}
	// What lies behind a torn frame could fit the chain again once another frame
	// like that one stands in its place: nothing is put behind this, nor behind
	// what an older version began. Where there is no room, there is no manifest.
	if err := j.renew(); err != nil {
		h.logger.Warn("manifest is not kept up, the next start may take longer", "dir", h.path, "error", err)
	}
	return nil
}

// put notes that a log is at rest, drop that it is not.
func (r *recorded) put(tp kafka.TopicPartition, known resting) {
	r.rest[tp] = known
	if n := known.damaged(); n > 0 {
		r.hurt[tp] = n
	} else {
		delete(r.hurt, tp)
	}
}

func (r *recorded) drop(tp kafka.TopicPartition) {
	delete(r.rest, tp)
	delete(r.hurt, tp)
}

// note makes the operation that says what is known of a log at rest.
func (r *recorded) note(tp kafka.TopicPartition, known resting) {
	r.put(tp, known)
	if r.kept {
		r.writer.rest(tp, known)
	}
	if r.late != nil {
		r.late = append(r.late, tp)
	}
}

// sumCheckpoints notes how the checkpoint files are.
func (j *journal) sumCheckpoints() error {
	h := j.home
	for i, name := range []string{pointFile, startFile} {
		data, err := vfs.ReadFile(h.fs, h.join(name), maxCheckpoint)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		j.sums[i] = crc32.Checksum(data, castagnoli)
	}
	return nil
}

// fits tells whether the checkpoint files are those that the manifest knows: if
// not, another program worked here since.
func (j *journal) fits(m *manifest) error {
	for i, have := range j.sums {
		if have != m.points[0][i] && have != m.points[1][i] {
			return fmt.Errorf("%s: the checkpoints are not those it was written with: %w", manifestFile, errMalformed)
		}
	}
	return nil
}

// Resting tells what is known of a log that is at rest, open or not, without a
// file call; false if it is not at rest.
func (h *Home) Resting(tp kafka.TopicPartition) (*Rest, bool) {
	h.mu.Lock()
	r, ok := h.mu.rest[tp]
	h.mu.Unlock()
	if !ok {
		return nil, false
	}
	known, err := r.decode()
	return known, err == nil
}

// RestsAs tells whether a log is at rest and of that topic id.
func (h *Home) RestsAs(tp kafka.TopicPartition, id kafka.UUID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.mu.rest[tp]
	return ok && r.id == id
}

// RestingLogs lists the logs that are at rest, sorted.
func (h *Home) RestingLogs() []kafka.TopicPartition {
	h.mu.Lock()
	list := slices.Collect(maps.Keys(h.mu.rest))
	h.mu.Unlock()
	slices.SortFunc(list, kafka.TopicPartition.Compare)
	return list
}

// rested notes that a log is at rest. It makes no file call.
func (j *journal) rested(l *Log, known *Rest) {
	h := j.home
	h.mu.Lock()
	defer h.mu.Unlock()
	known.damaged = len(l.Damage()) // what is seen from here on, damaged notes
	h.mu.note(l.tp, resting{id: l.id, facts: known.encode()})
}

// damaged notes how many damaged ranges a log has; nothing if it is not at rest.
// The turn keeps it from praising a log that is being stirred.
func (j *journal) damaged(tp kafka.TopicPartition, ranges int) {
	h := j.home
	j.turn.lock()
	defer j.turn.unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.mu.rest[tp]
	if !ok || r.damaged() == ranges {
		return
	}
	known, err := r.decode()
	if err != nil {
		return // nobody is going to believe it
	}
	known.damaged = ranges
	h.mu.note(tp, resting{id: r.id, facts: known.encode()})
}

// stir notes that a log is going to change, in the file too: on return a process
// that dies leaves no word of its rest. That the machine may die, [Log.Flush]
// sees to.
func (j *journal) stir(l *Log) error {
	h := j.home
	j.turn.lock()
	defer j.turn.unlock()
	h.mu.Lock()
	_, had := h.mu.rest[l.tp]
	if had && h.mu.kept {
		h.mu.writer.stir(l.tp, l.id)
	}
	h.mu.Unlock()
	if !had {
		return nil
	}
	if j.failed != nil { // perhaps it goes by now
		if err := j.drop(); err != nil {
			return storageError(manifestFile, err)
		}
	}
	if err := j.record(); err != nil {
		return storageError(manifestFile, err)
	}
	h.mu.Lock()
	h.mu.drop(l.tp)
	h.mu.Unlock()
	return nil
}

// forget drops what is known of a log that is gone. A manifest that still
// tells of it does no harm until another of its name is made, see unearth.
func (j *journal) forget(tp kafka.TopicPartition) {
	h := j.home
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.mu.rest[tp]; ok {
		h.mu.drop(tp)
		h.mu.gone[tp] = true
		if h.mu.kept {
			h.mu.writer.stir(tp, r.id)
		}
	}
}

// unearth makes durable that a log was forgotten, before another of its name is
// made: it may have the same topic id, if the partition was elsewhere meanwhile.
func (j *journal) unearth(tp kafka.TopicPartition) error {
	h := j.home
	h.mu.Lock()
	gone := h.mu.gone[tp]
	h.mu.Unlock()
	if !gone {
		return nil
	}
	j.turn.lock()
	err := j.record()
	j.turn.unlock()
	if err == nil {
		err = j.syncing.do()
	}
	if err != nil {
		return storageError(manifestFile, err)
	}
	h.mu.Lock()
	delete(h.mu.gone, tp)
	h.mu.Unlock()
	return nil
}

// write puts what is recorded behind the file. The caller has the turn.
func (j *journal) write() error {
	h := j.home
	h.mu.Lock()
	body := h.mu.writer.body
	h.mu.writer.body = nil
	h.mu.Unlock()
	if j.file == nil || len(body) == 0 {
		return nil
	}
	out, crc := appendFrame(j.scratch[:0], j.crc, body)
	j.scratch = out[:0]
	if cap(out) > manifestFrame {
		j.scratch = nil
	}
	if _, err := j.file.WriteAt(out, j.end); err != nil {
		h.mu.Lock() // to be tried again, at the same place
		h.mu.writer.body = append(body, h.mu.writer.body...)
		h.mu.Unlock()
		return err
	}
	j.end += int64(len(out))
	j.crc = crc
	return nil
}

// sync makes durable what is in the file. It is the run of a group: see
// renew for why the file stays open meanwhile.
func (j *journal) sync() error {
	j.turn.lock()
	f := j.file
	var err error
	if j.failed != nil { // perhaps it goes by now; until then it praises what was stirred
		err = j.drop()
	}
	j.turn.unlock()
	if f == nil || err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		return nil
	}
	// The file is at its end. Once it is gone, nothing rests on it.
	j.turn.lock()
	defer j.turn.unlock()
	j.home.logger.Warn("the manifest cannot be made durable and is dropped", "dir", j.home.path, "error", err)
	if j.file == f || j.failed != nil {
		return j.drop()
	}
	return nil
}

// announce writes down, durably, how both checkpoint files are going to be.
func (j *journal) announce(points, starts []byte) error {
	h := j.home
	j.turn.lock()
	j.sums = [2]uint32{crc32.Checksum(points, castagnoli), crc32.Checksum(starts, castagnoli)}
	h.mu.Lock()
	if h.mu.kept {
		h.mu.writer.points(j.sums[0], j.sums[1])
	}
	h.mu.Unlock()
	err := j.record()
	j.turn.unlock()
	if err == nil {
		err = j.syncing.do()
	}
	return storageError(manifestFile, err)
}

// record is write for what must not wait for room: where the disk is full, there
// is no manifest rather than one that is out of date. The caller has the turn.
func (j *journal) record() error {
	err := j.home.relieved(j.write)
	if !vfs.IsNoSpace(err) {
		return err
	}
	j.home.logger.Warn("no manifest while the disk is full, the next start may take longer", "dir", j.home.path)
	return j.drop()
}

// keep brings the file up to date: what is recorded goes behind it, or,
// when that has become more than was worth keeping, all is written anew. Only a
// clean end depends on its success. It runs under the turn of saving.
func (j *journal) keep() error {
	j.turn.lock()
	var err error
	anew := j.file == nil || j.stale || j.end > 2*j.whole+4<<20
	if !anew {
		err = j.write()
	}
	j.turn.unlock()
	if anew {
		err = j.renew()
	}
	return err
}

// renew writes the manifest whole. Whoever syncs the old file is waited
// for.
func (j *journal) renew() error {
	h := j.home
	j.syncing.turn <- struct{}{}
	defer func() { <-j.syncing.turn }()
	j.turn.lock()
	defer j.turn.unlock()
	w := newManifestWriter(bootID(h))
	w.points(j.sums[0], j.sums[1])
	h.mu.Lock()
	out, crc, logs := h.mu.encode(&w)
	gone := maps.Clone(h.mu.gone)        // they are not in it
	h.mu.late = []kafka.TopicPartition{} // what comes to rest from here on is not in out
	h.mu.Unlock()
	if logs == 0 && j.file == nil {
		return nil // nothing to keep
	}
	old := j.file
	err := vfs.WriteAtomic(h.fs, h.join(manifestFile), out)
	if err == nil {
		j.file, err = h.fs.Open(h.join(manifestFile), vfs.ReadWrite)
	}
	h.mu.Lock()
	late := h.mu.late
	h.mu.late = nil
	h.mu.writer, h.mu.kept = w, err == nil
	for _, tp := range late {
		if r, ok := h.mu.rest[tp]; ok && err == nil {
			h.mu.writer.rest(tp, r)
		}
	}
	if err == nil {
		maps.DeleteFunc(h.mu.gone, func(tp kafka.TopicPartition, _ bool) bool { return gone[tp] })
	}
	h.mu.Unlock()
	if err != nil {
		j.file = old
		return errors.Join(err, j.drop())
	}
	if old != nil {
		_ = old.Close() // nothing in it counts any more
	}
	j.end, j.whole, j.crc, j.stale = int64(len(out)), int64(len(out)), crc, false
	return nil
}

// encode makes the frames of a whole manifest.
func (r *recorded) encode(w *manifestWriter) (out []byte, crc uint32, logs int) {
	list := slices.Collect(maps.Keys(r.rest))
	slices.SortFunc(list, kafka.TopicPartition.Compare)
	for _, tp := range list {
		w.rest(tp, r.rest[tp])
		if len(w.body) >= manifestFrame {
			out, crc = appendFrame(out, crc, w.body)
			w.body = w.body[:0]
		}
	}
	if len(w.body) > 0 {
		out, crc = appendFrame(out, crc, w.body)
	}
	w.body = nil
	return out, crc, len(list)
}

// drop takes the file away for good after it could not be replaced: it
// might praise what is going to change. If even that fails nothing at rest may
// change. The caller has the turn.
func (j *journal) drop() error {
	h := j.home
	if j.file != nil {
		_ = j.file.Close() // nothing in it counts any more
	}
	j.file, j.failed = nil, nil
	h.mu.Lock()
	h.mu.kept = false
	h.mu.Unlock()
	err := h.fs.Remove(h.join(manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = h.fs.SyncDir(h.path)
	}
	j.failed = err
	return err
}

// close ends the keeping; with clean, what is in the file is durable.
func (j *journal) close(clean bool) error {
	if j.home == nil {
		return nil // it did not come to that
	}
	var err error
	if clean {
		err = errors.Join(j.keep(), j.syncing.do())
	}
	j.turn.lock()
	defer j.turn.unlock()
	if f := j.file; f != nil {
		j.file = nil
		err = errors.Join(err, f.Close())
	}
	return err
}
