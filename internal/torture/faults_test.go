package torture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// attack runs a broker until its disk has seen ops operations, while the
// operations of one site fail from a hit on, and holds it to what it
// acknowledged; seconds after the room is back every partition must serve.
func attack(disk *siege, ops int64) (err error) {
	b, err := startBroker(disk, 1)
	if err != nil {
		return nil // it failed right at the beginning, and said so
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			b.stop()
		}
	}
	defer stop()
	looked := false
	for n := 0; disk.Ops() < ops && n < int(ops); n++ {
		b.step()
		if disk.begun() && !looked { // a later write might carry along what a failed sync lost
			looked = true
			if err := b.kept(disk.Mem.Crash(vfs.DropAll, nil)); err != nil {
				return fmt.Errorf("after a power cut right behind it: %w", err)
			}
		}
	}
	if errors.Is(disk.err, syscall.ENOSPC) && disk.relieve() {
		back := time.Now()
		for i := range fronts {
			for err = b.produce(i); err != nil; err = b.produce(i) {
				if b.begin(i); time.Since(back) > 10*time.Second {
					return fmt.Errorf("partition %d does not serve 10 s after room came back: %w", i, err)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	serving := 0
	var why [fronts]error
	for i := range fronts {
		for range 3 {
			b.begin(i)
			if why[i] = b.produce(i); why[i] == nil {
				serving++
				break
			}
		}
	}
	if b.home.Failed() == nil && serving < fronts-1 {
		return fmt.Errorf("one operation failed, and %d of %d partitions serve: %w", serving, fronts, errors.Join(why[:]...))
	}
	if err := b.allKept(disk); err != nil {
		return err
	}
	stop() // an operation of the closing may be the one
	return b.allKept(disk)
}

// allKept cuts the power in some ways.
func (b *broker) allKept(disk *siege) error {
	dice := rand.New(rand.NewPCG(1, 2))
	for _, policy := range []vfs.Policy{vfs.DropAll, vfs.KeepAll, vfs.Sectors} {
		if err := b.kept(disk.Mem.Crash(policy, dice)); err != nil {
			return fmt.Errorf("after a power cut, %s: %w", policy, err)
		}
	}
	return nil
}

// TestFaults lets an operation of each site fail that a story of 10,000
// operations reaches: with EIO once, and with ENOSPC until room is back.
// A site is the kind of operation and the lines of the twelve innermost
// functions of the broker that led to it.
func TestFaults(t *testing.T) {
	ops, every := int64(setting(t, "TORTURE_OPS", 10_000)), 1
	if testing.Short() {
		ops, every = 1200, 37
	}
	plain := newSiege()
	synctest.Test(t, func(t *testing.T) {
		if err := attack(plain, ops); err != nil {
			t.Fatal("nothing fails:", err)
		}
	})
	var sites []site
	for s := range plain.hits { //house:maporder sorted below
		sites = append(sites, s)
	}
	slices.SortFunc(sites, func(a, b site) int {
		if a.kind != b.kind {
			return int(a.kind - b.kind)
		}
		if a.hash < b.hash {
			return -1
		}
		return 1
	})
	runs, bad := 0, 0
	reached := map[site]bool{}
	fail := func(s site, err error, first int, ops int64) {
		disk := newSiege()
		disk.bad, disk.first, disk.err = s, first, err
		var broken error
		synctest.Test(t, func(*testing.T) { broken = attack(disk, ops) })
		runs++
		reached[s] = reached[s] || disk.began
		if broken != nil {
			t.Errorf("%v at hit %d of %s: %v", err, first, plain.where[s], broken)
			if bad++; bad > 10 {
				t.FailNow()
			}
		}
	}
	for n, s := range sites {
		if n%every != 0 {
			continue
		}
		for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
			if err == syscall.ENOSPC && !needsRoom(s.kind) && s.kind != vfs.OpSync { //nolint:errorlint // ours
				continue
			}
			fail(s, err, 1, ops/4)
			fail(s, err, plain.hits[s]/8+1, ops/4)
		}
		if !reached[s] {
			fail(s, syscall.EIO, 1, 2*ops) // it comes late
		}
		if !reached[s] {
			t.Logf("not reached again: %s", plain.where[s])
		}
	}
	t.Logf("%d operations reach %d sites; %d runs, in which an operation of %d sites failed", ops, len(sites), runs, count(reached))
}

func count(set map[site]bool) (n int) {
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}

// TestPlantedSyncRetried: a broker that syncs again when a sync fails, and
// believes the answer, acknowledges what the disk has not.
func TestPlantedSyncRetried(t *testing.T) {
	plain := newSiege()
	synctest.Test(t, func(t *testing.T) {
		if err := attack(plain, 1200); err != nil {
			t.Fatal(err)
		}
	})
	for s, hits := range plain.hits { //house:maporder any that shows it will do
		for first := 1; s.kind == vfs.OpSync && first <= hits; first += 1 + hits/4 {
			disk := newSiege()
			disk.bad, disk.first, disk.err, disk.retry = s, first, syscall.EIO, true
			var broken error
			synctest.Test(t, func(*testing.T) { broken = attack(disk, 600) })
			if broken != nil {
				t.Logf("found: hit %d of %s: %v", first, plain.where[s], broken)
				return
			}
		}
	}
	t.Error("not found")
}
