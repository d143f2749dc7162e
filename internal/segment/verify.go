package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Hole is a damaged part of a segment: bytes that are not what was written.
type Hole struct {
	From, To    int64 // positions: [From, To), both at batch boundaries
	First, Next int64 // offsets that lie in it: [First, Next)
	Reason      string
}

// DamageError says that what was asked for lies in a hole; it wraps
// CORRUPT_MESSAGE. What lies behind is readable from To on.
type DamageError struct {
	Base int64 // of the segment
	Hole
}

// Error is error's.
func (e *DamageError) Error() string {
	return fmt.Sprintf("segment %d is damaged from position %d to %d, offsets %d to %d: %s",
		e.Base, e.From, e.To, e.First, e.Next-1, e.Reason)
}

// Unwrap gives the code that clients see.
func (e *DamageError) Unwrap() error { return kafka.CorruptMessage }

// Watcher hears of damage when it is first seen, on the goroutine of whoever
// read it.
type Watcher interface{ Damaged(*Segment, Hole) }

// guard is the part of a segment that lets nobody have bytes which were neither
// written nor verified by this process:
//
//	0 ......... upTo ......... own ......... size
//	  verified       by block      written here
//
// A reader below upTo or from own on pays for one comparison.
type guard struct {
	seg    *Segment
	own    atomic.Int64 // from here on this process wrote or verified everything
	upTo   atomic.Int64 // below here everything is verified
	loaded atomic.Pointer[checked]
	holes  atomic.Pointer[[]Hole]
	loose  atomic.Pointer[[]stretch] // verified though no block covers it
}

// stretch is a part of a segment, from a batch to the end of a batch.
type stretch struct{ from, to int64 }

// maxStretches is how many are remembered; what is more is verified again.
const maxStretches = 64

// checked are the sums of the part below own, and which of them held.
type checked struct {
	blocks []block
	seen   []atomic.Uint32 // a bit for each block
}

func (c *checked) memory() int { return 16*cap(c.blocks) + 4*len(c.seen) }

func (c *checked) held(i int) bool { return c.seen[i/32].Load()&(1<<(i%32)) != 0 }

// find gives the first block that ends behind position at.
func (c *checked) find(at int64) int {
	return sort.Search(len(c.blocks), func(i int) bool { return int64(c.blocks[i].end) > at })
}

// drop is the cache's eviction: what was verified is verified again if it is
// read again.
func (g *guard) drop() { g.loaded.Store(nil) }

// forgetStretches is for who changes the bytes.
func (g *guard) forgetStretches() { g.loose.Store(nil) }

// touched gives how far [from, to) may be read: to, or where the first damage
// in it begins, with the [*DamageError] if that is at from.
func (g *guard) touched(from, to int64) (int64, error) {
	if g.free(from, to) {
		return to, nil
	}
	for at := from; at < to; {
		next, err := g.step(at, to)
		if err != nil {
			if damage := new(DamageError); at > from && errors.As(err, &damage) {
				return at, nil
			}
			return at, err
		}
		at = next
	}
	return to, nil
}

// free tells whether [from, to) may be read as it is. This is all that verifying
// costs a reader of what is verified.
func (g *guard) free(from, to int64) bool {
	return g.holes.Load() == nil && (from >= g.own.Load() || to <= g.upTo.Load() || g.seg.cfg.NoSums)
}

// Touch verifies all of the segment that is not known to be good, which notes
// what damage there is. An error is the device's.
func (g *guard) Touch() error {
	for at, size := int64(0), g.seg.Size(); at < size; {
		next, err := g.step(at, size)
		damage := new(DamageError)
		switch {
		case errors.As(err, &damage):
			next = damage.To
		case err != nil:
			return err
		}
		at = next
	}
	return nil
}

// step verifies what lies at position at, and gives how far that reaches.
func (g *guard) step(at, to int64) (int64, error) {
	for _, h := range g.Holes() {
		if h.From <= at && at < h.To {
			return at, &DamageError{g.seg.base, h}
		}
		if at < h.From {
			to = min(to, h.From)
		}
	}
	own := g.own.Load()
	if at >= own || g.seg.cfg.NoSums {
		return to, nil
	}
	if upTo := g.upTo.Load(); at < upTo {
		return min(to, upTo), nil
	}
	c, err := g.sums()
	if err != nil {
		return at, err
	}
	i := c.find(at)
	if i == len(c.blocks) || int64(c.blocks[i].begin) > at {
		if i < len(c.blocks) {
			own = min(own, int64(c.blocks[i].begin))
		}
		return g.audit(at, min(to, own), own)
	}
	if !c.held(i) {
		first := g.seg.base
		if i > 0 {
			first += int64(c.blocks[i-1].last) + 1
		}
		if err := g.check(c, i, first); err != nil {
			return at, err
		}
	}
	return min(to, int64(c.blocks[i].end)), nil
}

// sums loads the sums.
func (g *guard) sums() (*checked, error) {
	if c := g.loaded.Load(); c != nil {
		g.seg.cfg.Cache.touch(g)
		return c, nil
	}
	blocks, _, err := g.seg.readSums()
	if err != nil {
		return nil, err
	}
	own := g.own.Load()
	n := sort.Search(len(blocks), func(i int) bool { return int64(blocks[i].begin) >= own })
	c := &checked{blocks: slices.Clip(blocks[:n]), seen: make([]atomic.Uint32, (n+31)/32)}
	if !g.loaded.CompareAndSwap(nil, c) {
		if other := g.loaded.Load(); other != nil {
			return other, nil
		}
		return c, nil
	}
	g.seg.cfg.Cache.add(g, c.memory())
	return c, nil
}

// check reads block i and compares. Two readers may do it at once, which does
// no harm. A block that is wrong is read once more from the device: memory may
// have lied. first is the offset behind the block before.
func (g *guard) check(c *checked, i int, first int64) error {
	b := &c.blocks[i]
	var sum uint32
	err := g.seg.Raw(func(f vfs.File) error {
		var err error
		if sum, err = g.hash(f, int64(b.begin), int64(b.end)); err != nil || sum == b.crc {
			return err
		}
		_ = f.Advise(int64(b.begin), int64(b.end-b.begin), vfs.DontNeed) // where it does not help, the block stays wrong
		sum, err = g.hash(f, int64(b.begin), int64(b.end))
		return err
	})
	if err != nil {
		return err
	}
	if sum != b.crc {
		return g.Damage(Hole{From: int64(b.begin), To: int64(b.end), First: first, Next: g.seg.base + int64(b.last) + 1,
			Reason: fmt.Sprintf("its bytes have checksum %08x, not %08x", sum, b.crc)})
	}
	c.seen[i/32].Or(1 << (i % 32))
	for ; i < len(c.blocks) && c.held(i); i++ {
		g.reach(int64(c.blocks[i].begin), int64(c.blocks[i].end))
	}
	return nil
}

// reach notes that all between two positions is verified.
func (g *guard) reach(from, to int64) {
	for upTo := g.upTo.Load(); from <= upTo && upTo < to; upTo = g.upTo.Load() {
		if g.upTo.CompareAndSwap(upTo, to) {
			return
		}
	}
}

// hash reads [from, to) through a pooled buffer.
func (g *guard) hash(f vfs.File, from, to int64) (uint32, error) {
	buf := g.seg.cfg.Cache.buffer()
	defer g.seg.cfg.Cache.buffers.Put(buf)
	sum := uint32(0)
	for from < to {
		p := buf[:min(int64(len(buf)), to-from)]
		n, err := f.ReadAt(p, from)
		if n < len(p) {
			return sum, fmt.Errorf("segment %d, %d bytes at %d: %w", g.seg.base, len(p), from, err)
		}
		sum = crc32.Update(sum, castagnoli, p)
		from += int64(n)
	}
	return sum, nil
}

// audit verifies batches that no block covers by their own checksums: from the
// one at position at to the one that reaches to; limit is where the bytes
// without sums end.
func (g *guard) audit(at, to, limit int64) (int64, error) {
	if g.seg.cfg.Audit == nil {
		return to, nil
	}
	if done := g.audited(at); done > at {
		return min(done, to), nil
	}
	end := at
	next := int64(-1)
	var bad error
	err := g.seg.Raw(func(f vfs.File) error {
		bad = g.seg.cfg.Audit(f, at, limit, func(m Mark) error {
			end, next = m.Position+int64(m.Bytes), m.LastOffset+1
			if end >= to {
				return errEnough
			}
			return nil
		})
		return nil
	})
	switch {
	case err != nil:
		return at, err
	case bad == nil || errors.Is(bad, errEnough):
		g.remember(at, end)
		return max(min(end, to), at+1), nil
	case end > at: // the batches before it are good
		g.remember(at, end)
		return end, nil
	case !errors.Is(bad, kafka.CorruptMessage):
		return at, bad
	}
	return at, g.quarantine(at, limit, next, bad)
}

// audited gives how far what was audited before reaches from position at.
func (g *guard) audited(at int64) int64 {
	if all := g.loose.Load(); all != nil {
		for _, s := range *all {
			if s.from <= at && at < s.to {
				return s.to
			}
		}
	}
	return at
}

// remember notes a stretch that was audited.
func (g *guard) remember(from, to int64) {
	g.reach(from, to)
	for {
		old := g.loose.Load()
		now := []stretch{{from, to}}
		if old != nil {
			for _, s := range *old {
				if s.to < now[0].from || now[0].to < s.from {
					now = append(now, s)
				} else {
					now[0] = stretch{min(now[0].from, s.from), max(now[0].to, s.to)}
				}
			}
		}
		now = now[:min(len(now), maxStretches)] // the newest are first
		if g.loose.CompareAndSwap(old, &now) {
			return
		}
	}
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// quarantine makes damage of a batch that no sum covers: up to where the next batch
// is that may be believed.
func (g *guard) quarantine(at, limit, next int64, bad error) error {
	hole := Hole{From: at, To: limit, First: g.seg.base, Next: g.seg.base, Reason: bad.Error()}
	err := g.seg.Raw(func(f vfs.File) error {
		_ = g.seg.cfg.Walk(f, 0, at, func(m Mark) error { // what cannot be walked over tells nothing
			hole.First = m.LastOffset + 1
			return nil
		})
		hole.To, hole.Next = g.seg.cfg.Resync(f, at, limit, hole.First)
		return nil
	})
	if err != nil {
		return err
	}
	hole.Next = max(hole.Next, next, hole.First+1)
	return g.Damage(hole)
}

// Holes lists the damage that is known, by position.
func (g *guard) Holes() []Hole {
	if h := g.holes.Load(); h != nil {
		return *h
	}
	return nil
}

// SetHoles says what damage is known. None, and the segment is well.
func (g *guard) SetHoles(holes []Hole) {
	if len(holes) == 0 {
		g.holes.Store(nil)
		return
	}
	g.holes.Store(&holes)
}

// Damage adds a hole and tells whoever watches, unless it is known. One that
// overlaps others becomes one with them. The error is its [*DamageError].
func (g *guard) Damage(h Hole) error {
	for {
		old := g.holes.Load()
		all := make([]Hole, 0, len(g.Holes())+1)
		for _, k := range g.Holes() {
			switch {
			case k.From <= h.From && h.To <= k.To:
				return &DamageError{g.seg.base, k}
			case k.To <= h.From || h.To <= k.From:
				all = append(all, k)
			default:
				h.From, h.To = min(h.From, k.From), max(h.To, k.To)
				h.First, h.Next = min(h.First, k.First), max(h.Next, k.Next)
			}
		}
		i := sort.Search(len(all), func(i int) bool { return all[i].From > h.From })
		all = slices.Insert(all, i, h)
		if g.holes.CompareAndSwap(old, &all) {
			break
		}
	}
	if g.seg.cfg.Watch != nil {
		g.seg.cfg.Watch.Damaged(g.seg, h)
	}
	return &DamageError{g.seg.base, h}
}

// With runs use with the data file open. What use reads is verified, see
// [DamageError].
func (g *guard) With(use func(vfs.File) error) error {
	if g.free(0, g.own.Load()) {
		return g.Raw(use)
	}
	return g.Raw(func(f vfs.File) error { return use(&checkedFile{f, g}) })
}

// Raw is With for who looks for damage: nothing is verified.
func (g *guard) Raw(use func(vfs.File) error) error {
	f, err := g.seg.data.Acquire()
	if err != nil {
		return err
	}
	defer g.seg.data.Release()
	return use(f)
}

// cutGuard forgets what lies behind the new end.
func (g *guard) cutGuard(size int64) {
	g.own.Store(min(g.own.Load(), size))
	g.upTo.Store(min(g.upTo.Load(), size))
	g.drop()
	g.forgetStretches()
	g.SetHoles(slices.DeleteFunc(slices.Clone(g.Holes()), func(h Hole) bool { return h.From >= size }))
}

// Hash gives the checksum of bytes of the file.
func (g *guard) Hash(f vfs.File, from, to int64) (uint32, error) { return g.hash(f, from, to) }

// Known is Raw with a file that ends at damage which is known.
func (g *guard) Known(use func(vfs.File) error) error {
	if g.holes.Load() == nil {
		return g.Raw(use)
	}
	return g.Raw(func(f vfs.File) error { return use(&knownFile{f, g}) })
}

// knownFile is a segment's file that gives no bytes of known damage.
type knownFile struct {
	vfs.File
	guard *guard
}

// ReadAt is [io.ReaderAt]'s.
func (k *knownFile) ReadAt(p []byte, off int64) (int, error) {
	for _, h := range k.guard.Holes() {
		if h.From <= off && off < h.To {
			return 0, &DamageError{k.guard.seg.base, h}
		}
		if off < h.From && h.From < off+int64(len(p)) {
			n, err := k.File.ReadAt(p[:h.From-off], off)
			if err == nil {
				err = &DamageError{k.guard.seg.base, h}
			}
			return n, err
		}
	}
	return k.File.ReadAt(p, off)
}

// ReadCached is [vfs.File]'s.
func (k *knownFile) ReadCached([]byte, int64) bool { return false }

// checkedFile is a segment's file that gives verified bytes only.
type checkedFile struct {
	vfs.File
	guard *guard
}

// ReadAt is [io.ReaderAt]'s. It ends with a [*DamageError] where damage begins.
func (c *checkedFile) ReadAt(p []byte, off int64) (int, error) {
	want := min(off+int64(len(p)), c.guard.seg.Size())
	good, err := c.guard.touched(off, want)
	if err != nil {
		return 0, err
	}
	if good == want {
		return c.File.ReadAt(p, off)
	}
	n, err := c.File.ReadAt(p[:max(good-off, 0)], off)
	if err == nil {
		_, err = c.guard.touched(good, good+1)
	}
	return n, err
}

// ReadCached is [vfs.File]'s: whoever has to verify takes the longer way.
func (c *checkedFile) ReadCached([]byte, int64) bool { return false }

// verified gives how far n bytes at pos may be handed out.
func (g *guard) verified(pos, n int64) (int64, error) {
	if n == 0 || g.free(pos, pos+n) {
		return pos + n, nil
	}
	for at, most := pos, pos+firstTouch; ; {
		next, err := g.step(at, pos+n)
		switch {
		case err != nil && at == pos:
			return pos, err
		case err != nil, next >= pos+n: // damage, or a device that does not read: what comes before it is good
			return min(max(at, next), pos+n), nil
		case next >= most:
			return next, nil
		}
		at = next
	}
}

// Confirm reads a block that somebody found to be wrong once more, from the
// device, and makes damage of it if it is. first is the offset behind the block
// before.
func (g *guard) Confirm(b Block, first int64) error {
	c := &checked{blocks: []block{{uint32(b.Begin), uint32(b.End), b.CRC, uint32(b.Last - g.seg.base)}}, seen: make([]atomic.Uint32, 1)}
	err := g.check(c, 0, first)
	if damage := new(DamageError); errors.As(err, &damage) {
		return nil
	}
	return err
}

// Heal forgets damage whose bytes read well again.
func (g *guard) Heal(h Hole) {
	for {
		old := g.holes.Load()
		kept := slices.DeleteFunc(slices.Clone(g.Holes()), func(k Hole) bool { return k.From == h.From && k.To == h.To })
		var now *[]Hole
		if len(kept) > 0 {
			now = &kept
		}
		if g.holes.CompareAndSwap(old, now) {
			return
		}
	}
}

// ConfirmGap looks once more at a batch without a sum that somebody found to be
// wrong, and makes damage of it if it is.
func (g *guard) ConfirmGap(at, limit int64) error {
	var bad error
	next := int64(-1)
	err := g.Raw(func(f vfs.File) error {
		bad = g.seg.cfg.Audit(f, at, min(limit, g.seg.Size()), func(Mark) error { return errEnough })
		return nil
	})
	if err != nil || bad == nil || errors.Is(bad, errEnough) {
		return err
	}
	if !errors.Is(bad, kafka.CorruptMessage) {
		return bad
	}
	err = g.quarantine(at, limit, next, bad)
	if damage := new(DamageError); errors.As(err, &damage) {
		return nil
	}
	return err
}
