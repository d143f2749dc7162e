package segment

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"testing/synctest"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// A batch of these tests is a header of last offset, timestamp and size, and
// then filling: the package does not know real ones.
const headSize = 24

func batch(last, ts int64, size int) ([]byte, Mark) {
	b := make([]byte, max(size, headSize))
	binary.BigEndian.PutUint64(b, uint64(last))
	binary.BigEndian.PutUint64(b[8:], uint64(ts))
	binary.BigEndian.PutUint64(b[16:], uint64(len(b)))
	return b, Mark{LastOffset: last, MaxTimestamp: ts, Bytes: len(b)}
}

func walkBatches(f vfs.File, from, to int64, visit func(Mark) error) error {
	for from < to {
		var b [headSize]byte
		if _, err := f.ReadAt(b[:], from); err != nil {
			return err
		}
		m := Mark{LastOffset: int64(binary.BigEndian.Uint64(b[:])), MaxTimestamp: int64(binary.BigEndian.Uint64(b[8:])),
			Bytes: int(binary.BigEndian.Uint64(b[16:])), Position: from}
		if m.Bytes < headSize || from+int64(m.Bytes) > to {
			return io.ErrUnexpectedEOF
		}
		if err := visit(m); err != nil {
			return err
		}
		from += int64(m.Bytes)
	}
	return nil
}

func config(disk vfs.FS, cache *Cache, base int64) Config {
	return Config{FS: disk, Pool: vfs.NewPool(disk, 4), Cache: cache, Walk: walkBatches, Dir: "/", Base: base,
		IndexInterval: 200, IndexBytes: 1 << 20}
}

type placed struct {
	last, ts, pos int64
}

// fill writes n batches of one to three offsets each and random times.
func fill(t *testing.T, s *Segment, n int, dice *rand.Rand) []placed {
	t.Helper()
	var out []placed
	last := s.Base() - 1
	for range n {
		last += 1 + dice.Int64N(3)
		b, m := batch(last, 1000+dice.Int64N(500), 30+dice.IntN(200))
		out = append(out, placed{last, m.MaxTimestamp, s.Size()})
		if err := s.Write([][]byte{b}, []Mark{m}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// check compares every lookup with what a walk over all batches says.
func check(t *testing.T, s *Segment, all []placed) {
	t.Helper()
	fail := func(what string, got ...any) {
		t.Helper()
		t.Fatal(append([]any{what}, got...)...)
	}
	newest := placed{ts: -1}
	for _, p := range all {
		if p.ts > newest.ts {
			newest = p
		}
		pos, _, err := s.Floor(p.last)
		if err != nil || pos > p.pos || p.pos-pos > 1000 {
			fail("floor", p, pos, err)
		}
		pos, err = s.FloorPosition(p.pos + 5)
		if err != nil || pos > p.pos+5 || p.pos-pos > 1000 {
			fail("floor position", p, pos, err)
		}
	}
	ts, offset, err := s.Newest()
	if err != nil || ts != newest.ts || offset != newest.last {
		fail("newest", ts, offset, newest, err)
	}
	for want := int64(990); want < 1510; want += 3 {
		before, err := s.Before(want)
		if err != nil {
			fail("before", err)
		}
		for _, p := range all {
			if p.last <= before && p.ts >= want {
				fail("before", want, before, p)
			}
		}
	}
}

func TestLookups(t *testing.T) {
	for seed := range uint64(20) {
		dice := rand.New(rand.NewPCG(seed, 1))
		disk := vfs.NewMem(vfs.MemConfig{})
		cfg := config(disk, NewCache(1<<20), 1000)
		s, err := Create(cfg)
		if err != nil {
			t.Fatal(err)
		}
		all := fill(t, s, 100, dice)
		check(t, s, all)
		if err := s.Retire(); err != nil {
			t.Fatal(err)
		}
		check(t, s, all)
		s.Close()
		s = Open(cfg, s.Size())
		check(t, s, all)
		// Whatever is written over an index, the lookups are right or it is
		// made anew.
		s.Close()
		for range 3 {
			f, err := disk.Open("/"+Name(1000, []string{IdxSuffix, TimeSuffix}[dice.IntN(2)]), vfs.ReadWrite)
			if err != nil {
				t.Fatal(err)
			}
			size, _ := f.Size()
			if _, err := f.WriteAt([]byte{byte(dice.IntN(256))}, dice.Int64N(size)); err != nil {
				t.Fatal(err)
			}
		}
		s = Open(cfg, s.Size())
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResume: a segment that is opened to go on writing has the same indexes in
// the end as one that was written at once.
func TestResume(t *testing.T) {
	var files [2]string
	for i := range files {
		dice := rand.New(rand.NewPCG(7, 7))
		disk := vfs.NewMem(vfs.MemConfig{})
		cfg := config(disk, NewCache(1<<20), 0)
		s, err := Create(cfg)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, 50, dice)
		last := int64(1000)
		for range 50 {
			if i == 1 {
				if err := s.Persist(); err != nil {
					t.Fatal(err)
				}
				s.Close()
				s = Open(cfg, s.Size())
				if err := s.Resume(); err != nil {
					t.Fatal(err)
				}
			}
			last++
			b, m := batch(last, 2000+last, 150)
			if err := s.Write([][]byte{b}, []Mark{m}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Seal(); err != nil {
			t.Fatal(err)
		}
		data, err := vfs.ReadFile(disk, "/"+Name(0, IdxSuffix), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = fmt.Sprintf("%x", data)
	}
	if files[0] != files[1] {
		t.Fatalf("\n%s\n%s", files[0], files[1])
	}
}

// TestCache: many closed segments, little memory: the oldest are dropped and
// come back when they are asked for.
func TestCache(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	cache := NewCache(2000)
	var segs []*Segment
	var want [][]placed
	for i := range 20 {
		s, err := Create(config(disk, cache, int64(i)*1000))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fill(t, s, 100, rand.New(rand.NewPCG(uint64(i), 0))))
		if err := s.Retire(); err != nil {
			t.Fatal(err)
		}
		segs = append(segs, s)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range segs {
				check(t, segs[(i*7+g*5)%len(segs)], want[(i*7+g*5)%len(segs)])
			}
		})
	}
	wg.Wait()
	if n := cache.Bytes(); n > 4000 {
		t.Fatal(n, "bytes in the cache")
	}
	for _, s := range segs {
		s.Close()
	}
	if n := cache.Bytes(); n != 0 {
		t.Fatal(n, "bytes left")
	}
}

// TestPinOutlivesAWriteUnderWay: a sync that begins while a write is under way
// does not cover it, and so must not count the segment as clean.
func TestPinOutlivesAWriteUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMem(vfs.MemConfig{})
		s, err := Create(config(disk, NewCache(1), 0))
		if err != nil {
			t.Fatal(err)
		}
		disk.SetHook(func(op vfs.Op) (v vfs.Verdict) {
			if op.Kind == vfs.OpWrite {
				v.Delay = time.Second
			}
			return v
		})
		done := make(chan error)
		go func() {
			b, m := batch(0, 1, 100)
			done <- s.Write([][]byte{b}, []Mark{m})
		}()
		synctest.Wait()
		if err := s.Sync(); err != nil || !s.Dirty() {
			t.Fatal("clean while a write is under way", err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(); err != nil || s.Dirty() {
			t.Fatal("dirty after a sync", err)
		}
		if info, err := disk.Stat("/" + Name(0, LogSuffix)); err != nil || info.Size != 100 {
			t.Fatal(info, err)
		}
		s.Close()
	})
}

func TestAborted(t *testing.T) {
	disk := vfs.NewMem(vfs.MemConfig{})
	cfg := config(disk, NewCache(1), 10)
	s, err := Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all := []AbortedTxn{{1, 5, 12, 7}, {2, 7, 14, 15}}
	for _, a := range append(all, all[1]) { // twice is once
		if err := s.AppendAborted(a); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = Open(cfg, 1000)
	if got, err := s.Aborted(); err != nil || fmt.Sprint(got) != fmt.Sprint(all) {
		t.Fatal(got, err)
	}
	if err := s.ClearAborted(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Aborted(); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
}

func TestNames(t *testing.T) {
	if got := Name(4932, LogSuffix); got != "00000000000000004932.log" {
		t.Fatal(got)
	}
	for name, ok := range map[string]bool{
		"00000000000000004932.log": true, "00000000000000004932.log.deleted": true, "leader-epoch-checkpoint": false,
		"0000000000000000493.log": false, "-0000000000000004932.log": false, "": false, "99999999999999999999.log": false,
	} {
		if _, _, got := ParseName(name); got != ok {
			t.Error(name, got)
		}
	}
}
