package commitlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// A trace drives a log through everything it can do and keeps the promises it
// was given on the way. Every record's sequence is its offset, and a truncation
// begins a new leader epoch, so what is read back tells which history it is of.
type trace struct {
	*rig
	rng   *rand.Rand
	epoch int32
	acked []int32 // epoch of each offset that was flushed
	start int64   // promised by DeleteTo or a retention
	undo  Undo

	faulty bool // the disk fails now and then: not every end is in order
}

const traceProducer = 77

// run goes through n steps, or until the power is gone.
func (tr *trace) run(n int) error {
	for range n {
		if err := tr.step(); err != nil {
			return err
		}
	}
	return nil
}

func (tr *trace) step() error {
	switch p := tr.rng.IntN(100); {
	case p < 51:
		return tr.produce(1 + tr.rng.IntN(3))
	case p < 55:
		return tr.nap()
	case p < 85:
		return tr.flush()
	case p < 91:
		return tr.home.Checkpoint()
	case p < 94:
		to := tr.log.Start() + tr.rng.Int64N(tr.log.End()-tr.log.Start()+1)
		if err := tr.log.DeleteTo(to); err != nil {
			return err
		}
		tr.noteFlushed()
		tr.start = max(tr.start, to)
	case p < 97:
		tr.now = tr.now.Add(time.Minute)
		if _, err := tr.log.Retain(tr.log.Flushed()); err != nil {
			return err
		}
		tr.noteFlushed()
		tr.start = max(tr.start, tr.log.Start())
	case p < 99:
		return tr.truncate()
	default:
		return tr.restart()
	}
	return nil
}

func (tr *trace) produce(n int) error {
	at := tr.log.End()
	b := makeBatch(batchSpec{
		n: n, at: at, size: 40, ts: tr.now.UnixMilli(), epoch: tr.epoch,
		producer: &record.Producer{ID: traceProducer, Sequence: int32(at)},
	})
	if v, err := tr.log.Producers().Check(&b.Header); err != nil || v.Duplicate {
		tr.t.Fatalf("offset %d: %+v %v", at, v, err)
	}
	tr.undo.Reset()
	tr.log.Producers().Take(&b.Header, &tr.undo)
	err := tr.log.Append([]Batch{b})
	if err != nil {
		tr.log.Producers().Restore(&tr.undo, tr.log.End())
	}
	return err
}

func (tr *trace) flush() error {
	if err := tr.log.Flush(); err != nil {
		return err
	}
	tr.noteFlushed()
	return nil
}

// noteFlushed takes Flushed as a promise, as package replica does for acks.
func (tr *trace) noteFlushed() {
	for int64(len(tr.acked)) < tr.log.Flushed() {
		tr.acked = append(tr.acked, tr.epochAt(int64(len(tr.acked))))
	}
}

func (tr *trace) epochAt(off int64) int32 {
	epoch := int32(-1)
	for _, e := range tr.log.Epochs() {
		if e.Start <= off {
			epoch = e.Epoch
		}
	}
	return epoch
}

// truncate cuts off an end, as a follower with a diverging history does.
func (tr *trace) truncate() error {
	low := max(tr.log.Start(), tr.log.End()-10)
	to := low + tr.rng.Int64N(tr.log.End()-low+1)
	// From here on the old end is no promise any more.
	tr.acked = tr.acked[:min(int64(len(tr.acked)), max(low-3, tr.start))]
	if err := tr.log.TruncateTo(to); err != nil {
		return err
	}
	if tr.log.End() > to || tr.log.End() < to-3 {
		tr.t.Fatalf("truncated to %d, ends at %d", to, tr.log.End())
	}
	tr.noteFlushed()
	tr.epoch++
	return tr.log.AssignEpoch(tr.epoch, tr.log.End())
}

// restart closes in order and opens again.
func (tr *trace) restart() error {
	if err := tr.log.Close(); err != nil {
		return err
	}
	tr.noteFlushed()
	home := tr.home
	tr.home = nil
	if err := home.Close(true); err != nil {
		return err
	}
	if err := tr.tryStart(); err != nil {
		return err
	}
	if !tr.rec.Clean && !tr.faulty {
		tr.t.Fatal("closed in order, opened as if not")
	}
	return nil
}

// nap lets the log come to rest, and half of the time sleep and wake.
func (tr *trace) nap() error {
	if err := tr.flush(); err != nil {
		return err
	}
	for range 2 { // it rests once nothing was written from one to the next
		if err := tr.home.Checkpoint(); err != nil {
			return err
		}
	}
	if err := tr.log.Failed(); err != nil {
		return err
	}
	if _, ok := tr.home.Resting(tr.log.Name()); !ok && !tr.faulty {
		tr.t.Fatalf("not at rest at %d", tr.log.End())
	}
	if tr.rng.IntN(2) == 0 {
		return nil
	}
	if err := tr.log.Close(); err != nil {
		return err
	}
	if err := tr.open(); err != nil {
		return err
	}
	if !tr.rec.Clean && !tr.faulty {
		tr.t.Fatal("slept, and was examined")
	}
	return nil
}

// newTrace makes a trace; with stop ≥ 0 the power goes before that operation.
func newTrace(t testing.TB, seed uint64, stop int64, wrap func(*vfs.Mem) vfs.FS) (*trace, error) {
	r := &rig{t: t, disk: vfs.NewMem(vfs.MemConfig{}), now: epoch0, tun: Tunables{
		SegmentBytes: 1200, IndexInterval: 200, RetentionAge: 3 * time.Minute,
	}}
	if seed >= oneSegment {
		r.tun.SegmentBytes = 1 << 20
	}
	r.disk.StopBefore(stop)
	r.fs = wrap(r.disk)
	tr := &trace{rig: r, rng: rand.New(rand.NewPCG(seed, 99))}
	return tr, tr.tryStart()
}

func plain(m *vfs.Mem) vfs.FS { return m }

// check opens what is left and compares it with the promises.
func (tr *trace) check(disk *vfs.Mem) (err error) {
	r := &rig{t: tr.t, disk: disk, fs: disk, now: tr.now, tun: tr.tun}
	err = r.openHome()
	if err == nil {
		if known, ok := r.home.Resting(kafka.TopicPartition{Topic: "t", Partition: 3}); ok && known.End < int64(len(tr.acked)) {
			return fmt.Errorf("is said to rest at %d, %d was acknowledged", known.End, len(tr.acked))
		}
		err = r.open()
	}
	if err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	l := r.log
	if l.Start() < tr.start && tr.start <= l.End() {
		return fmt.Errorf("starts at %d, records below %d were deleted", l.Start(), tr.start)
	}
	if l.End() < int64(len(tr.acked)) {
		return fmt.Errorf("ends at %d, %d was acknowledged (%+v)", l.End(), len(tr.acked), r.rec)
	}
	if l.Flushed() != l.End() {
		return fmt.Errorf("serves up to %d, durable up to %d", l.End(), l.Flushed())
	}
	if err := tr.contents(l); err != nil {
		return err
	}
	// The producer goes on where the log ends.
	next := makeBatch(batchSpec{at: l.End(), epoch: tr.epoch + 1, producer: &record.Producer{ID: traceProducer, Sequence: int32(l.End())}})
	if v, err := l.Producers().Check(&next.Header); err != nil || v.Duplicate {
		return fmt.Errorf("next batch at %d: %+v %w", l.End(), v, err)
	}
	if err := l.Append([]Batch{next}); err != nil {
		return err
	}
	// What it serves now, it still has after another cut.
	end := next.Header.BaseOffset
	again := &rig{t: tr.t, disk: disk.Crash(vfs.DropAll, nil), now: tr.now, tun: tr.tun}
	again.fs = again.disk
	if err := again.tryStart(); err != nil {
		return fmt.Errorf("does not open a second time: %w", err)
	}
	if again.log.End() < end {
		return fmt.Errorf("served up to %d after recovery, a second cut left %d", end, again.log.End())
	}
	return tr.contents(again.log)
}

// contents reads the log whole: offsets without a gap, the acknowledged ones of
// the right history.
func (tr *trace) contents(l *Log) error {
	want := l.Start()
	for want < l.End() {
		rng, err := l.Read(want, 1<<20, l.End(), true)
		if err != nil {
			return err
		}
		data := make([]byte, rng.Len())
		_, err = rng.ReadAt(data, 0)
		rng.Release()
		if err != nil || len(data) == 0 {
			return fmt.Errorf("read at %d: %d bytes: %w", want, len(data), err)
		}
		for len(data) > 0 {
			h, err := record.Check(data[:record.Size(data)])
			if err != nil {
				return err
			}
			if h.BaseOffset > want {
				return fmt.Errorf("offset %d comes after %d", h.BaseOffset, want)
			}
			for ; want <= h.LastOffset(); want++ {
				if want < int64(len(tr.acked)) && tr.acked[want] != h.LeaderEpoch {
					return fmt.Errorf("offset %d is of epoch %d, acknowledged in %d", want, h.LeaderEpoch, tr.acked[want])
				}
			}
			data = data[h.Size():]
		}
	}
	return nil
}

// cutEverywhere cuts the power before every stride-th operation of a trace, in
// every way, and gives the first broken promise.
func cutEverywhere(t testing.TB, seed uint64, stride int64, wrap func(*vfs.Mem) vfs.FS) (cuts int, broken error) {
	full, err := newTrace(t, seed, -1, wrap)
	if err == nil {
		err = full.run(traceSteps)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := int64(seed) % stride; n < full.disk.Ops(); n += stride {
		tr, err := newTrace(t, seed, n, wrap)
		if err == nil {
			err = tr.run(traceSteps)
		}
		if !errors.Is(err, vfs.ErrPowerCut) {
			t.Fatalf("cut before operation %d: %v", n, err)
		}
		for i, p := range vfs.Policies {
			if err := tr.check(tr.disk.Crash(p, rand.New(rand.NewPCG(seed, uint64(n)*8+uint64(i))))); err != nil {
				return cuts, fmt.Errorf("seed %d, cut before operation %d, %v: %w", seed, n, p, err)
			}
			cuts++
		}
	}
	return cuts, nil
}

const traceSteps = 400

// oneSegment is from which seed on a trace has one segment, small enough for its
// caches to be left to the manifest.
const oneSegment = 100

// TestPowerCut: whatever operation of the file system the power fails at, and
// whatever of the unsynced it leaves, nothing flushed is lost, deleted records
// stay deleted, truncated ones do not come back, and the producer goes on.
func TestPowerCut(t *testing.T) {
	stride, seeds := int64(3), uint64(3) // each operation in one of the seeds
	if testing.Short() {
		stride, seeds = 13, 1
	}
	list := []uint64{oneSegment}
	for seed := range seeds {
		list = append(list, seed, oneSegment+1+seed)
	}
	for _, seed := range list {
		cuts, err := cutEverywhere(t, seed, stride, plain)
		if err != nil {
			t.Error(err)
		}
		t.Logf("seed %d: %d cuts", seed, cuts)
	}
}

// lyingFS leaves out what skip says, as a program with a bug would.
type lyingFS struct {
	vfs.FS
	skip func(op, name string) bool
}

func (f lyingFS) SyncDir(name string) error {
	if f.skip("syncdir", name) {
		return nil
	}
	return f.FS.SyncDir(name)
}

func (f lyingFS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	file, err := f.FS.Open(name, flag)
	return lyingFile{file, f, name}, err
}

type lyingFile struct {
	vfs.File
	fs   lyingFS
	name string
}

func (f lyingFile) Sync() error {
	if f.fs.skip("sync", f.name) {
		return nil
	}
	return f.File.Sync()
}

// TestPowerCutFindsBugs plants bugs below the log and wants the power cuts to
// find each: a suite that finds nothing proves nothing.
func TestPowerCutFindsBugs(t *testing.T) {
	for name, skip := range map[string]func(op, name string) bool{
		"ack before flush": func(op, name string) bool {
			return op == "sync" && strings.HasSuffix(name, ".log")
		},
		"new segment without directory sync": func(op, name string) bool {
			return op == "syncdir" && name == "/data/t-3"
		},
		"new folder without directory sync": func(op, name string) bool {
			return op == "syncdir" && name == "/data"
		},
		"ack before the manifest knows": func(op, name string) bool {
			return op == "sync" && name == "/data/.myelin_manifest"
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cutEverywhere(t, 1, 5, func(m *vfs.Mem) vfs.FS { return lyingFS{m, skip} })
			if err == nil {
				t.Fatal("not found")
			}
			t.Log(err)
		})
	}
}

// TestPowerCutInRecovery: recovery may be cut off at any operation too.
func TestPowerCutInRecovery(t *testing.T) {
	full, err := newTrace(t, 5, -1, plain)
	if err == nil {
		err = full.run(traceSteps)
	}
	if err != nil {
		t.Fatal(err)
	}
	stride := full.disk.Ops() / 12
	if testing.Short() {
		stride = full.disk.Ops() / 3
	}
	for n := stride; n < full.disk.Ops(); n += stride {
		for i, p := range []vfs.Policy{vfs.DropAll, vfs.KeepAll, vfs.Sectors, vfs.Torn} {
			tr, err := newTrace(t, 5, n, plain)
			if err == nil {
				err = tr.run(traceSteps)
			}
			if !errors.Is(err, vfs.ErrPowerCut) {
				t.Fatal(err)
			}
			dice := rand.New(rand.NewPCG(uint64(n), uint64(i)))
			for m := int64(0); ; m++ {
				disk := tr.disk.Crash(p, rand.New(rand.NewPCG(1, uint64(n))))
				disk.StopBefore(m)
				r := &rig{t: t, disk: disk, fs: disk, now: tr.now, tun: tr.tun}
				err := r.tryStart()
				if err == nil {
					break
				}
				if !errors.Is(err, vfs.ErrPowerCut) {
					t.Fatal(err)
				}
				for _, again := range []vfs.Policy{vfs.DropAll, vfs.Sectors} {
					if err := tr.check(disk.Crash(again, dice)); err != nil {
						t.Fatalf("cut before %d, %v, recovery cut before %d, %v: %v", n, p, m, again, err)
					}
				}
			}
		}
	}
}

// TestRecoveredTailIsFlushed: a killed process leaves bytes in the page cache
// that no disk has. They may be served only once they are durable.
func TestRecoveredTailIsFlushed(t *testing.T) {
	serve := func(wrap func(*vfs.Mem) vfs.FS) (served, survived int64) {
		r := newRig(t, Tunables{})
		r.fill(1, 1, 1)
		r.must(r.log.Flush())
		r.fill(5, 1, 1) // never flushed
		r.kill()
		r.fs = wrap(r.disk)
		r.start()
		served = r.log.End()
		if r.log.Flushed() != served {
			t.Fatal("serves what it says is not durable")
		}
		r.crash(vfs.DropAll, 0)
		r.start()
		return served, r.log.End()
	}
	if served, survived := serve(plain); served != 6 || survived != 6 {
		t.Fatal(served, survived)
	}
	// With the syncs of recovery left out, this very test sees the loss.
	served, survived := serve(func(m *vfs.Mem) vfs.FS {
		return lyingFS{m, func(op, _ string) bool { return op == "sync" }}
	})
	if survived >= served {
		t.Fatal("a recovery that does not flush goes unnoticed", served, survived)
	}
}

// TestFailedFlushIsFinal: after a failed sync the kernel says yes to the next,
// though the disk lacks the data. The log must not ask again, and must not
// believe the page cache when it is opened again in the same run of the machine.
func TestFailedFlushIsFinal(t *testing.T) {
	for _, where := range []string{".log", "/data/t-3"} {
		t.Run(where, func(t *testing.T) {
			r := newRig(t, Tunables{})
			r.fill(3, 1, 1)
			if where == ".log" {
				r.must(r.log.Flush())
			}
			flushed := r.log.Flushed()
			r.fill(2, 1, 1)
			bad := errors.New("input/output error")
			r.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
				if strings.HasSuffix(op.Name, where) && (op.Kind == vfs.OpSync || op.Kind == vfs.OpSyncDir) {
					v.Err = bad
				}
				return v
			})
			if err := r.log.Flush(); !errors.Is(err, bad) || kafka.CodeOf(err) != kafka.KafkaStorageError {
				t.Fatal(err)
			}
			r.disk.SetHook(nil)
			syncs := r.disk.Ops()
			if err := r.log.Flush(); !errors.Is(err, bad) {
				t.Fatal("a second flush:", err)
			}
			if r.disk.Ops() != syncs {
				t.Fatal("it asked the disk again")
			}
			if err := r.produce(batchSpec{n: 1}); !errors.Is(err, bad) {
				t.Fatal(err)
			}
			if got := r.log.Flushed(); got != flushed {
				t.Fatal(got)
			}
			if got := r.read(0); len(got) != 5 {
				t.Fatal("readers keep the log as it was:", got)
			}
			if err := r.log.Close(); !errors.Is(err, bad) {
				t.Fatal(err)
			}
			r.must(r.home.Close(true))
			r.start()
			if r.rec.Clean || r.rec.SameBoot {
				t.Fatalf("%+v", r.rec)
			}
			if where == ".log" {
				r.whole(0, flushed)
			}
			end := r.log.End()
			r.crash(vfs.DropAll, 0)
			r.start()
			if r.log.End() != end {
				t.Fatal("it served", end, "and has", r.log.End())
			}
		})
	}
}
