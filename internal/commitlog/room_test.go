package commitlog

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// TestRoomMarks pins the watermarks of volumes of all sizes, under the defaults.
func TestRoomMarks(t *testing.T) {
	c := RoomConfig{SoftBytes: 512 << 20, SoftPercent: 5, Ballast: 64 << 20}
	for _, v := range []struct {
		total int64
		want  marks
	}{
		{1 << 40, marks{soft: 512 << 20, hard: 16 << 20, ballast: 64 << 20}},
		{20 << 30, marks{soft: 512 << 20, hard: 16 << 20, ballast: 64 << 20}},
		{1 << 30, marks{soft: 53687091, hard: 5368709, ballast: 21474836}},
		{64 << 20, marks{soft: 3355443, hard: 335544, ballast: 1342177}},
		{16 << 20, marks{soft: 838860, hard: 209715, ballast: 0}},
	} {
		v.want.total = v.total
		if got := c.marks(v.total); got != v.want {
			t.Errorf("%d bytes: %+v, want %+v", v.total, got, v.want)
		}
	}
	// A laptop with 3 % of a terabyte left is not full, and gets no ballast yet.
	m := c.marks(1 << 40)
	if m.next(Plenty, 30<<30) != Plenty || m.wanted(0, 30<<30, false) != 0 || m.wanted(0, 30<<30, true) == 0 {
		t.Error("30 GiB are too few")
	}
	if m.wanted(0, 4<<30, false) != 64<<20 || m.wanted(0, m.soft, true) != 0 {
		t.Error("the ballast is not made when the volume fills up, or when it would fill it")
	}
}

// volume is a home on a small disk, watched, with a file that takes room from it.
type volume struct {
	*testing.T
	disk   *vfs.Mem
	home   *Home
	log    lines
	filler vfs.File
}

// lines are what a logger wrote, while it writes on.
type lines struct {
	mu   sync.Mutex // memory only
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const volumeSize = 100 << 20

func onVolume(t *testing.T, c RoomConfig, test func(*volume)) {
	synctest.Test(t, func(t *testing.T) {
		v := &volume{T: t, disk: vfs.NewMem(vfs.MemConfig{Bytes: volumeSize})}
		var err error
		if v.filler, err = v.disk.Create("/filler"); err != nil {
			t.Fatal(err)
		}
		v.home, err = OpenHome(HomeConfig{FS: vfs.Limit(v.disk, 8), Path: "/data", Now: time.Now, Room: c,
			Logger: slog.New(slog.NewTextHandler(&v.log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- v.home.Run(ctx) }()
		test(v)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// leave leaves so many bytes free, gives the watcher time to see it, and tells
// what it makes of it.
func (v *volume) leave(free int64) Room {
	v.Helper()
	s, err := v.disk.Space("/")
	if err != nil {
		v.Fatal(err)
	}
	size, err := v.filler.Size()
	if err != nil {
		v.Fatal(err)
	}
	if err := v.filler.Truncate(size + s.Free - free); err != nil {
		v.Fatal(err)
	}
	time.Sleep(2 * watchEvery)
	synctest.Wait()
	return v.home.Room()
}

// TestRoom: the state follows the free room down and up again, with a gap in
// between, and clients are told what to do.
func TestRoom(t *testing.T) {
	onVolume(t, RoomConfig{SoftBytes: 20 << 20, SoftPercent: 10}, func(v *volume) {
		for _, step := range []struct {
			free int64
			want Room
		}{
			{50 << 20, Plenty}, {10 << 20, Plenty}, {10<<20 - 1, Soft}, {12 << 20, Soft}, {13 << 20, Plenty},
			{1 << 20, Soft}, {200 << 10, Hard}, {400 << 10, Hard}, {600 << 10, Soft}, {0, Hard}, {50 << 20, Plenty},
		} {
			if got := v.leave(step.free); got != step.want {
				t.Errorf("%d bytes free: %v, want %v", step.free, got, step.want)
			}
			err := v.home.Crowded()
			if (err != nil) != (step.want != Plenty) || err != nil && kafka.CodeOf(err) != kafka.KafkaStorageError {
				t.Errorf("%d bytes free: clients are told %v", step.free, err)
			}
			if err != nil && !strings.Contains(err.Error(), "free some space") {
				t.Errorf("it does not say what to do: %v", err)
			}
		}
	})
	onVolume(t, RoomConfig{}, func(v *volume) {
		if got := v.leave(0); got != Plenty || v.home.Crowded() != nil {
			t.Errorf("without watermarks: %v", got)
		}
	})
}

// TestBallast: it is made before the volume is full, given up a step at a time
// when it is, makes way for what must be written, and comes back.
func TestBallast(t *testing.T) {
	onVolume(t, RoomConfig{SoftBytes: 10 << 20, Ballast: 2 << 20}, func(v *volume) {
		size := func() int64 { return v.home.Health().Ballast }
		if v.leave(90 << 20); size() != 2<<20 {
			t.Fatalf("%d bytes of ballast on a small volume", size())
		}
		if v.leave(40 << 20); size() != 2<<20 {
			t.Fatalf("%d bytes of ballast", size())
		}
		if info, err := v.disk.Stat("/data/" + ballastFile); err != nil || info.Size != 2<<20 {
			t.Fatal(info, err)
		}
		if got := v.leave(5 << 20); got != Soft || size() != 2<<20 {
			t.Fatalf("%v, %d bytes of ballast", got, size())
		}
		// A write finds nothing left before the watcher has looked.
		v.disk.SetHook(nil)
		s, _ := v.disk.Space("/")
		n, _ := v.filler.Size()
		if err := v.filler.Truncate(n + s.Free); err != nil {
			t.Fatal(err)
		}
		l, _, err := Open(Config{Home: v.home, Topic: "t", Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		err = v.home.relieved(func() error { return l.Append([]Batch{makeBatch(batchSpec{n: 1, size: 1 << 20, at: l.End()})}) })
		if err != nil || size() >= 2<<20 {
			t.Fatalf("%v, %d bytes of ballast", err, size())
		}
		for range 5 {
			v.leave(0)
		}
		if size() != 512<<10 {
			t.Fatalf("%d bytes of ballast on a full volume", size())
		}
		if !v.home.RelieveSince(size()+1) || v.home.RelieveSince(size()) {
			t.Fatal("a write that began before the last step but one was given has room to try; a later one has not")
		}
		if v.home.Relieve() || !v.home.RelieveLast() || v.home.RelieveLast() {
			t.Fatal("the last step is for the metadata log alone")
		}
		v.leave(0)
		if ok, _ := vfs.Exists(v.disk, "/data/"+ballastFile); ok {
			t.Fatal("the file is there")
		}
		if err := l.Append([]Batch{makeBatch(batchSpec{n: 1, size: 1 << 20, at: l.End()})}); !vfs.IsNoSpace(err) {
			t.Fatal(err)
		}
		if got := v.leave(40 << 20); got != Plenty || size() != 2<<20 {
			t.Fatalf("%v, %d bytes of ballast", got, size())
		}
	})
}

// TestSlowDevice: a call that does not come back is told of once when it is slow
// and once when it is stalled, with its file.
func TestSlowDevice(t *testing.T) {
	onVolume(t, RoomConfig{}, func(v *volume) {
		l, _, err := Open(Config{Home: v.home, Topic: "t", Now: time.Now})
		if err == nil {
			err = l.Append([]Batch{makeBatch(batchSpec{n: 1})})
		}
		if err != nil {
			t.Fatal(err)
		}
		v.disk.SetHook(func(op vfs.Op) (d vfs.Verdict) {
			if op.Kind == vfs.OpSync {
				d.Delay = 20 * time.Second
			}
			return d
		})
		flushed := make(chan error, 1)
		go func() { flushed <- l.Flush() }()
		time.Sleep(900 * time.Millisecond)
		if v.home.Health().Slowest != 0 {
			t.Error("slow at once")
		}
		time.Sleep(3 * time.Second)
		if h := v.home.Health(); h.Slowest < time.Second || v.home.Stalled() || !strings.Contains(v.log.String(), "call=sync") {
			t.Errorf("%+v %s", h, &v.log)
		}
		time.Sleep(9 * time.Second)
		if !v.home.Stalled() || strings.Count(v.log.String(), "the device is slow") != 2 {
			t.Errorf("stalled %v: %s", v.home.Stalled(), &v.log)
		}
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		time.Sleep(2 * watchEvery)
		if v.home.Stalled() || v.home.Health().Slowest != 0 {
			t.Error("it is well again")
		}
	})
}

// TestDirectoryFails: when several logs failed, or the volume is gone, all of its
// logs end, and whoever waits is told.
func TestDirectoryFails(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.EROFS} {
		onVolume(t, RoomConfig{}, func(v *volume) {
			var told []error
			var logs []*Log
			for _, name := range []string{"a", "b", "c", "d"} {
				l, _, err := Open(Config{Home: v.home, Topic: name, Now: time.Now,
					OnFlushed: func(_ int64, err error) { told = append(told, err) }})
				if err != nil {
					t.Fatal(err)
				}
				logs = append(logs, l)
			}
			v.disk.SetHook(func(op vfs.Op) (d vfs.Verdict) {
				if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Name, ".log") {
					d.Err = cause
				}
				return d
			})
			n := 0
			for ; n < 3 && v.home.Failed() == nil; n++ {
				if err := logs[n].Append([]Batch{makeBatch(batchSpec{n: 1})}); err == nil {
					t.Fatal("written")
				}
			}
			v.disk.SetHook(nil)
			synctest.Wait()
			select {
			case <-v.home.Down():
			default:
				t.Fatalf("%v: not down after %d logs", cause, n)
			}
			if cause == syscall.EIO && n != manyFailed || cause == syscall.EROFS && n != 1 {
				t.Errorf("%v: down after %d logs", cause, n)
			}
			if len(told) != len(logs) || kafka.CodeOf(told[3]) != kafka.KafkaStorageError {
				t.Errorf("told %v", told)
			}
			if err := logs[3].Append([]Batch{makeBatch(batchSpec{n: 1})}); kafka.CodeOf(err) != kafka.KafkaStorageError {
				t.Error(err)
			}
		})
	}
}
