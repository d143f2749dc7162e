package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// recover examines what lies above the recovery point, after an owner that did
// not close the log in order, and gives the first segment it examined.
//
//	          recovery point
//	               |
//	trusted ... [ headers | whole batches | first bad batch | rest ]
//	            '- the segments that are examined ---------' '-cut-'
//
// What survives is read from the device, not from memory, after a sync of the
// file: so whatever is accepted is durable, and a page that a failed sync left
// in memory only is not mistaken for data.
//
// What is cut was never acknowledged as durable: everything acknowledged was
// flushed, and so lies before any byte that is missing. Three things are rot, and
// never cut: a bad batch below the recovery point; one above it in a block of
// which everything but some header agrees with its sum, since sums are written of
// durable bytes only; and, if the machine has not restarted, a bad batch that is
// not the torn end of the last write. Rot becomes damage, see [Log.Damage], and
// the rest is served.
//
// Sums above the recovery point are no proof that their bytes are to be kept: a
// truncation, which moves the recovery point first, may have been cut off.
//
// Recovery may be cut off anywhere and begun again: it cuts the sums before the
// data, the last segment first, and changes nothing that it accepts.
func (o *opener) recover() (int, error) {
	// What the manifest says of the log, it must not say once anything is changed.
	if err := (rester{o.Log}).stirForGood(); err != nil {
		return 0, err
	}
	first := o.firstAbove(o.rec.RecoveryPoint)
	for i := first; i < len(o.segs); i++ {
		cut, err := o.examine(i)
		if err != nil {
			return 0, storageError(fmt.Sprintf("segment %d", o.segs[i].Base()), err)
		}
		if cut {
			break
		}
	}
	return first, nil
}

// firstAbove is the first segment that may reach above point: the last one that
// begins below it. One that begins right there may have been made after the point
// was written down, and then nobody has synced the caches of the one before.
func (o *opener) firstAbove(point int64) int {
	i := len(o.segs) - 1
	for i > 0 && o.segs[i].Base() >= point {
		i--
	}
	return i
}

// findMissing looks for segments that are gone from the middle, and for ends that
// are gone of those: each that was sealed says how large it was and which one
// follows.
func (o *opener) findMissing() error {
	for i, seg := range o.segs[:len(o.segs)-1] {
		base := o.segs[i+1].Base()
		if base > o.rec.RecoveryPoint {
			break
		}
		size, next, err := seg.Sealed()
		if err != nil {
			return err
		}
		if next >= 0 && next < base {
			o.damaged(Damage{Segment: next, From: next, To: base, Reason: fileMissing, Found: o.now().UTC()})
		}
		if size > seg.Size() {
			pos, from, err := o.endOf(seg)
			if err != nil {
				return err
			}
			hole := segment.Hole{From: pos, To: seg.Size(), First: from, Next: min(max(next, from), base),
				Reason: fmt.Sprintf("the file ends at %d, it had %d bytes", seg.Size(), size)}
			if pos < seg.Size() {
				_ = seg.Damage(hole) // the damage itself
			} else {
				o.Damaged(seg, hole)
			}
		}
	}
	return nil
}

// endOf gives the position and the offset behind the last whole batch that is
// left of a segment.
func (o *opener) endOf(seg *segment.Segment) (pos, end int64, err error) {
	end = seg.Base()
	blocks, _, err := seg.Blocks()
	if err != nil {
		return 0, 0, err
	}
	for _, b := range blocks {
		if b.End <= seg.Size() {
			end, pos = b.Last+1, b.End
		}
	}
	err = seg.Raw(func(f vfs.File) error {
		err := audit(f, pos, seg.Size(), func(m segment.Mark) error {
			pos, end = m.Position+int64(m.Bytes), m.LastOffset+1
			return nil
		})
		if err = classify(err); errors.Is(err, errDevice) {
			return err
		}
		return nil
	})
	return pos, end, err
}

// examine looks at one segment and cuts it, and all behind it, where that is
// due.
func (o *opener) examine(i int) (cut bool, err error) {
	seg := o.segs[i]
	blocks, torn, err := seg.Blocks()
	if err != nil {
		return false, err
	}
	if err := seg.SyncFromDevice(o.synced(blocks)); err != nil {
		o.home.distrust(o.tp)
		return false, err
	}
	x := examination{opener: o, i: i, seg: seg, blocks: blocks, ceiling: -1}
	if i+1 < len(o.segs) {
		x.ceiling = o.segs[i+1].Base()
	}
	if err := seg.Raw(x.run); err != nil {
		return false, err
	}
	o.rec.ScannedBytes += x.good
	o.rec.RebuiltIndexes++
	if x.cut != nil {
		if err := o.cut(&x); err != nil {
			return false, err
		}
	}
	stale := torn || len(x.blocks) > 0 && x.blocks[len(x.blocks)-1].End > x.good
	if err := seg.Recovered(x.own, stale); err != nil {
		return false, err
	}
	if to := min(x.promised(), o.rec.RecoveryPoint); x.next < to {
		o.damaged(Damage{Segment: seg.Base(), Position: x.good, From: x.next, To: to,
			Reason: "the file ends before batches that were durable", Found: o.now().UTC()})
	}
	if x.leapt { // the one made on the way may know of a batch that leapt ahead and is cut
		return x.cut != nil, seg.Rebuild()
	}
	return x.cut != nil, x.remake.Done()
}

// synced is up to where a segment's bytes are durable and memory shows them as
// they are, by what its sums say of the recovery point: a process that was killed
// leaves memory as it was, and the sync that let the point pass them was no failed
// one, or the machine would count as restarted.
func (o *opener) synced(blocks []segment.Block) (end int64) {
	for _, b := range blocks {
		if o.rec.SameBoot && b.Last < o.rec.RecoveryPoint {
			end = b.End
		}
	}
	return end
}

// zeros tells whether a segment holds nothing but zeros from pos on: a file
// system may have grown the file before the data came.
func (o *opener) zeros(f vfs.File, pos, size int64) bool {
	buf := make([]byte, bodyWindow)
	for pos < size {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-pos)], pos)
		if n == 0 || slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) || err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		pos += int64(n)
	}
	return true
}

// cut takes off what is behind the last good batch, and the segments behind it,
// the last first.
func (o *opener) cut(x *examination) error {
	o.rec.CutFrom = x.next
	o.rec.CutBytes = x.seg.Size() - x.good
	for j := len(o.segs) - 1; j > x.i; j-- {
		o.rec.CutBytes += o.segs[j].Size()
		o.rec.CutSegments++
		if err := o.segs[j].Remove(); err != nil {
			return err
		}
	}
	o.segs = o.segs[:x.i+1]
	if o.rec.CutBytes > 0 {
		o.logger.Warn("log had a torn end, cut off", "log", o.tp.String(), "offset", x.next, "segment", x.seg.Base(),
			"position", x.good, "bytes", o.rec.CutBytes, "segments", o.rec.CutSegments, "same_boot", o.rec.SameBoot, "reason", x.cut)
	}
	if err := x.seg.Cut(x.good); err != nil {
		return err
	}
	return o.fs.SyncDir(o.dir)
}

// readEpochs reads the epoch file. One that is missing or unreadable is made
// anew from the batches.
func (o *opener) readEpochs() error {
	data, err := vfs.ReadFile(o.fs, o.path(epochFile), 64<<20)
	if errors.Is(err, fs.ErrNotExist) {
		o.epochs.touch()
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := parseEpochs(data)
	if err != nil {
		o.logger.Warn("epoch file is unreadable, made anew", "log", o.tp.String(), "error", err)
		o.epochs.touch()
		return nil
	}
	o.epochs.set(entries)
	o.epoch = true
	return nil
}

// state restores epochs and producers. Segments from examined on have lost
// their list of aborted transactions to doubt: it is found again.
func (o *opener) state(end int64, examined int) error {
	o.epochs.dropFrom(end + 1)
	o.epochs.dropBelow(o.start)
	var hidden map[*segment.Segment][]AbortedTxn
	maxOffset := end
	if examined < len(o.segs) {
		maxOffset = o.segs[examined].Base()
		var err error
		if hidden, err = o.clearAborted(examined); err != nil {
			return err
		}
		// Newer snapshots may be right, but the batches are going to be read
		// anyway.
	}
	from, err := o.snaps.load(o.producers, o.segs[0].Base(), maxOffset)
	if err != nil {
		return err
	}
	// Of a small log that ended in order the manifest had the epochs: where it is
	// lost, their file may be older than the snapshot.
	if !o.epoch || o.rec.Clean && (rester{o.Log}).smallOf(o.segs) {
		if err := o.epochsBelow(from); err != nil {
			return err
		}
	}
	if err := o.replay(from, examined); err != nil {
		return err
	}
	if err := o.keepAborted(hidden); err != nil {
		return err
	}
	o.epochs.dropBelow(o.start) // the first segment may begin below the start
	o.producers.expire(o.home.Safe(o.now()).Add(-o.tunables.Load().ProducerRetention).UnixMilli())
	return o.snaps.drop(func(off int64) bool {
		return off > end || off != end && !slices.ContainsFunc(o.segs, func(s *segment.Segment) bool { return s.Base() == off })
	})
}

// epochsBelow finds the epochs of the batches below an offset, from which on they
// are going to be replayed. The producers stay as the snapshot has them: it knows
// of batches that are not there any more.
func (o *opener) epochsBelow(offset int64) error {
	for _, seg := range o.segs {
		if seg.Base() >= offset || seg.Size() == 0 {
			continue
		}
		err := seg.With(func(f vfs.File) error {
			s := newScanner(f, 0, seg.Size())
			for s.Next() || damageIn(s.err) != nil {
				switch {
				case damageIn(s.err) != nil:
					s.skip()
				case s.head.BaseOffset >= offset:
					return nil
				default:
					o.epochs.assign(s.head.LeaderEpoch, s.head.BaseOffset)
				}
			}
			return s.err
		})
		if err != nil {
			return fmt.Errorf("segment %d: %w", seg.Base(), err)
		}
	}
	return nil
}

// clearAborted forgets the lists of the examined segments, but for transactions
// whose abort marker lies in damage: replaying will not find it, and without its
// entry a reader would be shown what was rolled back. Only the list can tell.
func (o *opener) clearAborted(examined int) (map[*segment.Segment][]AbortedTxn, error) {
	hidden := map[*segment.Segment][]AbortedTxn{}
	for _, s := range o.segs[examined:] {
		if holes := s.Holes(); len(holes) > 0 {
			all, err := s.Aborted()
			if err != nil && !errors.Is(err, segment.ErrBadIndex) {
				return nil, err
			}
			for _, a := range all {
				if slices.ContainsFunc(holes, func(h segment.Hole) bool { return h.First <= a.Last && a.Last < h.Next }) {
					hidden[s] = append(hidden[s], a)
				}
			}
		}
		if err := s.ClearAborted(); err != nil {
			return nil, err
		}
	}
	return hidden, nil
}

// keepAborted puts back what clearAborted kept, and ends those transactions. One
// whose commit marker lies in damage stays open: whether it was committed cannot
// be told, so readers of committed data stop before it until somebody decides.
func (o *opener) keepAborted(hidden map[*segment.Segment][]AbortedTxn) error {
	for _, s := range o.segs {
		kept := hidden[s]
		if len(kept) == 0 {
			continue
		}
		all, err := s.Aborted()
		if err != nil {
			return err
		}
		all = append(slices.Clone(all), kept...)
		slices.SortFunc(all, func(a, b AbortedTxn) int { return cmp.Compare(a.Last, b.Last) })
		all = slices.CompactFunc(all, func(a, b AbortedTxn) bool { return a.Last == b.Last })
		if err := s.SetAborted(all); err != nil {
			return err
		}
		for _, a := range kept {
			o.producers.lost(a)
		}
	}
	return nil
}

// replay takes in every batch from an offset on. The examined segments that are
// closed are as if they had been rolled just now: what was made anew beside them
// becomes durable, with the producer state at their ends, before the recovery
// point passes them.
func (o *opener) replay(from int64, examined int) error {
	for i, seg := range o.segs {
		if i+1 < len(o.segs) && o.segs[i+1].Base() <= from {
			continue
		}
		if i > examined && seg.Base() > from { // also of an empty one, which has just been begun
			o.mu.untidy = append(o.mu.untidy, retired{o.segs[i-1], o.producers.encode(seg.Base()), seg.Base()})
		}
		if seg.Size() == 0 {
			continue
		}
		r := reading{segs: o.segs, log: o.Log} // what is found is added to a list that is right
		if _, err := r.abortedIn(i); err != nil {
			return fmt.Errorf("segment %d: %w", seg.Base(), err)
		}
		pos, _, err := seg.Floor(from)
		if err != nil {
			return err
		}
		if o.missing(seg.Base()-1) != nil {
			o.producers.doubt()
		}
		err = seg.Known(func(f vfs.File) error {
			s := newScanner(f, pos, seg.Size())
			for more := true; more; {
				more = s.Onward()
				if s.skipped {
					o.producers.doubt()
					s.skipped = false
				}
				if !more || s.head.LastOffset() < from {
					continue
				}
				if err := o.replayBatch(s, seg); err != nil {
					return err
				}
			}
			return s.err
		})
		if err != nil {
			return fmt.Errorf("segment %d: %w", seg.Base(), err)
		}
	}
	return nil
}

func (o *opener) replayBatch(s *scanner, seg *segment.Segment) error {
	var body []byte
	if s.head.Attributes.Has(record.Control) && s.head.Idempotent() {
		b, err := s.Body()
		if err != nil {
			return err
		}
		body = b
	}
	return o.account(&s.head, body, seg)
}
