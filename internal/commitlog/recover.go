package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// recover examines what lies above the recovery point, after an owner that did
// not close the log in order, and gives the first segment it examined.
//
//	          recovery point
//	               |
//	trusted ... [ headers | headers and CRC | first bad batch | rest ]
//	            '- the segments that are examined -' '---- cut -----'
//
// What survives is read from the device, not from memory, after a sync of the
// file: so whatever is accepted is durable, and a page that a failed sync left
// in memory only is not mistaken for data.
//
// What is cut was never acknowledged as durable: everything acknowledged was
// flushed, and so lies before any byte that is missing. There are two exceptions
// that are damage and refused, not cut: a bad batch below the recovery point,
// and, if the machine has not restarted, a bad batch that is not the torn end of
// the last write.
func (o *opener) recover() (int, error) {
	first := o.firstAbove(o.rec.RecoveryPoint)
	for i := first; i < len(o.segs); i++ {
		cut, err := o.examine(i)
		if err != nil {
			return 0, err
		}
		if cut {
			break
		}
	}
	return first, nil
}

// firstAbove is the first segment that may reach above point: the last one that
// begins at or below it.
func (o *opener) firstAbove(point int64) int {
	i := len(o.segs) - 1
	for i > 0 && o.segs[i].Base() > point {
		i--
	}
	return i
}

// examine looks at one segment and cuts it, and all behind it, at the first
// batch that is not whole.
func (o *opener) examine(i int) (cut bool, err error) {
	seg := o.segs[i]
	if err := seg.SyncFromDevice(); err != nil {
		o.home.distrust(o.tp)
		return false, storageError(fmt.Sprintf("segment %d", seg.Base()), err)
	}
	ceiling := int64(-1) // offsets from here on are the next segment's
	if i+1 < len(o.segs) {
		ceiling = o.segs[i+1].Base()
	}
	var good, next int64
	var bad error
	err = seg.With(func(f vfs.File) error {
		good, next, bad = o.examineFile(f, seg, ceiling)
		if errors.Is(bad, errDevice) {
			return bad
		}
		return nil
	})
	if err != nil {
		return false, storageError(fmt.Sprintf("segment %d", seg.Base()), err)
	}
	o.rec.ScannedBytes += good
	o.rec.RebuiltIndexes++
	if bad == nil {
		return false, storageError(fmt.Sprintf("segment %d", seg.Base()), seg.Rebuild())
	}
	if err := o.mayCut(i, good, next, bad); err != nil {
		return false, err
	}
	return true, storageError(fmt.Sprintf("segment %d", seg.Base()), o.cut(i, good, next, bad))
}

// errDevice says that the device failed to read, which is not damage of the data.
var errDevice = errors.New("the device does not read")

// examineFile walks over a segment's batches and gives the position and offset
// after the last good one, and why the next is bad.
//
// A batch's offset lies before its CRC. One that leaps ahead, so that the batch
// behind it seems to step back, is itself the bad one.
func (o *opener) examineFile(f vfs.File, seg *segment.Segment, ceiling int64) (good, next int64, bad error) {
	next = seg.Base()
	leapGood, leapNext := int64(-1), int64(-1) // before the last batch that left a gap
	s := newScanner(f, 0, seg.Size())
	for s.Next() {
		h := &s.head
		switch {
		case h.BaseOffset < seg.Base() || h.LastOffset() < h.BaseOffset || h.LastOffset() == math.MaxInt64 || ceiling >= 0 && h.LastOffset() >= ceiling:
			return good, next, outOfOrder(s, next)
		case h.BaseOffset < next && leapGood >= 0 && h.BaseOffset >= leapNext:
			return leapGood, leapNext, outOfOrder(s, next)
		case h.BaseOffset < next:
			return good, next, outOfOrder(s, next)
		case h.BaseOffset > next:
			leapGood, leapNext = good, next
		}
		if h.LastOffset() >= o.rec.RecoveryPoint {
			body, err := s.Body()
			if err == nil {
				_, err = record.Check(body)
			}
			if err != nil {
				return good, next, classify(err)
			}
		}
		good, next = s.next, h.NextOffset()
	}
	if s.err == nil && o.tailLost(next, ceiling) {
		return good, next, fmt.Errorf("the next segment begins at %d: %w", ceiling, errTorn)
	}
	return good, next, classify(s.err)
}

func outOfOrder(s *scanner, next int64) error {
	return fmt.Errorf("batch at %d has offsets %d to %d, after %d: %w",
		s.pos, s.head.BaseOffset, s.head.LastOffset(), next-1, kafka.CorruptMessage)
}

// tailLost tells whether a segment that ends with next lacks batches before the
// next segment. Compaction leaves such gaps too, but only below the recovery
// point, and so may another program that wrote the directory.
func (o *opener) tailLost(next, ceiling int64) bool {
	return ceiling > next && ceiling > o.rec.RecoveryPoint && ceiling-next <= math.MaxInt32 && o.home.ours && !o.rec.SameBoot
}

// classify tells damage of the data from a device that does not read.
func classify(err error) error {
	var code kafka.Code
	if err == nil || errors.Is(err, errTorn) || errors.As(err, &code) {
		return err
	}
	return fmt.Errorf("%w: %w", errDevice, err)
}

// mayCut says whether what is bad may be cut off.
func (o *opener) mayCut(i int, good, next int64, bad error) error {
	seg := o.segs[i]
	damaged := func(what string) error {
		return fmt.Errorf("segment %d is damaged at position %d, offset %d, %s; nothing was changed: %w: %w",
			seg.Base(), good, next, what, kafka.KafkaStorageError, bad)
	}
	if next < o.rec.RecoveryPoint {
		return damaged(fmt.Sprintf("below the recovery point %d", o.rec.RecoveryPoint))
	}
	torn := errors.Is(bad, errTorn) || o.zeros(seg, good)
	for _, later := range o.segs[i+1:] {
		torn = torn && later.Size() == 0
	}
	if o.rec.SameBoot && !torn {
		return damaged("though the machine has not restarted")
	}
	return nil
}

// zeros tells whether a segment holds nothing but zeros from pos on: a file
// system may have grown the file before the data came.
func (o *opener) zeros(seg *segment.Segment, pos int64) bool {
	clean := true
	err := seg.With(func(f vfs.File) error {
		buf := make([]byte, bodyWindow)
		for pos < seg.Size() && clean {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), seg.Size()-pos)], pos)
			if n == 0 {
				return err
			}
			clean = !slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 })
			pos += int64(n)
		}
		return nil
	})
	return clean && err == nil
}

// cut takes off what is behind position good of segment i, and the segments
// behind it, the last first.
func (o *opener) cut(i int, good, next int64, bad error) error {
	seg := o.segs[i]
	o.rec.CutFrom = next
	o.rec.CutBytes = seg.Size() - good
	for j := len(o.segs) - 1; j > i; j-- {
		o.rec.CutBytes += o.segs[j].Size()
		o.rec.CutSegments++
		if err := o.segs[j].Remove(); err != nil {
			return err
		}
	}
	o.segs = o.segs[:i+1]
	if o.rec.CutBytes > 0 {
		o.logger.Warn("log had a torn end, cut off", "log", o.tp.String(), "offset", next, "segment", seg.Base(),
			"position", good, "bytes", o.rec.CutBytes, "segments", o.rec.CutSegments, "same_boot", o.rec.SameBoot, "reason", bad)
	}
	if err := seg.Truncate(good); err != nil {
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
	maxOffset := end
	if examined < len(o.segs) {
		maxOffset = o.segs[examined].Base()
		for _, s := range o.segs[examined:] {
			if err := s.ClearAborted(); err != nil {
				return err
			}
		}
		// Newer snapshots may be right, but the batches are going to be read
		// anyway.
	}
	from, err := o.snaps.load(o.producers, o.segs[0].Base(), maxOffset)
	if err != nil {
		return err
	}
	if !o.epoch {
		from = o.segs[0].Base()
		o.producers.reset()
	}
	if err := o.replay(from, examined); err != nil {
		return err
	}
	o.producers.expire(o.now().Add(-o.tunables.Load().ProducerRetention).UnixMilli())
	return o.snaps.drop(func(off int64) bool {
		return off > end || off != end && !slices.ContainsFunc(o.segs, func(s *segment.Segment) bool { return s.Base() == off })
	})
}

// replay takes in every batch from an offset on. At the begin of each examined
// segment it writes the snapshot that rolling would have written.
func (o *opener) replay(from int64, examined int) error {
	for i, seg := range o.segs {
		if i+1 < len(o.segs) && o.segs[i+1].Base() <= from || seg.Size() == 0 {
			continue
		}
		if i > examined && seg.Base() > from {
			if err := vfs.WriteAtomic(o.fs, o.snaps.name(seg.Base()), o.producers.encode(seg.Base())); err != nil {
				return err
			}
		}
		pos, _, err := seg.Floor(from)
		if err != nil {
			return err
		}
		err = seg.With(func(f vfs.File) error {
			s := newScanner(f, pos, seg.Size())
			for s.Next() {
				if s.head.LastOffset() < from {
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
