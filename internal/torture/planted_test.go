package torture

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// spoilt is a file system between a log and its disk that does what a log with a
// bug would do.
type spoilt struct {
	vfs.FS
	sync    func(name string) bool                         // false: Sync does nothing
	syncDir func(name string) bool                         // false: SyncDir does nothing
	write   func(name string, p []byte) []byte             // what is written instead
	rename  func(fs vfs.FS, oldName, newName string) error // before the renaming
	retry   bool                                           // a Sync that fails is asked once more
}

func (s spoilt) Create(name string) (vfs.File, error) { return s.wrap(name)(s.FS.Create(name)) }

func (s spoilt) Open(name string, flag vfs.Flag) (vfs.File, error) {
	return s.wrap(name)(s.FS.Open(name, flag))
}

func (s spoilt) wrap(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		return spoiltFile{f, s, name}, nil
	}
}

func (s spoilt) SyncDir(name string) error {
	if s.syncDir != nil && !s.syncDir(name) {
		return nil
	}
	return s.FS.SyncDir(name)
}

func (s spoilt) Rename(oldName, newName string) error {
	if s.rename != nil {
		if err := s.rename(s.FS, oldName, newName); err != nil {
			return err
		}
	}
	return s.FS.Rename(oldName, newName)
}

type spoiltFile struct {
	vfs.File
	fs   spoilt
	name string
}

func (f spoiltFile) Sync() error {
	if f.fs.sync != nil && !f.fs.sync(f.name) {
		return nil
	}
	err := f.File.Sync()
	if err != nil && f.fs.retry {
		return f.File.Sync()
	}
	return err
}

func (f spoiltFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fs.write != nil {
		if _, err := f.File.WriteAt(f.fs.write(f.name, p), off); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}

// sample looks at some images of a story on a spoilt disk.
func sample(opt options, seed uint64, stride int, bug planted) error {
	tape, _, err := tell(opt, seed, 600, bug.wrap)
	if err != nil {
		return fmt.Errorf("while it is told: %w", err)
	}
	im := images{opt: opt, seed: seed, tape: tape, stride: stride, from: bug.from, workers: 2}
	_, err = im.run()
	return err
}

// planted is a bug, and how it is put between a log and its disk.
type planted struct {
	name   string
	change func(*options)
	wrap   func(vfs.FS) vfs.FS
	from   int // about the operation at which there is something to be seen
}

// TestPlanted wants the harness to find each bug in one of a few stories, none of
// which shows anything without it.
func TestPlanted(t *testing.T) {
	honest := map[uint64]error{}
	control := func(seed uint64) error {
		if _, ok := honest[seed]; !ok {
			stride := 101
			if testing.Short() {
				stride = 509
			}
			honest[seed] = sample(imageOptions(), seed, stride, planted{})
		}
		return honest[seed]
	}
	for _, bug := range bugs() {
		t.Run(bug.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 4; seed++ {
				opt := imageOptions()
				if bug.change != nil {
					bug.change(&opt)
				}
				if err := sample(opt, seed, 7, bug); err != nil {
					t.Logf("found: %v", err)
					if err := control(seed); err != nil {
						t.Errorf("without the bug: %v", err)
					}
					return
				}
			}
			t.Error("not found")
		})
	}
}

// bugs are those that can be told by what reaches the disk.
func bugs() []planted {
	start := path.Join(root, "log-start-offset-checkpoint")
	return []planted{
		{name: "ack before flush", wrap: func(fs vfs.FS) vfs.FS {
			return spoilt{FS: fs, sync: func(name string) bool { return !strings.HasSuffix(name, segment.LogSuffix) }}
		}},
		{name: "no directory sync", wrap: func(fs vfs.FS) vfs.FS {
			return spoilt{FS: fs, syncDir: func(name string) bool { return path.Dir(name) != root }}
		}},
		{name: "duplicate acked before its original is durable", change: func(o *options) { o.early = true }},
		{name: "cleaned segment renamed before it is synced", from: 660, wrap: func(fs vfs.FS) vfs.FS {
			return spoilt{FS: fs, sync: func(name string) bool { return !strings.Contains(name, ".cleaned") }}
		}},
		{name: "segments removed before the start is durable", wrap: func(fs vfs.FS) vfs.FS {
			return spoilt{FS: fs, sync: func(name string) bool { return !strings.HasPrefix(name, start) }}
		}},
		{name: "recovery point ahead of the flush", wrap: func(fs vfs.FS) vfs.FS {
			return spoilt{FS: fs, write: pointsAhead}
		}},
		{name: "producer snapshot newer than its offset", from: 495, wrap: func(fs vfs.FS) vfs.FS {
			return spoilt{FS: fs, rename: newerSnapshot(map[string]string{})}
		}},
	}
}

// pointsAhead writes each recovery point down as it will be later.
func pointsAhead(name string, p []byte) []byte {
	if !strings.Contains(name, "recovery-point") {
		return p
	}
	var out bytes.Buffer
	for i, line := range strings.Split(strings.TrimSuffix(string(p), "\n"), "\n") {
		var topic string
		var partition, at int64
		if _, err := fmt.Sscan(line, &topic, &partition, &at); err == nil && i >= 2 {
			line = fmt.Sprintf("%s %d %d", topic, partition, at+25)
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes()
}

// newerSnapshot writes each snapshot over the one before it too; last is the name
// of the newest in each folder.
func newerSnapshot(last map[string]string) func(fs vfs.FS, oldName, newName string) error {
	return func(fs vfs.FS, oldName, newName string) error {
		if !strings.HasSuffix(newName, ".snapshot") {
			return nil
		}
		dir := path.Dir(newName)
		before := last[dir]
		last[dir] = newName
		there, err := vfs.Exists(fs, before)
		if err != nil || !there || before == "" || before >= newName {
			return err
		}
		data, err := vfs.ReadFile(fs, oldName, 1<<20)
		if err == nil {
			err = vfs.WriteAtomic(fs, before, data)
		}
		return err
	}
}

// failing plays a story in which the k-th sync of a segment fails, which must end
// that log, and looks at what is left.
func failing(seed uint64, k int, retry bool) error {
	stride := 101
	if retry {
		stride = 7
	}
	opt := imageOptions()
	tape := newTape()
	disk := vfs.NewMem(vfs.MemConfig{})
	syncs := 0
	disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, segment.LogSuffix) {
			if syncs++; syncs == k {
				v.Err = syscall.EIO
			}
		}
		return v
	})
	s, err := begin(opt, seed, spoilt{FS: recorder{disk, tape}, retry: retry}, tape)
	for err == nil && tape.ops() < 1000 {
		err = s.step(acts[:])
	}
	if err != nil && !errors.Is(err, syscall.EIO) {
		return err
	}
	if err == nil && syncs >= k && !retry {
		return errors.New("a sync failed, and nobody was told")
	}
	im := images{opt: opt, seed: seed, tape: tape, stride: stride, workers: 2}
	_, err = im.run()
	return err
}

func TestPlantedFailedFsyncRetried(t *testing.T) {
	for k := 20; k <= 60; k += 40 {
		if err := failing(1, k, false); err != nil {
			t.Errorf("without the bug, sync %d failing: %v", k, err)
		}
	}
	for k := 20; k <= 200; k += 20 {
		if err := failing(1, k, true); err != nil {
			t.Logf("found when sync %d failed: %v", k, err)
			return
		}
	}
	t.Error("not found")
}

// After a killed process, what recovery found in memory is served before it is
// on the disk.
func TestPlantedRecoveredTailServedUnflushed(t *testing.T) {
	opt := imageOptions()
	tape, _, err := tell(opt, 1, 600, nil)
	if err != nil {
		t.Fatal(err)
	}
	lazy := func(fs vfs.FS) vfs.FS {
		no := func(string) bool { return false }
		return spoilt{FS: fs, sync: no, syncDir: no}
	}
	p := newPlayer(opt.partitions)
	im := images{opt: opt}
	found := false
	for i := range tape.ticks {
		if tick := &tape.ticks[i]; tick.changes() && i%97 == 0 {
			dice := rand.New(rand.NewPCG(1, uint64(i)))
			if err := im.survive(p.disk.Fork(), p.logs, dice, true); err != nil {
				t.Fatalf("without the bug: %v", err)
			}
			disk := p.disk.Fork()
			s, err := resume(opt, lazy(disk), p.logs, dice)
			if err != nil {
				t.Fatal(err)
			}
			var logs []*history
			for _, part := range s.parts {
				logs = append(logs, part.hist)
			}
			if _, err := resume(opt, disk.Crash(vfs.DropAll, nil), logs, dice); err != nil {
				t.Logf("found: %v", err)
				found = true
				break
			}
		}
		if err := p.play(&tape.ticks[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Error("not found")
	}
}

// forgetful is a disk on which a start finds no recovery points and no sums: to
// it, damage is a torn end, and it cuts it off.
type forgetful struct{ vfs.FS }

func (f forgetful) hides(name string) bool {
	base := path.Base(name)
	return strings.Contains(base, "recovery-point") || strings.HasSuffix(base, segment.SumsSuffix) ||
		strings.HasPrefix(base, ".myelin") || strings.HasPrefix(base, ".kafka") || base == "damage"
}

func (f forgetful) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if flag == vfs.ReadOnly && f.hides(name) {
		return f.FS.Open(name+".hidden", flag)
	}
	return f.FS.Open(name, flag)
}

func (f forgetful) ReadDir(name string) ([]vfs.Info, error) {
	list, err := f.FS.ReadDir(name)
	kept := list[:0]
	for _, i := range list {
		if !f.hides(i.Name) {
			kept = append(kept, i)
		}
	}
	return kept, err
}

// A start takes rot for a torn end and cuts it off, with everything behind it.
func TestPlantedDamageCutOff(t *testing.T) {
	v := victims(t, flipOptions(), 1)[1]
	dice := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		kind, h := v.draw(dice, true)
		if kind != segment.LogSuffix {
			continue
		}
		if _, err := v.suffer(kind, h, how{}); err != nil {
			t.Fatalf("without the bug, %s: %v", h, err)
		}
		bad := *v
		bad.wrap = func(fs vfs.FS) vfs.FS { return forgetful{fs} }
		if _, err := bad.suffer(kind, h, how{}); err != nil {
			t.Logf("found: %s: %v", h, err)
			return
		}
	}
	t.Error("not found")
}
