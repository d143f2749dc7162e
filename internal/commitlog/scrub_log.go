package commitlog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// logScrub is the scrubber at one open log. It reads without a lock, so whatever
// it finds is looked at once more with tidying held, which keeps truncation,
// retention and compaction away. Where the log was cut off since the look at a
// segment began, nothing is believed: at the old positions there may be other
// batches now, which begin and end elsewhere.
type logScrub struct {
	*Scrubber
	ctx  context.Context
	l    *Log
	cuts int // of the log, when the look at this segment began
}

func (x *logScrub) run() error {
	for i, seg := range *x.l.segments.Load() {
		if seg.Base() <= x.at.Segment {
			continue
		}
		segs := *x.l.segments.Load()
		j := slices.Index(segs, seg)
		if j < 0 {
			continue // deleted or replaced meanwhile; what took its place has its turn next time
		}
		if err := x.segment(segs, j); err != nil {
			if !errors.Is(err, fs.ErrClosed) {
				return err
			}
		}
		if x.ctx.Err() != nil {
			return x.ctx.Err()
		}
		if i+1 < len(segs) {
			x.at.Segment = seg.Base()
		}
	}
	return errors.Join(x.snapshots(), x.epochs())
}

// segment looks at the data of a segment up to where it is durable, and if it is
// closed at its caches.
func (x *logScrub) segment(segs []*segment.Segment, i int) error {
	seg := segs[i]
	closed := i+1 < len(segs)
	x.cuts = x.cutsNow()
	size := seg.Durable()
	blocks, _, err := seg.Blocks()
	if err != nil {
		return err
	}
	blocks = slices.DeleteFunc(blocks, func(b segment.Block) bool { return b.End > size })
	var all []segment.Block // as they will be, if all is well
	whole, at, first := true, int64(0), seg.Base()
	err = seg.Raw(func(raw vfs.File) error {
		f := &pacedFile{raw, x.ctx, x.Scrubber}
		for _, b := range blocks {
			more, ok, err := x.gap(f, seg, at, b.Begin)
			if err != nil {
				return err
			}
			all, whole = append(append(all, more...), b), whole && ok
			good, err := x.block(f, seg, b, first)
			if err != nil {
				return err
			}
			whole = whole && good
			at, first = b.End, b.Last+1
		}
		more, ok, err := x.gap(f, seg, at, size)
		all, whole = append(all, more...), whole && ok
		return err
	})
	if err != nil || !closed {
		return err
	}
	if whole && len(all) > len(blocks) && !x.l.home.noSums {
		if err := x.locked(seg, func(segs []*segment.Segment, i int) error {
			x.mended.Add(1)
			return seg.SetSums(all, segs[i+1].Base())
		}); err != nil {
			return err
		}
	}
	return x.caches(seg)
}

// block compares a block with its sum. One that is known to be damaged, and is
// right again, is damaged no longer.
func (x *logScrub) block(f vfs.File, seg *segment.Segment, b segment.Block, first int64) (good bool, err error) {
	sum, err := hashFile(f, b.Begin, b.End)
	if err != nil {
		return false, err
	}
	hole := slices.IndexFunc(seg.Holes(), func(h segment.Hole) bool { return h.From == b.Begin && h.To == b.End })
	switch {
	case sum == b.CRC && hole >= 0:
		return true, x.locked(seg, func([]*segment.Segment, int) error {
			seg.Heal(segment.Hole{From: b.Begin, To: b.End})
			x.l.forgetDamage(func(d Damage) bool {
				return d.Segment == seg.Base() && d.Position == b.Begin && d.Bytes == b.End-b.Begin
			})
			x.l.logger.Info("damaged part of a log reads well again", "log", x.l.tp.String(), "segment", seg.Base(), "position", b.Begin)
			return nil
		})
	case sum == b.CRC:
		return true, nil
	case hole >= 0:
		return false, nil
	}
	return false, x.locked(seg, func([]*segment.Segment, int) error {
		now, _, err := seg.Blocks()
		if err != nil || !slices.Contains(now, b) {
			return err // truncated meanwhile
		}
		return seg.Confirm(b, first)
	})
}

// gap looks at batches that have no sum, and gives sums of them.
func (x *logScrub) gap(f vfs.File, seg *segment.Segment, from, to int64) (made []segment.Block, ok bool, err error) {
	ok = true
	for at := from; at < to; {
		if i := slices.IndexFunc(seg.Holes(), func(h segment.Hole) bool { return h.From <= at && at < h.To }); i >= 0 {
			at, ok = seg.Holes()[i].To, false
			continue
		}
		end := to
		for _, h := range seg.Holes() {
			if h.From > at {
				end = min(end, h.From)
			}
		}
		sums := seg.Summer(at)
		bad := auditBodies(f, at, end, func(m segment.Mark, b []byte) error {
			sums.Add(b, m)
			at = m.Position + int64(m.Bytes)
			return nil
		})
		made = append(made, sums.Blocks()...)
		if bad == nil {
			continue
		}
		if bad = classify(bad); errors.Is(bad, errDevice) {
			return nil, false, bad
		}
		ok = false
		before := len(seg.Holes())
		err := x.locked(seg, func([]*segment.Segment, int) error { return seg.ConfirmGap(at, to) })
		if err != nil || len(seg.Holes()) == before {
			return nil, false, err // it was being changed
		}
	}
	return made, ok, nil
}

// cutsNow is how often the end of the log was moved back.
func (x *logScrub) cutsNow() int {
	x.l.tidying.lock()
	defer x.l.tidying.unlock()
	return x.l.cuts // who changes it holds tidying too
}

// locked runs do while nobody takes anything away from the log, if the segment
// is still there and the log was not cut off.
func (x *logScrub) locked(seg *segment.Segment, do func(segs []*segment.Segment, i int) error) error {
	x.l.tidying.lock()
	defer x.l.tidying.unlock()
	segs := *x.l.segments.Load()
	i := slices.Index(segs, seg)
	if i < 0 || x.l.cuts != x.cuts || x.l.Failed() != nil {
		return nil
	}
	return do(segs, i)
}

// caches compares the index files with the seal.
func (x *logScrub) caches(seg *segment.Segment) error {
	return x.locked(seg, func(segs []*segment.Segment, i int) error {
		mended, aborted, err := seg.MendIndexes()
		if err == nil && aborted {
			mended = true
			r := reading{segs: segs, log: x.l}
			_, err = r.findAborted(i)
		}
		if mended && err == nil {
			x.mended.Add(1)
			x.l.logger.Warn("index of a segment was wrong, made anew", "log", x.l.tp.String(), "segment", seg.Base())
		}
		return err
	})
}

// snapshots takes producer snapshots away that are not as they were written:
// whoever opens the log goes by the one before.
func (x *logScrub) snapshots() error {
	x.l.tidying.lock()
	defer x.l.tidying.unlock()
	if x.l.Failed() != nil {
		return nil //nolint:nilerr // closed meanwhile
	}
	offsets, err := x.l.snaps.list()
	if err != nil {
		return err
	}
	for _, off := range offsets {
		data, err := vfs.ReadFile(x.l.fs, x.l.snaps.name(off), maxSnapshot)
		if err == nil {
			err = newProducerState().decode(data)
		}
		if errors.Is(err, errMalformed) {
			x.l.logger.Warn("producer snapshot is unreadable, removed", "log", x.l.tp.String(), "offset", off, "error", err)
			x.mended.Add(1)
			err = x.l.fs.Remove(x.l.snaps.name(off))
		}
		if err = ignoreGone(err); err != nil {
			return err
		}
	}
	return nil
}

// epochs lets the epoch file be written anew if it is not what the log knows.
func (x *logScrub) epochs() error {
	x.l.tidying.lock()
	defer x.l.tidying.unlock()
	if _, _, unsaved := x.l.epochs.unsaved(); unsaved || x.l.Failed() != nil {
		return nil //nolint:nilerr // closed meanwhile
	}
	data, err := vfs.ReadFile(x.l.fs, x.l.path(epochFile), 64<<20)
	if err != nil {
		return ignoreGone(err)
	}
	have, err := parseEpochs(data)
	if err == nil && slices.Equal(have, x.l.epochs.all()) {
		return nil
	}
	x.l.logger.Warn("epoch file was wrong, made anew", "log", x.l.tp.String(), "error", err)
	x.mended.Add(1)
	x.l.epochs.touch()
	return x.l.saveEpochs()
}

// note keeps what was found in a log that nobody has open, for who opens it.
func (s *Scrubber) note(tp kafka.TopicPartition, dir string, base int64, found []Problem) error {
	var fresh []Damage
	h := s.cfg.Home
	for _, p := range found {
		if p.Repairable { // whoever opens the log makes it anew
			s.cfg.Logger.Info("a cache of a closed log is wrong", "log", tp.String(), "file", p.File, "what", p.What)
			continue
		}
		if p.To <= p.From {
			continue // it concerns no offsets
		}
		d := Damage{Segment: base, Position: p.Position, Bytes: p.Bytes, From: p.From, To: p.To, Reason: p.What, Found: s.cfg.Now().UTC()}
		if b, _, ok := segment.ParseName(p.File); ok {
			d.Segment = b
		}
		size, _, err := fileSize(h.fs, path.Join(dir, segment.Name(d.Segment, segment.LogSuffix)))
		if err != nil {
			return err
		}
		d.Bytes = max(min(d.Bytes, size-d.Position), 0)
		fresh = append(fresh, d)
	}
	if len(fresh) == 0 {
		return nil
	}
	h.harm.lock()
	defer h.harm.unlock()
	all, err := ReadDamage(h.fs, dir)
	if err != nil && !errors.Is(err, errMalformed) {
		return err
	}
	for _, d := range fresh {
		if slices.ContainsFunc(all, func(k Damage) bool { return k.Segment == d.Segment && k.Position == d.Position }) {
			continue
		}
		all = append(all, d)
		s.damaged.Add(1)
		s.cfg.Logger.Error("log is damaged; the rest of it is served", "topic", tp.Topic, "partition", tp.Partition, "from", d.From,
			"to", d.To, "file", fmt.Sprintf("%s/%s", dir, segment.Name(d.Segment, segment.LogSuffix)), "position", d.Position, "bytes", d.Bytes, "reason", d.Reason)
		if h.onDamage != nil {
			h.onDamage(tp, d)
		}
	}
	slices.SortFunc(all, compareDamage)
	if err := writeDamage(h.fs, dir, all); err != nil {
		return err
	}
	h.journal.damaged(tp, len(all))
	return nil
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// hashFile is the checksum of bytes of a file.
func hashFile(f vfs.File, from, to int64) (uint32, error) {
	buf := make([]byte, min(bodyWindow, to-from))
	sum := uint32(0)
	for from < to {
		p := buf[:min(int64(len(buf)), to-from)]
		n, err := f.ReadAt(p, from)
		if n < len(p) {
			return sum, fmt.Errorf("%d bytes at %d: %w", len(p), from, err)
		}
		sum = crc32.Update(sum, castagnoli, p)
		from += int64(n)
	}
	return sum, nil
}
