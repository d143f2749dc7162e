package sim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// operations is how many changing operations of the disk the trace has at
// least.
const operations = 1000

// newPlay makes a player of the fixed trace, whose every life has the hook.
func newPlay(hook vfs.Hook) *play {
	rng := rand.New(rand.NewPCG(7, 7))
	p := &play{opt: Options{Hook: hook}, rand: rng, hash: sha256.New(), began: time.Now(),
		model: &model{commits: map[string]*commit{}}, sequences: map[*part]int32{}, given: map[int64]bool{}, producer: -1}
	p.node = &node{net: memnet.New(), fs: vfs.NewMem(vfs.MemConfig{Now: time.Now}), rand: rng, logger: slog.New(slog.DiscardHandler)}
	p.node.fs.SetHook(slowly(hook))
	p.client = &client{dial: p.node.dial}
	return p
}

// playTrace produces in every way there is, rolls segments, commits offsets
// and makes topics, until the disk has seen enough or its power is gone.
func (p *play) playTrace() error {
	cycle := []op{
		{"create topic", 0, (*play).createTopic},
		{"produce", 0, func(p *play) error { return p.produce(1, false) }},
		{"produce several", 0, func(p *play) error { return p.produce(5, false) }},
		{"produce acks=1", 0, func(p *play) error { return p.produce(1, true) }},
		{"commit", 0, (*play).commitOffset},
		{"produce again", 0, (*play).produceAgain},
		{"produce several", 0, func(p *play) error { return p.produce(8, false) }},
		{"member", 0, (*play).groupRound},
		{"wait", 0, (*play).wait},
	}
	for p.step = 0; p.node.fs.Ops() < operations && !p.node.fs.Stopped(); p.step++ {
		op := cycle[p.step%len(cycle)]
		if op.name == "create topic" && p.step >= 3*len(cycle) {
			continue
		}
		if err := op.do(p); err != nil && !errors.Is(err, errGone) {
			return fmt.Errorf("step %d, %s: %w", p.step, op.name, err)
		}
	}
	return nil
}

// cutAt plays the trace, cuts the power before operation n, and holds what is
// left to what was acknowledged; then once more, since what recovery showed
// counts as acknowledged too.
func cutAt(t *testing.T, n int64, hook vfs.Hook) (err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		p := newPlay(hook)
		err = p.liveTwice(n)
		p.client.close()
		if stopErr := p.node.stop(); err == nil && stopErr != nil {
			err = stopErr
		}
	})
	return err
}

func (p *play) liveTwice(n int64) error {
	if n >= 0 {
		p.node.fs.StopBefore(n)
	}
	if err := p.node.start(); err != nil && !p.node.fs.Stopped() {
		return err
	} else if err == nil {
		if err := p.playTrace(); err != nil {
			return err
		}
	}
	for life := range 2 {
		p.client.close()
		p.node.cut(vfs.DropAll)
		p.node.fs.SetHook(slowly(p.opt.Hook))
		if err := p.node.start(); err != nil {
			return fmt.Errorf("start %d after the cut: %w", life+1, err)
		}
		if err := p.audit(); err != nil {
			return fmt.Errorf("life %d after the cut: %w", life+1, err)
		}
	}
	return nil
}

// TestPowerCutAtEveryOperation cuts the power before each operation of the
// trace, drops all that is not synced, and reads everything back.
func TestPowerCutAtEveryOperation(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 53
	}
	cuts := 0
	for n := int64(0); n <= operations; n += stride {
		cryptotest.SetGlobalRandom(t, 7)
		if err := cutAt(t, n, nil); err != nil {
			t.Fatalf("power cut before operation %d: %v", n, err)
		}
		cuts++
	}
	t.Logf("%d power cuts over a trace of %d operations", cuts, operations)
}

// losesAcknowledged wants that a broker on a disk that is spoiled in a way that
// amounts to a bug in the broker is caught by the audit.
func losesAcknowledged(t *testing.T, hook func() vfs.Hook) {
	t.Helper()
	for n := int64(150); n <= operations; n += 50 {
		if err := cutAt(t, n, hook()); err != nil {
			t.Logf("caught at operation %d: %v", n, err)
			return
		}
	}
	t.Fatal("the audit did not notice")
}

// A broker that acknowledges before it flushes is one whose flushes do nothing.
func TestPlantedAckBeforeFlush(t *testing.T) {
	losesAcknowledged(t, func() vfs.Hook {
		return func(op vfs.Op) vfs.Verdict {
			return vfs.Verdict{Skip: op.Kind == vfs.OpSync && isLog(op.Name)}
		}
	})
}

// A broker that does not sync the folder of a new segment loses the file with
// all that was flushed to it.
func TestPlantedNoDirectorySync(t *testing.T) {
	losesAcknowledged(t, func() vfs.Hook {
		return func(op vfs.Op) vfs.Verdict {
			return vfs.Verdict{Skip: op.Kind == vfs.OpSyncDir && isPartition(op.Name)}
		}
	})
}

// A broker that serves what recovery found before it has flushed that shows
// records which the next power cut takes.
func TestPlantedRecoveredTailServedUnflushed(t *testing.T) {
	for n := int64(150); n <= operations; n += 250 {
		if err := unflushedTail(t, n, true); err != nil {
			t.Fatalf("without the bug, killed before operation %d: %v", n, err)
		}
	}
	for n := int64(150); n <= operations; n += 25 {
		if err := unflushedTail(t, n, false); err != nil {
			t.Logf("caught after a kill before operation %d: %v", n, err)
			return
		}
	}
	t.Fatal("the audit did not notice")
}

// unflushedTail lets a process die with its page cache intact, starts a broker,
// whose flushes do nothing unless it is honest, and then cuts the power.
func unflushedTail(t *testing.T, n int64, honest bool) (err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		p := newPlay(nil)
		defer func() {
			p.client.close()
			_ = p.node.stop()
		}()
		p.node.fs.StopBefore(n)
		if p.node.start() == nil {
			if err = p.playTrace(); err != nil {
				return
			}
		}
		p.client.close()
		p.node.kill()
		p.node.fs.SetHook(slowly(func(op vfs.Op) vfs.Verdict {
			return vfs.Verdict{Skip: !honest && (op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncDir) && isPartition(op.Name)}
		}))
		if err = p.node.start(); err != nil {
			return
		}
		if err = p.audit(); err != nil {
			return
		}
		p.client.close()
		p.node.cut(vfs.DropAll)
		p.node.fs.SetHook(slowly(nil))
		if err = p.node.start(); err == nil {
			err = p.audit()
		}
	})
	return err
}

// retrying is a file system whose files sync once more when a sync fails, as a
// broker does that takes an error of fsync for a passing one. The second sync
// succeeds, without the data that the first one lost.
type retrying struct{ vfs.FS }

type retryingFile struct{ vfs.File }

func (r retrying) Create(name string) (vfs.File, error) { return retried(r.FS.Create(name)) }

func (r retrying) Open(name string, flag vfs.Flag) (vfs.File, error) {
	return retried(r.FS.Open(name, flag))
}

func retried(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return retryingFile{f}, nil
}

func (f retryingFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return f.File.Sync()
	}
	return nil
}

// failingSync plays the trace while the k-th sync of a partition's data fails,
// and then cuts the power.
func failingSync(t *testing.T, k int, spoil func(vfs.FS) vfs.FS) (err error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		syncs := 0
		p := newPlay(func(op vfs.Op) vfs.Verdict {
			if op.Kind == vfs.OpSync && isLog(op.Name) {
				if syncs++; syncs == k {
					return vfs.Verdict{Err: syscall.EIO}
				}
			}
			return vfs.Verdict{}
		})
		p.node.spoil, p.diskFails = spoil, true
		defer func() {
			p.client.close()
			_ = p.node.stop() // a partition with a failed disk has no orderly end
		}()
		if err = p.node.start(); err != nil {
			return
		}
		if err = p.playTrace(); err != nil {
			return
		}
		p.client.close()
		p.node.cut(vfs.DropAll)
		p.diskFails = false
		p.node.fs.SetHook(slowly(nil))
		if err = p.node.start(); err == nil {
			err = p.audit()
		}
	})
	return err
}

// After a failed fsync nothing of that file may be acknowledged; a broker that
// tries again and then says yes has lost what it promised.
func TestPlantedFailedFsyncRetried(t *testing.T) {
	for k := 1; k <= 40; k += 13 {
		if err := failingSync(t, k, nil); err != nil {
			t.Fatalf("without the bug, sync %d failing: %v", k, err)
		}
	}
	for k := 1; k <= 80; k++ {
		if err := failingSync(t, k, func(fs vfs.FS) vfs.FS { return retrying{fs} }); err != nil {
			t.Logf("caught when sync %d failed: %v", k, err)
			return
		}
	}
	t.Fatal("the audit did not notice")
}
