package torture

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func flipOptions() options {
	return options{
		name: "flips", partitions: 3, batch: 3, value: 200, keys: 8, keep: 3,
		log: commitlog.Tunables{
			SegmentBytes: 6000, IndexInterval: 500, RetentionBytes: 24000, RetentionAge: -1, ProducerRetention: 100000 * time.Hour,
		},
		codecs: []record.Codec{record.None, record.Snappy},
	}
}

// victims are directories as an owner leaves them: closed in order, and killed
// after everything was flushed and checkpointed.
func victims(t *testing.T, opt options, seed uint64) []*victim {
	t.Helper()
	disk := vfs.NewMem(vfs.MemConfig{})
	s, err := begin(opt, seed, disk, nil)
	for n := 0; err == nil && n < 900; n++ {
		err = s.step(acts[:])
	}
	var logs []*history
	for _, p := range s.parts {
		if err == nil {
			err = s.flush(p)
		}
		logs = append(logs, p.hist.copy())
	}
	if err == nil {
		err = s.checkpoint(s.parts[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []*victim
	add := func(disk *vfs.Mem) {
		v, err := newVictim(opt, disk, logs)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	add(disk.Fork())
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	add(disk.Fork())
	return all
}

// TestFlips turns single bits of every kind of file and cuts files off, while
// the directory is closed, and under logs that are open and have not been read:
// nobody is given wrong bytes, every turned bit of a log is noticed, everything
// else is served.
func TestFlips(t *testing.T) {
	flips, cuts := setting(t, "TORTURE_FLIPS", 100_000), setting(t, "TORTURE_CUTS", 10_000)
	if testing.Short() {
		flips, cuts = 900, 90
	}
	seed := uint64(setting(t, "TORTURE_SEED", 1))
	all := victims(t, flipOptions(), seed)
	for _, v := range all {
		for _, h := range v.logs {
			h.fold() // once, before several look
		}
		for _, name := range v.names {
			t.Logf("%-35s %d files", name, len(v.kinds[name]))
		}
	}
	begin := time.Now()
	var next, failed atomic.Int64
	var mu sync.Mutex
	count := map[string]int{}
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for n := next.Add(1) - 1; int(n) < flips+cuts && failed.Load() < 8; n = next.Add(1) - 1 {
				dice := rand.New(rand.NewPCG(seed, uint64(n)))
				v := all[n%2]
				kind, h := v.draw(dice, int(n) < flips)
				turned := kind == segment.LogSuffix && int(n) < flips
				how := how{live: turned && n%4 >= 2 && !v.isLast(h.file), scrub: turned && n%8 >= 4}
				got, err := v.suffer(kind, h, how)
				if err != nil {
					failed.Add(1)
					t.Errorf("TORTURE_SEED=%d, number %d, directory %d, %+v, %s: %v", seed, n, n%2, how, h, err)
				}
				mu.Lock()
				count[fmt.Sprintf("%s %d", kind, got)]++
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d bits turned, %d files cut off, in %v; of each kind unharmed (0), known (1), refused (2): %v", flips, cuts, time.Since(begin), count)
}
