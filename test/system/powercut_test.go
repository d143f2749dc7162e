//go:build system && linux

package system

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/test/system/lazyfs"
)

// disk is a file system that a real process uses and that can lose its power.
type disk struct {
	mem     *vfs.Mem
	dir     string // where it is mounted
	unmount func() error
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	needRoot(t)
	d := &disk{mem: vfs.NewMem(vfs.MemConfig{Now: time.Now}), dir: t.TempDir()}
	d.mount(t)
	t.Cleanup(func() {
		if err := d.unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return d
}

func (d *disk) mount(t testing.TB) {
	t.Helper()
	un, err := lazyfs.Mount(d.dir, d.mem)
	if err != nil {
		t.Fatalf("mounting: %v", err)
	}
	d.unmount = un
}

// folders makes n log directories on it.
func (d *disk) folders(t testing.TB, n int) (out []string) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("d%d", i)
		if err := d.mem.MkdirAll("/" + name); err != nil {
			t.Fatal(err)
		}
		out = append(out, filepath.Join(d.dir, name))
	}
	if err := d.mem.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return out
}

// cut cuts the power, by a policy of what the disk keeps of what was not synced,
// and starts the machine again. The process must be dead.
func (d *disk) cut(t testing.TB, policy vfs.Policy, dice *rand.Rand) {
	t.Helper()
	if err := d.unmount(); err != nil {
		t.Fatalf("unmount: %v", err)
	}
	d.mem = d.mem.Crash(policy, dice)
	d.reboot(t)
	d.mount(t)
}

var bootID = regexp.MustCompile(`(?m)^boot_id: .*$`)

// reboot makes the directories those of an earlier run of the machine: the real
// one was not restarted, so its own boot id has not changed.
func (d *disk) reboot(t testing.TB) {
	t.Helper()
	list, err := d.mem.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		name := path.Join("/", i.Name, ".myelin_boot")
		text, err := vfs.ReadFile(d.mem, name, 1<<20)
		if err != nil {
			continue // not there yet, or lost
		}
		if err := vfs.WriteAtomic(d.mem, name, bootID.ReplaceAll(text, []byte("boot_id: 00000000-0000-4000-8000-000000000000"))); err != nil {
			t.Fatal(err)
		}
	}
}

// keep copies what is on the disk to $SYSTEM_KEEP, to be looked at.
func (d *disk) keep(t testing.TB) {
	to := os.Getenv("SYSTEM_KEEP")
	if to == "" {
		return
	}
	to = filepath.Join(to, strings.ReplaceAll(t.Name(), "/", "_")+time.Now().Format("-150405"))
	if err := os.CopyFS(to, os.DirFS(d.dir)); err != nil {
		t.Logf("keeping the disk: %v", err)
	}
	t.Logf("the disk is kept in %s", to)
}

// TestPowerCuts cuts the power of a machine under load, again and again, also
// while the node recovers from the cut before. Between two cuts the process may be
// killed while the machine runs on.
func TestPowerCuts(t *testing.T) {
	cuts, dice := number(t, "SYSTEM_CUTS", 15), dice(t)
	d := newDisk(t)
	b := newBroker(t, d.folders(t, number(t, "SYSTEM_DIRS", 3)))
	b.start(t)
	l := startLoad(t, b.addr, loadConfig{producers: 3, partitions: 4, largest: 3000, topic: map[string]string{"segment.bytes": "1048576"}})
	early, kills, done := 0, 0, map[vfs.Policy]int{}
	for i := range cuts {
		if dice.IntN(4) == 0 {
			early++
			pause(time.Duration(dice.IntN(80)) * time.Millisecond)
		} else if err := lived(b, l, dice); err != nil {
			d.keep(t)
			t.Fatalf("after %d cuts, %v: %v\n%s", i, done, err, b.tail())
		}
		b.kill()
		if dice.IntN(4) == 0 { // the process alone dies, and soon again, perhaps before it has looked at what the last cut left
			kills++
			b.launch(t)
			pause(time.Duration(dice.IntN(60)) * time.Millisecond)
			b.kill()
			if dice.IntN(2) == 0 {
				b.launch(t)
				if err := lived(b, l, dice); err != nil {
					d.keep(t)
					t.Fatalf("after %d cuts, %v, and a kill: %v\n%s", i, done, err, b.tail())
				}
				b.kill()
			}
		}
		policy := vfs.Policies[dice.IntN(len(vfs.Policies))]
		done[policy]++
		d.cut(t, policy, dice)
		if i%20 == 10 {
			b.sound(t, true)
		}
		b.launch(t)
	}
	if err := b.await(60 * time.Second); err != nil {
		d.keep(t)
		t.Fatalf("%v\n%s", err, b.tail())
	}
	l.finish(t)
	b.stop(t)
	b.sound(t, false)
	if t.Failed() {
		d.keep(t)
		t.Logf("%s", b.tail())
	}
	t.Logf("%d cuts, %d of them during a start, and %d kills: %v", cuts, early, kills, done)
}

// lived waits until a node serves and has acknowledged a random number of
// records.
func lived(b *broker, l *load, dice *rand.Rand) error {
	if err := b.await(60 * time.Second); err != nil {
		return err
	}
	wanted := 1 + dice.Int64N(800)
	if dice.IntN(10) == 0 {
		wanted *= 10 // long enough for rolls and checkpoints
	}
	if err := l.awaitAcked(wanted, 60*time.Second); err != nil {
		return err
	}
	pause(time.Duration(dice.IntN(5000)) * time.Microsecond)
	return nil
}

// TestLyingDisk proves that the test before would notice: a disk that answers
// fsync and does nothing loses what was acknowledged, and that is a fault.
func TestLyingDisk(t *testing.T) {
	for name, lie := range map[string]func(vfs.Op) bool{
		"files":   func(op vfs.Op) bool { return op.Kind == vfs.OpSync && strings.Contains(op.Name, "/load-") },
		"folders": func(op vfs.Op) bool { return op.Kind == vfs.OpSyncDir },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			b := newBroker(t, d.folders(t, 1))
			b.start(t)
			d.mem.SetHook(func(op vfs.Op) vfs.Verdict { return vfs.Verdict{Skip: lie(op)} })
			l := startLoad(t, b.addr, loadConfig{producers: 2, partitions: 2, largest: 500})
			if err := l.awaitAcked(500, 60*time.Second); err != nil {
				t.Fatalf("%v\n%s", err, b.tail())
			}
			b.kill()
			d.cut(t, vfs.DropAll, dice(t))
			b.start(t)
			l.settle(t)
			faults := l.broken()
			if len(faults) == 0 {
				t.Fatalf("a disk that lies was not noticed: %d records\n%s", l.acked.Load(), b.tail())
			}
			t.Logf("noticed, as it must be: %s", faults[0])
		})
	}
}

// TestFailedSync lets the sync of one partition's file fail. A failed sync is
// final: nothing is acknowledged there any more, the other partitions go on,
// and when the node has been restarted, on a disk that has lost what that sync
// was to write, all is well again and everything acknowledged is there.
func TestFailedSync(t *testing.T) {
	d := newDisk(t)
	b := newBroker(t, d.folders(t, 1))
	b.start(t)
	l := startLoad(t, b.addr, loadConfig{producers: 2, partitions: 3, largest: 500})
	if err := l.awaitAcked(300, 60*time.Second); err != nil {
		t.Fatal(err)
	}
	const sick = 1
	failed := make(chan struct{}, 1)
	d.mem.SetHook(func(op vfs.Op) vfs.Verdict {
		if op.Kind != vfs.OpSync || !strings.HasPrefix(op.Name, fmt.Sprintf("/d0/%s-%d/", topic, sick)) || !strings.HasSuffix(op.Name, ".log") {
			return vfs.Verdict{}
		}
		select {
		case failed <- struct{}{}:
			return vfs.Verdict{Err: syscall.EIO} // once: asked again, it says yes
		default:
			return vfs.Verdict{}
		}
	})
	if err := l.awaitAcked(300, 60*time.Second); err != nil {
		t.Fatal(err)
	}
	<-failed
	pause(500 * time.Millisecond) // answers that were under way
	before := make([]int64, l.partitions)
	for p := range before {
		before[p] = l.ackedIn[p].Load()
	}
	pause(3 * time.Second)
	for p := range before {
		grown := l.ackedIn[p].Load() - before[p]
		if p == sick && grown > 0 {
			t.Errorf("partition %d acknowledged %d records after its sync had failed", p, grown)
		}
		if p != sick && grown == 0 {
			t.Errorf("partition %d stood still when another one failed", p)
		}
	}
	d.mem.SetHook(nil)
	b.kill()
	d.cut(t, vfs.DropAll, dice(t))
	b.start(t)
	have := l.ackedIn[sick].Load()
	if err := l.awaitAcked(1000, 60*time.Second); err != nil || l.ackedIn[sick].Load() == have {
		t.Errorf("after the restart: %v, and %d more in partition %d", err, l.ackedIn[sick].Load()-have, sick)
	}
	l.finish(t)
	if t.Failed() {
		t.Logf("%s", b.tail())
	}
	b.stop(t)
}
