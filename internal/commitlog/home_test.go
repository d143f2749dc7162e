package commitlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

func openHome(t testing.TB, disk vfs.FS, path string) *Home {
	t.Helper()
	h, err := OpenHome(HomeConfig{FS: disk, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func openLog(t *testing.T, h *Home, topic string) *Log {
	t.Helper()
	l, _, err := Open(Config{Home: h, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// write appends and flushes n records.
func write(t *testing.T, l *Log, n int) {
	t.Helper()
	for range n {
		if err := l.Append([]Batch{makeBatch(batchSpec{at: l.End(), ts: 1})}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestHomeNamesLast: the first flushed record survives, however deep the new
// directory lies, and also if whoever made the directory was killed at any
// operation before its name was durable.
func TestHomeNamesLast(t *testing.T) {
	for stop := int64(0); ; stop++ {
		disk := vfs.NewMem(vfs.MemConfig{})
		disk.StopBefore(stop)
		h, err := OpenHome(HomeConfig{FS: disk, Path: "/a/b/c"})
		done := err == nil
		disk.StopBefore(-1) // the process was killed, not the machine
		if h != nil {
			if err := h.lock.Close(); err != nil {
				t.Fatal(err)
			}
		}
		h = openHome(t, disk, "/a/b/c")
		write(t, openLog(t, h, "x"), 1)
		after := disk.Crash(vfs.DropAll, nil)
		if l := openLog(t, openHome(t, after, "/a/b/c"), "x"); l.End() != 1 {
			t.Fatal("stopped before", stop, "then lost everything")
		}
		if done {
			return
		}
	}
}

func TestHomeLock(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h := openHome(t, disk, "/d")
	if _, err := OpenHome(HomeConfig{FS: disk, Path: "/d"}); !errors.Is(err, vfs.ErrLocked) {
		t.Fatal(err)
	}
	if err := h.Close(true); err != nil {
		t.Fatal(err)
	}
	h = openHome(t, disk, "/d")
	if !h.Clean() || !h.SameBoot() {
		t.Fatal(h.Clean(), h.SameBoot())
	}
	h = openHome(t, disk.Crash(vfs.KeepAll, nil), "/d")
	if h.Clean() || h.SameBoot() {
		t.Fatal("a mark of a clean end outlived it", h.Clean(), h.SameBoot())
	}
}

// TestHomeNotClean: an end is clean only if every log was closed in order.
func TestHomeNotClean(t *testing.T) {
	for name, end := range map[string]func(h *Home, l *Log) error{
		"log left open": func(h *Home, _ *Log) error { return h.Close(true) },
		"not wanted":    func(h *Home, l *Log) error { return errors.Join(l.Close(), h.Close(false)) },
	} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem(vfs.MemConfig{})
			h := openHome(t, disk, "/d")
			if err := end(h, openLog(t, h, "x")); err != nil {
				t.Fatal(err)
			}
			if openHome(t, disk, "/d").Clean() {
				t.Fatal("clean")
			}
		})
	}
}

func TestCheckpointWritesOnlyNews(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	h := openHome(t, disk, "/d")
	l := openLog(t, h, "x")
	write(t, l, 3)
	for i, fresh := range []bool{true, true, false} { // points, then that the log is at rest
		before := disk.Ops()
		if err := h.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		if (disk.Ops() > before) != fresh {
			t.Fatal(i, disk.Ops()-before, "operations")
		}
	}
}

// TestRemoveLog: a removed log does not come back, a crash at any point leaves
// it whole or gone, and another of the same name begins at nothing.
func TestRemoveLog(t *testing.T) {
	tp := kafka.TopicPartition{Topic: "x"}
	prepare := func() (*vfs.Mem, *Home) {
		disk := vfs.NewMem(vfs.MemConfig{})
		h := openHome(t, disk, "/d")
		l := openLog(t, h, "x")
		write(t, l, 5)
		if err := errors.Join(l.DeleteTo(3), h.Checkpoint()); err != nil {
			t.Fatal(err)
		}
		if err := h.RemoveLog(tp); err == nil {
			t.Fatal("removed an open log")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return disk, h
	}
	disk, h := prepare()
	first := disk.Ops()
	if err := h.RemoveLog(tp); err != nil {
		t.Fatal(err)
	}
	for n := first; n <= disk.Ops(); n++ {
		for i, p := range vfs.Policies {
			m, h := prepare()
			m.StopBefore(n)
			err := h.RemoveLog(tp)
			m.StopBefore(-1)
			after := m.Crash(p, rand.New(rand.NewPCG(uint64(n), uint64(i))))
			h = openHome(t, after, "/d")
			logs, lerr := h.Logs()
			if lerr != nil || len(logs) == 1 && err == nil {
				t.Fatal("came back", n, p, lerr)
			}
			l := openLog(t, h, "x")
			want := "0 0"
			if len(logs) == 1 {
				want = "3 5"
			}
			if got := fmt.Sprint(l.Start(), l.End()); got != want {
				t.Fatalf("cut before %d, %v (%v): %s, %d logs", n, p, err, got, len(logs))
			}
		}
	}
}

// torn makes a directory of two logs, and pulls the plug: of two batches at the
// end of log b, both not synced, the first has lost a page.
func torn(t *testing.T) (disk *vfs.Mem, end int64) {
	t.Helper()
	disk = vfs.NewMem(vfs.MemConfig{})
	h := openHome(t, disk, "/d")
	write(t, openLog(t, h, "a"), 3)
	b := openLog(t, h, "b")
	write(t, b, 3)
	end, size := b.End(), b.Size()
	for range 2 {
		if err := b.Append([]Batch{makeBatch(batchSpec{at: b.End(), ts: 1, n: 50})}); err != nil {
			t.Fatal(err)
		}
	}
	after := disk.Crash(vfs.KeepAll, nil)
	f, err := after.Open("/d/b-0/00000000000000000000.log", vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 100), size+100); err != nil {
		t.Fatal(err)
	}
	return after, end
}

// TestCleanEndOfUnopened: the mark of a clean end does not vouch for a log that
// was left by a crash and that nobody has opened since.
func TestCleanEndOfUnopened(t *testing.T) {
	disk, end := torn(t)
	h := openHome(t, disk, "/d")
	if err := openLog(t, h, "a").Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(true); err != nil {
		t.Fatal(err)
	}
	h = openHome(t, disk, "/d")
	l, rec, err := Open(Config{Home: h, Topic: "b"})
	if err != nil || rec.Clean || l.End() != end {
		t.Fatalf("log b: %v, %+v", err, rec)
	}
	for _, l := range []*Log{l, openLog(t, h, "a")} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(true); err != nil {
		t.Fatal(err)
	}
	if h = openHome(t, disk, "/d"); !h.Clean() || !h.SameBoot() {
		t.Error("all were opened and closed in order: the marks are missing")
	}
}

// TestKilledBeforeExamined: what a power cut has torn may still be cut after a
// start that was killed before it came to it, though the machine runs on.
func TestKilledBeforeExamined(t *testing.T) {
	disk, end := torn(t)
	h := openHome(t, disk, "/d")
	openLog(t, h, "a")
	if err := h.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := h.lock.Close(); err != nil { // kill -9
		t.Fatal(err)
	}
	h = openHome(t, disk, "/d")
	if l := openLog(t, h, "b"); l.End() != end {
		t.Errorf("the end is %d, want %d", l.End(), end)
	}
	openLog(t, h, "a")
	if err := h.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := h.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if h = openHome(t, disk, "/d"); !h.SameBoot() {
		t.Error("all were examined: the machine's run is not noted")
	}
}
