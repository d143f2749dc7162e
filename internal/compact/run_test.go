package compact

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/segment"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// shop is a compactor over a few logs, in a bubble of false time.
type shop struct {
	*testing.T
	disk *vfs.Mem
	home *commitlog.Home
	mu   sync.Mutex
	logs map[string]*rig
	c    *Compactor
}

// show lets the compactor see a log.
func (s *shop) show(name string, r *rig) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[name] = r
}

func inShop(t *testing.T, set Settings, do func(s *shop)) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{T: t, disk: vfs.NewMem(vfs.MemConfig{}), logs: map[string]*rig{}}
		var err error
		if s.home, err = commitlog.OpenHome(commitlog.HomeConfig{FS: s.disk, Path: "/data", Now: time.Now}); err != nil {
			t.Fatal(err)
		}
		defer s.home.Close(false)
		s.c = New(Config{Settings: set, Now: time.Now, Rand: rand.New(rand.NewPCG(1, 1)), Logs: func(visit func(Target)) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, name := range []string{"a", "b", "c"} {
				if r := s.logs[name]; r != nil {
					visit(Target{Log: r.log, Stable: r.log.End(), HW: r.log.End()})
				}
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.c.Run(ctx) }()
		do(s)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, r := range s.logs {
			r.log.Close()
		}
	})
}

// open opens a log of the directory.
func (s *shop) open(name string) *rig {
	s.Helper()
	tun := small()
	tun.Compaction.DirtyRatio = 0.5
	log, _, err := commitlog.Open(commitlog.Config{Home: s.home, Topic: name, TopicID: kafka.UUID{1}, Tunables: tun, Now: time.Now})
	if err != nil {
		s.Fatal(err)
	}
	return &rig{t: s, disk: s.disk, home: s.home, log: log, now: time.Now(), tun: tun}
}

func (s *shop) fill(r *rig, dirt int) {
	s.Helper()
	r.put(strings.Repeat("k=v ", dirt))
	r.roll()
	if err := r.log.Flush(); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) points() (out []int64) {
	for _, name := range []string{"a", "b"} {
		at, err := commitlog.Rewriter{Log: s.logs[name].log}.CleanPoint()
		if err != nil {
			s.Fatal(err)
		}
		out = append(out, at)
	}
	return out
}

// TestDirtiestFirst: of two logs that are due the dirtier one is cleaned first,
// and the figures tell how dirty it was.
func TestDirtiestFirst(t *testing.T) {
	inShop(t, Settings{BytesPerSecond: 200}, func(s *shop) {
		a, b := s.open("a"), s.open("b")
		for _, r := range []*rig{a, b} {
			s.fill(r, 40)
			if _, _, err := r.tryCleanAt(time.Now()); err != nil {
				s.Fatal(err)
			}
		}
		before := s.c.Figures()
		s.fill(a, 60)
		s.fill(b, 80)
		s.show("a", a)
		s.show("b", b)
		at := s.points()
		for s.points()[0] == at[0] && s.points()[1] == at[1] {
			time.Sleep(time.Second)
		}
		if now := s.points(); now[0] != at[0] || now[1] == at[1] {
			t.Error("b is dirtier, cleaned was", at, now)
		}
		time.Sleep(5 * time.Minute)
		if now := s.points(); now[0] == at[0] {
			t.Error("and then a: ", at, now)
		}
		f := s.c.Figures()
		if before.MaxDirtyPercent != 0 || f.Last.ReadBytes == 0 || f.Last.KeptRecords == 0 || time.Since(f.LastRun) > 16*time.Second {
			t.Errorf("%+v, before %+v", f, before)
		}
	})
}

// TestUncleanable: a damaged log is left alone and told of until it is opened
// anew; the others are cleaned.
func TestUncleanable(t *testing.T) {
	inShop(t, Settings{}, func(s *shop) {
		a, b := s.open("a"), s.open("b")
		s.fill(a, 40)
		s.fill(b, 20)
		f, err := s.disk.Open("/data/a-0/"+segment.Name(0, segment.LogSuffix), vfs.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		var was, bad [1]byte
		if _, err := f.ReadAt(was[:], 70); err != nil {
			t.Fatal(err)
		}
		bad[0] = was[0] ^ 4
		if _, err := f.WriteAt(bad[:], 70); err != nil {
			t.Fatal(err)
		}
		before := text(b.records())
		s.show("a", a)
		s.show("b", b)
		time.Sleep(time.Minute)
		if now := s.points(); now[0] != -1 || now[1] <= 0 || text(b.records()) == before {
			t.Error("clean points:", now)
		}
		u := s.c.Figures().Uncleanable
		if len(u) != 1 || u[0].Name != a.log.Name() || u[0].Dir != "/data" || u[0].Bytes < 300 || !errors.Is(u[0].Err, kafka.CorruptMessage) {
			t.Errorf("%+v", u)
		}
		if _, err := f.WriteAt(was[:], 70); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s.points()[0] != -1 {
			t.Error("it was tried again though it is the same log")
		}
		if err := a.log.Close(); err != nil {
			t.Fatal(err)
		}
		s.show("a", s.open("a"))
		time.Sleep(time.Minute)
		if s.points()[0] <= 0 || len(s.c.Figures().Uncleanable) != 0 {
			t.Errorf("opened anew: %v %+v", s.points(), s.c.Figures().Uncleanable)
		}
	})
}

// TestFullDiskWaits: without room a round is given up, and tried again later.
func TestFullDiskWaits(t *testing.T) {
	inShop(t, Settings{}, func(s *shop) {
		a, b := s.open("a"), s.open("b")
		s.fill(a, 40)
		s.show("b", b)
		s.disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpWrite && strings.Contains(op.Name, ".cleaned") {
				v.Err = syscall.ENOSPC
			}
			return v
		})
		s.show("a", a)
		time.Sleep(time.Minute)
		if s.points()[0] != -1 || a.log.Failed() != nil || len(s.c.Figures().Uncleanable) != 0 {
			t.Error(s.points(), a.log.Failed(), s.c.Figures().Uncleanable)
		}
		s.disk.SetHook(nil)
		time.Sleep(time.Minute)
		if s.points()[0] <= 0 {
			t.Error("not tried again")
		}
	})
}

// TestBesideOthers: readers, a writer, retention and removal go on beside the
// cleaner, and see nothing of it but that records are gone that may be.
func TestBesideOthers(t *testing.T) {
	tun := small()
	tun.SegmentBytes = 2000
	r := newRig(t, tun)
	steps := 1500
	if testing.Short() {
		steps = 300
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	run := func(step func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := step(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	run(func() error { _, err := r.overtaken(r.tryClean()); return err })
	run(r.log.Flush)
	run(r.home.Checkpoint)
	run(func() error { _, err := r.log.Retain(r.log.Flushed()); return err })
	for range 2 {
		run(func() error { return r.readThrough() })
	}
	for i := range steps {
		r.put("a=1 b=2 c=3 d= e=5 f=6")
		if i%50 == 49 {
			r.must(r.log.Flush())
			r.must(r.log.DeleteTo(r.log.Start() + (r.log.Flushed()-r.log.Start())/4))
		}
	}
	close(stop)
	wg.Wait()
	r.roll()
	r.clean()
	seen := map[string]string{}
	for _, k := range r.records() {
		seen[k.key] = k.String()
	}
	for key, value := range map[string]string{"a": "1", "b": "2", "c": "3", "d": "∅", "e": "5", "f": "6"} {
		if !strings.HasSuffix(seen[key], "="+value) {
			t.Errorf("%s is %q", key, seen[key])
		}
	}
	r.restart()
}
