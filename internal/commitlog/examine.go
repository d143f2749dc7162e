package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// examination is recovery's look at one segment.
type examination struct {
	*opener
	i       int
	seg     *segment.Segment
	blocks  []segment.Block
	ceiling int64 // offsets from here on are the next segment's; -1 if there is none

	f      vfs.File
	scan   *scanner
	remake *segment.Remake

	good, next         int64 // position and offset behind the last good batch
	leapGood, leapNext int64 // before the last batch that left a gap; -1
	leapt              bool  // such a batch was taken in and then found to be bad
	own                int64 // everything from here on was verified
	cut                error // why to cut at good; nil if that is not due
}

// errDevice says that the device failed to read, which is not damage of the data.
var errDevice = errors.New("the device does not read")

// errAgain says that damage was found before what was taken in already.
var errAgain = errors.New("again")

// maxPasses bounds how often damage without sums makes the examination begin
// anew; then the rest of the segment counts as damaged.
const maxPasses = 64

// promised is the offset below which sums say that the segment was durable.
func (x *examination) promised() int64 {
	if n := len(x.blocks); n > 0 {
		return x.blocks[n-1].Last + 1
	}
	return 0
}

// run walks over the segment until nothing new is found.
func (x *examination) run(f vfs.File) error {
	x.f = f
	for pass := 0; ; pass++ {
		x.good, x.next, x.own = 0, x.seg.Base(), x.seg.Size()
		x.leapGood, x.leapNext, x.leapt = -1, -1, false
		x.scan, x.remake = newScanner(f, 0, x.seg.Size()), x.seg.Remake()
		x.seg.Resum(0)
		err := x.pass(pass >= maxPasses)
		if !errors.Is(err, errAgain) {
			return err
		}
	}
}

// pass goes from the begin of the segment to its end, or to where it is to be
// cut: damage that is known, blocks that have sums, and batches that have none.
func (x *examination) pass(last bool) error {
	for x.good < x.seg.Size() {
		if x.known() {
			continue
		}
		if b := x.block(); b != nil {
			if taken, err := x.take(b); err != nil {
				return err
			} else if taken {
				continue
			}
		}
		bad := x.batch()
		if bad == nil {
			continue
		}
		if errors.Is(bad, errDevice) {
			return bad
		}
		if cut, err := x.judge(bad, last); cut || err != nil {
			return err
		}
	}
	if x.tailLost() {
		x.cut = fmt.Errorf("the next segment begins at %d: %w", x.ceiling, errTorn)
	}
	return nil
}

// tailLost tells whether the segment lacks batches before the next one.
// Compaction leaves such gaps too, but only below the recovery point, and so may
// another program that wrote the directory.
func (x *examination) tailLost() bool {
	return x.ceiling > x.next && x.ceiling > x.rec.RecoveryPoint && x.ceiling-x.next <= math.MaxInt32 && x.home.ours && !x.rec.SameBoot
}

// goOn moves behind a part that is not to be summed or read.
func (x *examination) goOn(to, next int64) {
	x.good, x.next = to, max(x.next, next)
	x.leapGood = -1
	x.scan.reset(x.f, to, x.seg.Size())
	x.seg.Resum(to)
}

// known steps over damage that is known to begin here.
func (x *examination) known() bool {
	for _, h := range x.seg.Holes() {
		if h.From <= x.good && x.good < h.To {
			x.goOn(h.To, h.Next)
			return true
		}
	}
	return false
}

// block is the one with a sum that begins here.
func (x *examination) block() *segment.Block {
	i, ok := slices.BinarySearchFunc(x.blocks, x.good, func(b segment.Block, at int64) int {
		return int(max(min(b.Begin-at, 1), -1))
	})
	if !ok || x.blocks[i].End > x.seg.Size() {
		return nil
	}
	return &x.blocks[i]
}

// take accepts a block: by its headers if it lies below the recovery point, by
// all its bytes if not, or if the headers do not line up with what the sum says.
// It leaves a bad block above the recovery point to those who look at its
// batches, unless all of these hold: then a header is rotten.
func (x *examination) take(b *segment.Block) (taken bool, err error) {
	trusted := b.Last < x.rec.RecoveryPoint
	marks, ok := x.headers(b)
	if !ok || !trusted {
		sum, err := x.seg.Hash(x.f, b.Begin, b.End)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errDevice, err)
		}
		if sum != b.CRC || !ok {
			if !trusted && audit(x.f, b.Begin, b.End, func(segment.Mark) error { return nil }) != nil {
				return false, nil
			}
			x.hole(segment.Hole{From: b.Begin, To: b.End, First: x.next, Next: b.Last + 1,
				Reason: fmt.Sprintf("its bytes have checksum %08x, not %08x", sum, b.CRC)})
			return true, nil
		}
	}
	for _, m := range marks {
		x.remake.Note(m)
	}
	own := x.own
	x.goOn(b.End, b.Last+1)
	switch {
	case trusted:
		x.own = x.seg.Size()
	case own == x.seg.Size():
		x.own = b.Begin
	}
	return true, nil
}

// headers walks over a block's batches: they must follow each other, end where
// the block does and with its last offset.
func (x *examination) headers(b *segment.Block) (marks []segment.Mark, ok bool) {
	s := newScanner(x.f, b.Begin, b.End)
	next := x.next
	for s.Next() {
		if s.head.BaseOffset < next || s.head.LastOffsetDelta < 0 {
			return nil, false
		}
		marks = append(marks, s.mark())
		next = s.head.NextOffset()
	}
	return marks, s.err == nil && next == b.Last+1
}

func (x *examination) hole(h segment.Hole) {
	_ = x.seg.Damage(h) // the damage itself
	x.goOn(h.To, h.Next)
	x.own = x.seg.Size()
}

// batch accepts the batch that begins here, or says what is wrong with it.
//
// A batch's offset lies before its CRC. One that leaps ahead, so that the batch
// behind it seems to step back, is itself the bad one: then good and next move
// back to it.
func (x *examination) batch() error {
	s := x.scan
	if !s.Next() {
		return classify(s.err)
	}
	h := &s.head
	switch {
	case h.BaseOffset < x.seg.Base() || h.LastOffset() < h.BaseOffset || h.LastOffset() == math.MaxInt64 || x.ceiling >= 0 && h.LastOffset() >= x.ceiling:
		return x.outOfOrder()
	case h.BaseOffset < x.next && x.leapGood >= 0 && h.BaseOffset >= x.leapNext:
		bad := x.outOfOrder()
		x.good, x.next, x.leapt = x.leapGood, x.leapNext, true
		return bad
	case h.BaseOffset < x.next:
		return x.outOfOrder()
	}
	body, err := s.Body()
	if err == nil {
		_, err = record.Check(body)
	}
	if err != nil {
		return classify(err)
	}
	if h.BaseOffset > x.next {
		x.leapGood, x.leapNext = x.good, x.next
	}
	m := s.mark()
	x.remake.Note(m)
	x.seg.Sum(body, m)
	if x.own == x.seg.Size() {
		x.own = x.good
	}
	x.good, x.next = s.next, h.NextOffset()
	return nil
}

func (x *examination) outOfOrder() error {
	return fmt.Errorf("batch at %d has offsets %d to %d, after %d: %w",
		x.scan.pos, x.scan.head.BaseOffset, x.scan.head.LastOffset(), x.next-1, kafka.CorruptMessage)
}

// classify tells damage of the data from a device that does not read.
func classify(err error) error {
	var code kafka.Code
	if err == nil || errors.Is(err, errTorn) || errors.As(err, &code) {
		return err
	}
	return fmt.Errorf("%w: %w", errDevice, err)
}

// judge says whether what is bad is to be cut, which ends the pass, or is rot.
// Rot without a sum makes the walk begin anew, with that known.
func (x *examination) judge(bad error, last bool) (cut bool, err error) {
	limit := x.seg.Size()
	if i := slices.IndexFunc(x.blocks, func(b segment.Block) bool { return b.Begin > x.good }); i >= 0 {
		limit = min(limit, x.blocks[i].Begin)
	}
	to, offset := limit, x.next+1
	if !last {
		to, offset = resync(x.f, x.good, limit, x.next)
	}
	if x.next >= x.rec.RecoveryPoint && limit == x.seg.Size() {
		torn := errors.Is(bad, errTorn) && to == limit || x.zeros(x.f, x.good, limit)
		for _, later := range x.segs[x.i+1:] {
			torn = torn && later.Size() == 0
		}
		if torn || !x.rec.SameBoot {
			x.cut = bad
			return true, nil
		}
	}
	if to == limit {
		// Nothing tells how many batches lay there: as many as are promised.
		offset = max(offset, x.promised())
		if limit == x.seg.Size() {
			offset = max(offset, x.ceiling)
			if x.ceiling < 0 {
				offset = max(offset, x.rec.RecoveryPoint)
			}
		}
	}
	_ = x.seg.Damage(segment.Hole{From: x.good, To: to, First: x.next, Next: offset, Reason: bad.Error()})
	return false, errAgain
}
