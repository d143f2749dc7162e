package quorum

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// A full disk makes proposals wait and says so; with room again they are decided,
// by the same process, and are there after a power cut.
func TestFullDisk(t *testing.T) {
	for _, at := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync} {
		synctest.Test(t, func(t *testing.T) {
			fs := vfs.NewMem(vfs.MemConfig{})
			format(t, fs, self(1), self(1))
			m := open(t, fs, nil).run()
			if err := m.propose("before"); err != nil {
				t.Fatal(err)
			}
			fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
				if op.Kind == at && strings.HasSuffix(op.Name, ".log") {
					v = vfs.Verdict{Err: syscall.ENOSPC, Short: 11}
				}
				return v
			})
			done := make(chan error, 1)
			m.Propose([]byte("while"), func(err error) { done <- err })
			time.Sleep(time.Minute)
			if err := m.Full(); kafka.CodeOf(err) != kafka.KafkaStorageError || !vfs.IsNoSpace(err) || len(done) > 0 {
				t.Fatalf("%v fails: %v, %d answers, Run: %v", at, err, len(done), m.failure())
			}
			fs.SetHook(nil)
			began := time.Now()
			if err := <-done; err != nil || time.Since(began) > 10*time.Second {
				t.Fatal(err, time.Since(began))
			}
			if err := errors.Join(m.Full(), m.propose("after")); err != nil {
				t.Fatal(err)
			}
			crashed := fs.Crash(vfs.DropAll, nil)
			m.end()
			m = open(t, crashed, nil).run()
			synctest.Wait()
			if got := m.machine.all(); !slices.Equal(got, []string{"before", "while", "after"}) {
				t.Errorf("%q", got)
			}
			m.end()
		})
	}
}

// TestFullDiskEnds: a node that waits for room ends when it is told to.
func TestFullDiskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem(vfs.MemConfig{})
		format(t, fs, self(1), self(1))
		m := open(t, fs, nil).run()
		synctest.Wait()
		fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpWrite {
				v.Err = syscall.ENOSPC
			}
			return v
		})
		done := make(chan error, 1)
		m.Propose([]byte("x"), func(err error) { done <- err })
		time.Sleep(time.Minute)
		m.stop()
		if err := <-m.done; err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
	})
}

// Whatever operation of two lives finds the disk full, for how long, every
// proposal is decided in the end, nothing that was decided is lost, and the vote
// is not forgotten.
func TestFullDiskAtEachOperation(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 9
	}
	for n := int64(5); n < 160; n += stride {
		for _, long := range []int64{1, 9} {
			synctest.Test(t, func(t *testing.T) { fullFrom(t, n, n+long) })
		}
	}
}

func fullFrom(t *testing.T, from, to int64) {
	fs := vfs.NewMem(vfs.MemConfig{})
	format(t, fs, self(1), self(1))
	from, to = from+fs.Ops(), to+fs.Ops()
	fs.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind.Changes() && op.Kind != vfs.OpRemove && op.Seq >= from && op.Seq < to {
			v = vfs.Verdict{Err: syscall.ENOSPC, Short: op.Seq % 50}
		}
		return v
	})
	var want []string
	for life := range 2 {
		m := openWhenRoom(t, fs)
		for i := range 12 {
			s := fmt.Sprintf("%d-%d-%s", life, i, strings.Repeat("x", 30))
			if err := m.propose(s); err != nil {
				t.Fatalf("full at %d to %d: %v, Run: %v", from, to, err, m.failure())
			}
			want = append(want, s)
		}
		term := m.Status().Term
		crashed := fs.Crash(vfs.Sectors, rand.New(rand.NewPCG(uint64(from), uint64(life))))
		m.stop()
		if err := <-m.done; err != nil {
			t.Fatalf("full at %d to %d: Run: %v", from, to, err)
		}
		_ = errors.Join(m.Close(), m.home.Close(true)) // may find the disk full
		check := open(t, crashed, nil).run()
		synctest.Wait()
		if got := check.machine.all(); !slices.Equal(got, want) || check.Status().Term < term {
			t.Fatalf("full at %d to %d: life %d: %d of %d entries, term %d after %d", from, to, life, len(got), len(want), check.Status().Term, term)
		}
		check.end()
	}
}

// failure is the end of Run, if it ended.
func (m *member) failure() error {
	select {
	case err := <-m.done:
		return err
	default:
		return nil
	}
}

// openWhenRoom opens as often as the full disk refuses it.
func openWhenRoom(t *testing.T, fs *vfs.Mem) *member {
	for range 100 {
		if m, err := tryOpen(t, fs, func(c *Config) { c.SnapshotBytes = 300 }); err == nil {
			return m.run()
		} else if !vfs.IsNoSpace(err) {
			t.Fatal(err)
		}
	}
	t.Fatal("it does not open")
	return nil
}
