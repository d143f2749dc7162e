package torture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// ending is a way in which everything stops.
type ending struct {
	name string
	// of gives the disk as the next start finds it, when t was about to
	// happen; nil where this ending does not apply.
	of func(p *player, t *tick, dice *rand.Rand) (*vfs.Mem, error)
}

// endings are all ways: what a power cut may leave, a killed process, and one
// killed in the middle of a write.
func endings() []ending {
	var all []ending
	for _, policy := range vfs.Policies {
		all = append(all, ending{policy.String(), func(p *player, _ *tick, dice *rand.Rand) (*vfs.Mem, error) {
			return p.disk.Crash(policy, dice), nil
		}})
	}
	return append(all,
		ending{"killed", func(p *player, _ *tick, _ *rand.Rand) (*vfs.Mem, error) { return p.disk.Fork(), nil }},
		ending{"killed in a write", func(p *player, t *tick, dice *rand.Rand) (*vfs.Mem, error) {
			if t.op != vfs.OpWrite || len(t.data) < 2 {
				return nil, nil
			}
			return p.torn(t, 1+dice.IntN(len(t.data)-1))
		}})
}

// images makes and examines the crash images of a tape.
type images struct {
	opt  options
	seed uint64
	tape *tape
	// stride leaves out all but every stride-th image, and those before
	// operation from.
	stride, from int
	// cuts is how often the recovery of each image is cut off and run again.
	cuts    int
	workers int
}

// tally is what came of it.
type tally struct {
	Images, Recoveries int64
	// Served counts images that were found to hold promised records.
	Promised int64
}

// run examines images until one breaks a promise.
func (im *images) run() (tally, error) {
	var total tally
	var stop atomic.Bool
	var workers sync.WaitGroup
	n := max(im.workers, 1)
	errs, tallies := make([]error, n), make([]tally, n)
	for w := range n {
		workers.Go(func() {
			errs[w] = im.worker(w, n, &tallies[w], &stop)
			if errs[w] != nil {
				stop.Store(true)
			}
		})
	}
	workers.Wait()
	for _, t := range tallies {
		total.Images += t.Images
		total.Recoveries += t.Recoveries
		total.Promised += t.Promised
	}
	return total, errors.Join(errs...)
}

// worker plays the tape and looks at every n-th image.
func (im *images) worker(w, n int, count *tally, stop *atomic.Bool) error {
	p := newPlayer(im.opt.partitions)
	ways := endings()
	op, image := 0, 0
	for i := range im.tape.ticks {
		t := &im.tape.ticks[i]
		if t.changes() {
			for k, way := range ways {
				image++
				if op < im.from || image%max(im.stride, 1) != 0 || image/max(im.stride, 1)%n != w {
					continue
				}
				if stop.Load() {
					return nil
				}
				dice := rand.New(rand.NewPCG(im.seed<<20+uint64(op), uint64(k)))
				disk, err := way.of(p, t, dice)
				if err == nil && disk != nil {
					err = im.examine(disk, p.logs, dice, count)
				}
				if err != nil {
					return fmt.Errorf("seed %d, %s before operation %d (%s): %w", im.seed, way.name, op, t, err)
				}
			}
			op++
		}
		if err := p.play(t); err != nil {
			return fmt.Errorf("the tape does not play, tick %d (%s): %w", i, t, err)
		}
	}
	return nil
}

// examine starts on an image, holds the logs to their histories, goes on
// writing, cuts the power and looks again; and cuts off the recovery itself.
func (im *images) examine(disk *vfs.Mem, logs []*history, dice *rand.Rand, count *tally) error {
	count.Images++
	for _, h := range logs {
		if h.acked > h.start {
			count.Promised++
			break
		}
	}
	first := disk.Fork()
	if err := im.survive(first, logs, dice, true); err != nil {
		return err
	}
	count.Recoveries += 2
	recovery := disk.Fork()
	if _, err := resume(im.opt, recovery, logs, dice); err != nil {
		return err
	}
	ops := recovery.Ops()
	for range im.cuts {
		if err := im.cutRecovery(disk.Fork(), logs, dice, ops); err != nil {
			return err
		}
		count.Recoveries += 2
	}
	return nil
}

// cutRecovery cuts the power during a start, before one of its ops operations,
// and starts again.
func (im *images) cutRecovery(disk *vfs.Mem, logs []*history, dice *rand.Rand, ops int64) error {
	n := dice.Int64N(max(ops, 1))
	disk.StopBefore(n)
	_, err := resume(im.opt, disk, logs, dice)
	if !errors.Is(err, vfs.ErrPowerCut) && (err != nil || ops > 0) {
		return fmt.Errorf("recovery cut off before operation %d of %d: %w", n, ops, err)
	}
	policy := vfs.Policies[dice.IntN(len(vfs.Policies))]
	if err := im.survive(disk.Crash(policy, dice), logs, dice, false); err != nil {
		return fmt.Errorf("recovery cut off before operation %d of %d, %s: %w", n, ops, policy, err)
	}
	return nil
}

// survive starts on a disk, and if it is to go on, writes and cuts the power
// once more: what was served must still be there.
func (im *images) survive(disk *vfs.Mem, logs []*history, dice *rand.Rand, goOn bool) error {
	s, err := resume(im.opt, disk, logs, dice)
	if err != nil || !goOn {
		return err
	}
	for _, p := range s.parts {
		err := s.append(p)
		if err == nil && dice.IntN(2) == 0 {
			err = s.flush(p)
		}
		if err != nil {
			return fmt.Errorf("%s, going on: %w", p.tp, err)
		}
	}
	logs = logs[:0:0]
	for _, p := range s.parts {
		logs = append(logs, p.hist)
	}
	if _, err := resume(im.opt, disk.Crash(vfs.DropAll, nil), logs, dice); err != nil {
		return fmt.Errorf("after a second power cut: %w", err)
	}
	return nil
}

// resume opens what is on a disk, holds it to the histories, and gives a story
// that goes on from there.
func resume(opt options, fs vfs.FS, logs []*history, dice *rand.Rand) (*story, error) {
	s := &story{opt: opt, rng: dice, fs: fs, now: began}
	for i, h := range logs {
		p := &part{index: i, tp: partitionOf(i), hist: h.copy(), clock: began.UnixMilli()}
		for _, e := range h.epochs {
			p.epoch = max(p.epoch, e.Epoch)
		}
		s.parts = append(s.parts, p)
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("does not start: %w", err)
	}
	for _, p := range s.parts {
		if err := p.hist.survives(p.log); err != nil {
			return nil, fmt.Errorf("%s: %w", p.tp, err)
		}
		p.settle()
	}
	return s, nil
}

// settle takes what was found as what is promised from now on.
func (p *part) settle() {
	if p.hist.removing && p.log.End() == 0 {
		p.hist.apply(event{kind: removed, id: p.hist.id})
	}
	if to := p.hist.emptying; to > 0 && p.log.Start() == to && p.log.End() == to {
		p.hist.apply(event{kind: emptied, at: to})
	}
	p.hist.emptying = 0
	p.hist.settle(p.log.Start(), p.log.End())
}
