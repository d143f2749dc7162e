package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// full is a hook under which writes to files of a suffix find the disk full, but
// for their first bytes.
func full(suffix string, short int64) vfs.Hook {
	return func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Name, suffix) {
			v = vfs.Verdict{Err: syscall.ENOSPC, Short: short}
		}
		return v
	}
}

// TestFullDisk: a write that does not fit says so and leaves nothing, neither to
// readers nor to the next start; with room again the log goes on.
func TestFullDisk(t *testing.T) {
	r := newRig(t, Tunables{})
	r.fill(3, 1, 100)
	r.must(r.log.Flush())
	r.disk.SetHook(full(".log", 400)) // one batch of three, and a torn one
	at := r.log.End()
	var three []Batch
	for i := range int64(3) {
		three = append(three, makeBatch(batchSpec{n: 1, at: at + i, size: 200}))
	}
	err := r.log.Append(three)
	if !vfs.IsNoSpace(err) || kafka.CodeOf(err) != kafka.KafkaStorageError || r.log.Failed() != nil {
		t.Fatal(err, r.log.Failed())
	}
	r.whole(0, 3)
	info, err := r.disk.Stat("/data/t-3/" + segment.Name(0, ".log"))
	if r.must(err); info.Size != r.log.Size() {
		t.Fatalf("the file has %d bytes, the log %d", info.Size, r.log.Size())
	}
	r.disk.SetHook(nil)
	r.fill(1, 1, 1)
	r.whole(0, 4)
	r.kill()
	r.start()
	if r.rec.CutBytes != 0 {
		t.Fatalf("%+v", r.rec)
	}
	r.whole(0, 4)
}

// TestFullDiskCannotCut: as long as the torn end stays, nothing is written
// behind it.
func TestFullDiskCannotCut(t *testing.T) {
	r := newRig(t, Tunables{})
	r.fill(1, 1, 10)
	r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
		if op.Kind == vfs.OpWrite || op.Kind == vfs.OpTruncate {
			v = vfs.Verdict{Err: syscall.ENOSPC, Short: 70}
		}
		return v
	})
	for range 3 {
		if err := r.produce(batchSpec{n: 1, size: 300}); !vfs.IsNoSpace(err) || r.log.Failed() != nil {
			t.Fatal(err, r.log.Failed())
		}
	}
	r.disk.SetHook(nil)
	r.fill(1, 1, 1)
	r.kill()
	r.start()
	r.whole(0, 2)
}

// TestFullDiskAtRoll: a segment that could not begin leaves no file, or the log
// would end at its name after the next start, whatever is written meanwhile.
func TestFullDiskAtRoll(t *testing.T) {
	for _, at := range []vfs.OpKind{vfs.OpCreate, vfs.OpRemove, vfs.OpWrite} {
		t.Run(at.String(), func(t *testing.T) {
			r := newRig(t, Tunables{SegmentBytes: 1000, IndexInterval: 100})
			r.fill(4, 1, 100)
			r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
				if op.Kind == at && !strings.HasSuffix(op.Name, segment.Name(0, ".log")) {
					v.Err = syscall.ENOSPC
				}
				return v
			})
			if err := r.produce(batchSpec{n: 1, size: 600}); !vfs.IsNoSpace(err) || r.log.Failed() != nil {
				t.Fatal(err, r.log.Failed())
			}
			r.disk.SetHook(nil)
			r.fill(2, 1, 10) // these fit the old segment
			if n := len(r.log.Segments()); n != 1 {
				t.Fatalf("%d segments", n)
			}
			r.must(r.log.Flush())
			r.kill()
			r.crash(vfs.NamesLost, 1)
			r.start()
			r.whole(0, 6)
		})
	}
}

// TestUndo: a batch that found no room may be sent again, and the batches before
// it are known as well as ever.
func TestUndo(t *testing.T) {
	r := newRig(t, Tunables{})
	p := r.log.Producers()
	var undo Undo
	take := func(at int64, seq int32, epoch int16, flags record.Attributes) Batch {
		b := makeBatch(batchSpec{n: 1, at: at, producer: &record.Producer{ID: 5, Epoch: epoch, Sequence: seq}, flags: flags})
		p.Take(&b.Header, &undo)
		return b
	}
	for i := range int64(7) {
		r.must(r.log.Append([]Batch{take(i, int32(i), 0, 0)}))
	}
	before := fmt.Sprint(p.Describe())
	undo.Reset()
	r.disk.SetHook(full(".log", 0))
	lost := []Batch{take(7, 7, 0, 0), take(8, 8, 0, record.Transactional), take(9, 0, 1, record.Transactional)}
	if err := r.log.Append(lost); !vfs.IsNoSpace(err) {
		t.Fatal(err)
	}
	p.Restore(&undo, r.log.End())
	if got := fmt.Sprint(p.Describe()); got != before {
		t.Errorf("the state is %s\nit was %s", got, before)
	}
	if first, open := p.FirstUnstable(7); open {
		t.Errorf("a transaction is open at %d", first)
	}
	for i := range int32(5) { // the last five are still duplicates
		b := makeBatch(batchSpec{n: 1, at: 7, producer: &record.Producer{ID: 5, Sequence: 2 + i}})
		if v, err := p.Check(&b.Header); err != nil || !v.Duplicate || v.Base != int64(2+i) {
			t.Errorf("sequence %d: %+v %v", 2+i, v, err)
		}
	}
	for _, seq := range []int32{7} {
		b := makeBatch(batchSpec{n: 1, at: 7, producer: &record.Producer{ID: 5, Sequence: seq}})
		if v, err := p.Check(&b.Header); err != nil || v.Duplicate {
			t.Errorf("sequence %d: %+v %v", seq, v, err)
		}
	}
}

// fault spoils the disk from one changing operation on, for some of them.
type fault struct {
	err      error
	from, to int64
	short    int64
}

func (f fault) hook(op vfs.Op) (v vfs.Verdict) {
	if op.Kind.Changes() && op.Seq >= f.from && op.Seq < f.to {
		v = vfs.Verdict{Err: f.err, Short: f.short}
		if op.Kind == vfs.OpRemove || op.Kind == vfs.OpTruncate && errors.Is(f.err, syscall.ENOSPC) {
			v.Err = nil // what gives room back is not kept from it
		}
	}
	return v
}

// endure goes through n steps of a trace on a disk that fails. What a full disk
// refuses is let be; a log that it ended is opened again, as package replica
// does. It gives the error that is final.
func (tr *trace) endure(n int) error {
	for range n {
		err := tr.step()
		switch {
		case err == nil:
		case !vfs.IsNoSpace(err):
			return err
		case tr.log == nil || tr.log.Failed() != nil:
			if err := tr.reopen(); err != nil && !vfs.IsNoSpace(err) {
				return err
			}
		}
	}
	return nil
}

// reopen opens the log anew, and the directory if it was closed.
func (tr *trace) reopen() (err error) {
	if tr.log != nil {
		_ = tr.log.Close() // it failed
	}
	for range 200 { // the fault ends after so many operations
		if tr.home == nil {
			tr.home, err = OpenHome(HomeConfig{FS: tr.fs, Path: "/data", Now: func() time.Time { return tr.now }})
			if err != nil {
				continue
			}
		}
		tr.log, tr.rec, err = Open(Config{Home: tr.home, Topic: "t", Partition: 3, TopicID: kafka.UUID{1}, Tunables: tr.tun})
		if err == nil || !vfs.IsNoSpace(err) {
			return err
		}
	}
	return err
}

// TestFaultAtEachOperation: whatever operation of a trace finds the disk full or
// broken, nothing that was flushed is lost, nothing panics, and after a full disk
// the log serves again, with no restart of the process.
func TestFaultAtEachOperation(t *testing.T) {
	stride := int64(1)
	if testing.Short() {
		stride = 17
	}
	whole, err := newTrace(t, 5, -1, plain)
	if err == nil {
		err = whole.run(traceSteps)
	}
	if err != nil {
		t.Fatal(err)
	}
	faults := 0
	for n := int64(8); n < whole.disk.Ops(); n += stride {
		for _, f := range []fault{
			{err: syscall.ENOSPC, from: n, to: n + 1, short: n % 90},
			{err: syscall.ENOSPC, from: n, to: n + 12, short: n % 300},
			{err: syscall.EIO, from: n, to: n + 1, short: n % 90},
			{err: syscall.EIO, from: n, to: 1 << 60},
		} {
			faults++
			if err := underFault(t, f); err != nil {
				t.Fatalf("%v at operation %d to %d: %v", f.err, f.from, f.to, err)
			}
		}
	}
	t.Logf("%d faults", faults)
}

func underFault(t *testing.T, f fault) error {
	tr, err := newTrace(t, 5, -1, plain)
	if err != nil {
		return err
	}
	tr.faulty = true
	tr.disk.SetHook(f.hook)
	err = tr.endure(traceSteps)
	tr.disk.SetHook(nil)
	switch {
	case errors.Is(f.err, syscall.ENOSPC) && err != nil:
		return fmt.Errorf("a full disk is final: %w", err)
	case errors.Is(f.err, syscall.ENOSPC):
		if tr.log == nil || tr.log.Failed() != nil {
			if err := tr.reopen(); err != nil {
				return fmt.Errorf("with room again: %w", err)
			}
		}
		for range 20 {
			if err := tr.step(); err != nil {
				return fmt.Errorf("with room again: %w", err)
			}
		}
	case err == nil && f.to-f.from > 1:
		return errors.New("nothing fails on a broken disk")
	}
	for i, p := range []vfs.Policy{vfs.DropAll, vfs.KeepAll, vfs.Sectors, vfs.Torn} {
		err := tr.check(tr.disk.Crash(p, rand.New(rand.NewPCG(uint64(f.from), uint64(i)))))
		if err != nil && !errors.Is(err, fs.ErrClosed) {
			return fmt.Errorf("%v: %w", p, err)
		}
	}
	return nil
}
