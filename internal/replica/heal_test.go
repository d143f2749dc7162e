package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/partition"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// failing is a hook under which operations of a kind on partitions' data fail.
func failing(kind vfs.OpKind, err error) vfs.Hook {
	return func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == kind && strings.HasSuffix(op.Name, ".log") {
			v = vfs.Verdict{Err: err, Short: 30}
		}
		return v
	}
}

// TestFlushOnFullDisk: nobody is told that what could not be flushed is durable,
// and the partition is back by itself when there is room; after any other error
// it stays offline.
func TestFlushOnFullDisk(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
			rep := r.hold()
			acked := await(rep, must(t, rep, client(t, from(7, 0, 1), true)).Last+1, true, nil)
			synctest.Wait()
			fs.SetHook(failing(vfs.OpSync, cause))
			refused := await(rep, must(t, rep, client(t, from(7, 1, 1), true)).Last+1, true, nil)
			time.Sleep(30 * time.Second)
			if acked.told() != nil || acked.calls() != 1 || refused.calls() != 1 || kafka.CodeOf(refused.told()) != kafka.KafkaStorageError {
				t.Fatalf("%v: %v, %v", cause, acked.told(), refused.told())
			}
			fs.SetHook(nil)
			time.Sleep(10 * time.Second)
			again, err := rep.Append(client(t, from(7, 1, 1), true))
			if cause == syscall.EIO {
				if kafka.CodeOf(err) != kafka.KafkaStorageError {
					t.Fatalf("after %v: %v", cause, err)
				}
				return
			}
			if err != nil || again.Duplicate || again.Base != 1 {
				t.Fatalf("with room again: %+v %v", again, err)
			}
			w := await(rep, again.Last+1, true, nil)
			time.Sleep(time.Second)
			if w.calls() != 1 || w.told() != nil {
				t.Fatal(w.told())
			}
			if got := fmt.Sprint(consume(t, rep, 0, ReadUncommitted)); got != "[0 1]" {
				t.Error(got)
			}
		})
	}
}

// TestFullDiskOfLeader: where others have what a leader could not flush, it is not
// back in the same epoch, in which it would give out the same offsets again; it
// asks to be replaced, and is back as a follower.
func TestFullDiskOfLeader(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewMem(vfs.MemConfig{Now: time.Now})
			var mu sync.Mutex
			var told []Placed
			dir := kafka.UUID{1: 9}
			r := start(t, fs, "/data", func(c *Config) {
				c.Dirs[0].ID = dir
				c.Named = func(list []Placed) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, list...)
				}
			})
			defer func() { _ = r.stop() }()
			role := partition.Assignment{Leader: self, LeaderEpoch: 1, Replicas: []int32{self, 2}, ISR: []int32{self, 2}}
			with := func(a *Assignment) { a.Role, a.Dir = role, dir }
			rep := r.hold(with)
			must(t, rep, client(t, from(7, 0, 1), true))
			synctest.Wait()
			fs.SetHook(failing(vfs.OpSync, cause))
			refused := await(rep, must(t, rep, client(t, from(7, 1, 1), true)).Last+1, true, nil)
			time.Sleep(10 * time.Second)
			fs.SetHook(nil)
			time.Sleep(10 * time.Second)
			mu.Lock()
			lost := len(told) > 0 && told[0].Dir == kafka.DirLost
			told = nil
			mu.Unlock()
			if kafka.CodeOf(refused.told()) != kafka.KafkaStorageError || rep.Offline() == nil || !lost {
				t.Fatalf("%v: %v, offline %v, asked to be replaced: %v", cause, refused.told(), rep.Offline(), lost)
			}
			role.Leader, role.LeaderEpoch, role.PartitionEpoch, role.ISR = 2, 2, 1, []int32{2}
			r.table.Apply(Delta{Assigned: []Assignment{single("t", with, func(a *Assignment) { a.Dir = kafka.DirLost })}})
			time.Sleep(10 * time.Second)
			mu.Lock()
			back := len(told) > 0 && told[len(told)-1].Dir == dir
			mu.Unlock()
			if back != (cause == syscall.ENOSPC) {
				t.Fatalf("%v: told where it is: %v", cause, back)
			}
			r.table.Apply(Delta{Assigned: []Assignment{single("t", with)}})
			time.Sleep(time.Second)
			if _, _, ok := (Follower{rep}).Following(); ok != back {
				t.Errorf("%v: follows: %v", cause, ok)
			}
		})
	}
}

// TestOpenOnFullDisk: a partition that cannot be made is made when there is room.
func TestOpenOnFullDisk(t *testing.T) {
	bubble(t, func(t *testing.T, fs *vfs.Mem, r *rig) {
		fs.SetHook(failing(vfs.OpCreate, syscall.ENOSPC))
		r.table.Apply(Delta{Assigned: []Assignment{single("t")}})
		time.Sleep(20 * time.Second)
		if _, err := r.table.Get("t", 0); kafka.CodeOf(err) != kafka.KafkaStorageError {
			t.Fatal(err)
		}
		fs.SetHook(nil)
		time.Sleep(10 * time.Second)
		rep, err := r.table.Get("t", 0)
		if err != nil {
			t.Fatal(err)
		}
		must(t, rep, client(t, from(7, 0, 1), true))
	})
}

// TestFaults: a producer goes on while the disk is full, or breaks, at any of its
// operations. What was acknowledged is there after a power cut, once and in
// order; a full disk ends nothing, and within ten seconds of room all is served.
func TestFaults(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 11
	}
	for n := int64(0); n < 150; n += stride {
		for _, f := range []disorder{
			{err: syscall.ENOSPC, from: n, to: n + 1},
			{err: syscall.ENOSPC, from: n, to: n + 25},
			{err: syscall.EIO, from: n, to: n + 1},
		} {
			synctest.Test(t, func(t *testing.T) { f.play(t) })
		}
	}
}

// disorder lets the changing operations in a span fail.
type disorder struct {
	err      error
	from, to int64
}

func (f disorder) String() string { return fmt.Sprintf("%v at %d to %d", f.err, f.from, f.to) }

func (f disorder) play(t *testing.T) {
	fs := vfs.NewMem(vfs.MemConfig{Now: time.Now})
	r := start(t, fs, "/data")
	defer func() { _ = r.stop() }()
	r.hold(config(func(c *TopicConfig) { c.Log.SegmentBytes = 700 }))
	first := fs.Ops()
	fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if at := op.Seq - first; op.Kind.Changes() && op.Kind != vfs.OpRemove && at >= f.from && at < f.to {
			v = vfs.Verdict{Err: f.err, Short: at % 70}
		}
		return v
	})
	acked := int32(0)
	for ; acked < 40; acked++ {
		began := time.Now()
		err := f.send(t, r, acked)
		for err != nil && errors.Is(f.err, syscall.ENOSPC) && time.Since(began) < time.Minute {
			time.Sleep(250 * time.Millisecond)
			err = f.send(t, r, acked)
		}
		if err != nil {
			if errors.Is(f.err, syscall.ENOSPC) {
				t.Fatalf("%v: sequence %d: %v", f, acked, err)
			}
			break // the disk is broken, and stays so
		}
	}
	for _, p := range []vfs.Policy{vfs.DropAll, vfs.KeepAll, vfs.Sectors} {
		f.check(t, fs.Crash(p, rand.New(rand.NewPCG(uint64(f.from), uint64(p)))), acked)
	}
}

// send writes one batch with acks=all.
func (f disorder) send(t *testing.T, r *rig, sequence int32) error {
	rep, err := r.table.Get("t", 0)
	if err != nil {
		return err
	}
	got, err := rep.Append(client(t, from(7, sequence, 1), true))
	if err != nil {
		return err
	}
	told := make(chan error, 1)
	rep.AwaitCommitted(&Waiter{Offset: got.Last + 1, Durable: true, Done: func(err error) { told <- err }})
	//house:select an answer that never comes is an error like any other
	select {
	case err := <-told:
		return err
	case <-time.After(time.Minute):
		return errors.New("no answer")
	}
}

// check opens what a power cut left and reads it.
func (f disorder) check(t *testing.T, disk *vfs.Mem, acked int32) {
	r := start(t, disk, "/data")
	defer func() { _ = r.stop() }()
	rep := r.hold()
	next := int32(0)
	for at := int64(0); ; {
		b, after, err := rep.Batches(at, 1<<20, ReadUncommitted)
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		if b == nil {
			break
		}
		for ; len(b) > 0; b = b[record.Size(b):] {
			h, err := record.ParseHeader(b)
			if err != nil || h.BaseSequence != next {
				t.Fatalf("%v: sequence %d where %d should be: %v", f, h.BaseSequence, next, err)
			}
			next++
		}
		at = after
	}
	if next < acked {
		t.Fatalf("%v: %d of %d acknowledged batches are left", f, next, acked)
	}
}
