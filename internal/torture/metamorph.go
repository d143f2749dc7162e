package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// accidents are what befalls a machine.
var accidents = [...]act{
	{"power cut", 2, (*story).powerCut},
	{"kill", 2, (*story).kill},
}

// powerCut leaves of the disk what one of the policies keeps.
func (s *story) powerCut(*part) error {
	policy := vfs.Policies[s.rng.IntN(len(vfs.Policies))]
	return s.carryOn(s.disk.Crash(policy, s.rng), false)
}

// kill ends the process and not the machine: nothing that was written is lost.
func (s *story) kill(*part) error { return s.carryOn(s.disk.Fork(), true) }

// carryOn goes on with what is left of the disk.
func (s *story) carryOn(disk *vfs.Mem, unharmed bool) error {
	s.disk, s.fs = disk, disk
	for _, p := range s.parts {
		p.hist = p.hist.copy()
	}
	if err := s.open(); err != nil {
		return err
	}
	for _, p := range s.parts {
		if end := p.log.End(); unharmed && end != p.hist.end() {
			return fmt.Errorf("%s: ends at %d after a kill, %d was written", p.tp, end, p.hist.end())
		}
		if err := p.hist.survives(p.log); err != nil {
			return fmt.Errorf("%s: %w", p.tp, err)
		}
		p.settle()
	}
	return nil
}

// everything is all that can happen in a random history.
func everything() []act { return slices.Concat(acts[:], looks[:], accidents[:]) }

// wander plays one random history of steps steps, and gives the number of the
// step that failed. With watch every log is looked at after every step, so that
// it is the first at which anything can be seen.
func wander(opt options, seed uint64, steps int, watch bool) (int, error) {
	disk := vfs.NewMem(vfs.MemConfig{})
	s, err := begin(opt, seed, disk, nil)
	if err != nil {
		return 0, err
	}
	s.disk = disk
	all := everything()
	for n := range steps {
		err := s.step(all)
		for _, p := range s.parts {
			if err == nil && watch {
				err = p.hist.stands(p.log)
			}
		}
		if err != nil {
			return n + 1, err
		}
	}
	return steps, s.close()
}

// stepsOf is how long the history of a seed is: 1,000 to 10,000 steps, the
// longer the rarer.
func stepsOf(seed uint64) int {
	r := rand.New(rand.NewPCG(seed, 3))
	return 1000 + int(9000*r.Float64()*r.Float64()*r.Float64())
}

// variants are the settings that random histories go through. What is read must
// not depend on any of them.
func variants() []options {
	plain := options{
		partitions: 2, batch: 4, value: 100,
		log: commitlog.Tunables{SegmentBytes: 4000, IndexInterval: 500, RetentionAge: -1, ProducerRetention: 1000 * time.Hour},
	}
	var all []options
	add := func(name string, change func(*options)) {
		opt := plain
		opt.name = name
		change(&opt)
		all = append(all, opt)
	}
	add("plain", func(*options) {})
	add("one log", func(o *options) { o.partitions = 1 })
	add("many logs", func(o *options) { o.partitions = 7 })
	add("two directories", func(o *options) { o.homes, o.partitions = 2, 4 })
	add("three directories", func(o *options) { o.homes, o.partitions = 3, 3 })
	add("tiny segments", func(o *options) { o.log.SegmentBytes = 1200 })
	add("large segments", func(o *options) { o.log.SegmentBytes = 1 << 20 })
	add("an index entry for every batch", func(o *options) { o.log.IndexInterval = 1 })
	add("no index entries", func(o *options) { o.log.IndexInterval = 1 << 20 })
	add("indexes fill up", func(o *options) { o.log.IndexInterval, o.log.IndexBytes = 100, 60 })
	add("segments by age", func(o *options) { o.log.SegmentAge = 300 * time.Millisecond })
	add("segments by age with jitter", func(o *options) { o.log.SegmentAge, o.log.SegmentJitter = time.Second, time.Second })
	add("retention by size", func(o *options) { o.log.RetentionBytes = 20000 })
	add("retention by age", func(o *options) { o.log.RetentionAge = time.Minute })
	add("retention of little", func(o *options) { o.log.RetentionBytes, o.log.SegmentBytes = 1, 1500 })
	add("two descriptors", func(o *options) { o.home.MaxOpenFiles = 2 })
	add("no index cache", func(o *options) { o.home.IndexCacheBytes = 1 })
	add("two descriptors, no index cache, tiny segments", func(o *options) {
		o.home.MaxOpenFiles, o.home.IndexCacheBytes, o.log.SegmentBytes = 2, 1, 1200
	})
	add("compressed", func(o *options) {
		o.codecs, o.value = []record.Codec{record.LZ4, record.Snappy, record.Gzip, record.Zstd}, 400
	})
	add("large batches", func(o *options) { o.batch, o.value, o.log.SegmentBytes = 12, 1500, 40000 })
	add("single records", func(o *options) { o.batch, o.value = 1, 0 })
	add("keys", func(o *options) { o.keys = 10 })
	add("keys, tiny segments", func(o *options) { o.keys, o.log.SegmentBytes = 5, 1200 })
	add("no block checksums", func(o *options) { o.home.NoSums = true })
	add("no block checksums, keys, tiny segments", func(o *options) { o.home.NoSums, o.keys, o.log.SegmentBytes = true, 8, 1500 })
	add("segments as large as a batch", func(o *options) { o.batch, o.log.SegmentBytes = 2, 400 })
	return all
}
