package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrash goes through what a power cut leaves of a file whose first page is
// durable and whose second was written, and of the names around it.
func TestCrash(t *testing.T) {
	m := NewMem(MemConfig{})
	must(t, m.MkdirAll("d"))
	must(t, m.SyncDir("/"))
	f, err := m.Create("d/data")
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("a"), 4096), 0)
	must(t, err)
	must(t, f.Sync())
	must(t, m.SyncDir("d"))
	_, err = f.WriteAt(bytes.Repeat([]byte("b"), 8192), 2048)
	must(t, err)
	put(t, m, "d/new", "n")
	must(t, m.Rename("d/new", "d/newer"))

	for policy, want := range map[Policy]string{
		DropAll:   "data 4096 a4096",
		KeepAll:   "data 10240 a2048 b8192 newer 1 n1",
		NamesLost: "data 10240 a2048 b8192",
		Zeros:     "data 10240 a4096 06144 newer 1 01",
	} {
		if got := tell(t, m.Crash(policy, nil)); got != want {
			t.Errorf("%v: %q, want %q", policy, got, want)
		}
	}
	seen := map[Policy]map[string]bool{Sectors: {}, Torn: {}, TornPages: {}, Pages: {}, Files: {}, SomeNames: {}, Garbage: {}}
	for policy := range seen {
		for seed := range uint64(200) {
			c := m.Crash(policy, rand.New(rand.NewPCG(seed, 1)))
			got := tell(t, c)
			if got != tell(t, m.Crash(policy, rand.New(rand.NewPCG(seed, 1)))) {
				t.Fatal("one seed, two disks")
			}
			if !strings.HasPrefix(got, "data ") || strings.Contains(got, "new 1") && strings.Contains(got, "newer") {
				t.Fatal(got)
			}
			if old := get(t, c, "d/data")[:4096]; strings.Trim(old, "ab") != "" || strings.Trim(old[:2048], "a") != "" {
				t.Fatalf("%v: neither the old bytes nor the new where the disk had data", policy)
			}
			if got != tell(t, c.Crash(DropAll, nil)) {
				t.Fatal("what a boot finds is durable")
			}
			seen[policy][got] = true
		}
		if len(seen[policy]) < 3 {
			t.Errorf("%v: only %d different disks", policy, len(seen[policy]))
		}
	}
	if got := tell(t, m); got != "data 10240 a2048 b8192 newer 1 n1" {
		t.Error("crashing changed the original:", got)
	}
}

// tell writes the files of d as "name size runs".
func tell(t *testing.T, m *Mem) string {
	t.Helper()
	list, err := m.ReadDir("d")
	must(t, err)
	var out []string
	for _, i := range list {
		out = append(out, i.Name, fmt.Sprint(i.Size))
		data := get(t, m, "d/"+i.Name)
		for len(data) > 0 {
			n := 1
			for n < len(data) && data[n] == data[0] {
				n++
			}
			out = append(out, strings.ReplaceAll(data[:1], "\x00", "0")+fmt.Sprint(n))
			data = data[n:]
		}
	}
	return strings.Join(out, " ")
}

// TestFork: a killed process leaves what it wrote, in the same run of the
// machine, and a power cut after that still takes what was not synced.
func TestFork(t *testing.T) {
	m := NewMem(MemConfig{})
	put(t, m, "kept", "old")
	f, err := m.Open("kept", ReadWrite)
	must(t, err)
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err = f.WriteAt([]byte("new"), 0)
	must(t, err)
	put(t, m, "unsynced", "x")
	k := m.Fork()
	if k.BootID("/") != m.BootID("/") || get(t, k, "kept") != "new" || get(t, k, "unsynced") != "x" {
		t.Fatal("a killed process takes what it wrote with it")
	}
	_, err = f.WriteAt([]byte("NEW"), 0)
	must(t, err)
	must(t, f.Sync())
	if got := get(t, k, "kept"); got != "new" {
		t.Fatal("the original writes into the fork:", got)
	}
	c := k.Crash(DropAll, nil)
	if got := get(t, c, "kept"); got != "old" {
		t.Fatal(got)
	}
	_, err = c.Stat("unsynced")
	want(t, err, fs.ErrNotExist)
}

func TestCrashNeverSyncedFolder(t *testing.T) {
	m := NewMem(MemConfig{})
	must(t, m.MkdirAll("a/b"))
	must(t, WriteAtomic(m, "a/b/f", []byte("x"))) // syncs b, but nobody synced a nor /
	_, err := m.Crash(DropAll, nil).Stat("a/b/f")
	want(t, err, fs.ErrNotExist)
	must(t, m.SyncDir("a"))
	must(t, m.SyncDir("/"))
	if got := get(t, m.Crash(DropAll, nil), "a/b/f"); got != "x" {
		t.Fatal(got)
	}
}

func TestCrashAtomicWrite(t *testing.T) {
	prepare := func() *Mem {
		m := NewMem(MemConfig{})
		must(t, WriteAtomic(m, "f", []byte("old")))
		return m
	}
	base := prepare()
	first := base.Ops()
	must(t, WriteAtomic(base, "f", []byte("new")))
	for n := first; n <= base.Ops(); n++ {
		for _, p := range Policies {
			for seed := range uint64(20) {
				m := prepare()
				m.StopBefore(n)
				err := WriteAtomic(m, "f", []byte("new"))
				if n < base.Ops() != errors.Is(err, ErrPowerCut) {
					t.Fatal(n, err)
				}
				if n == base.Ops() {
					m.StopBefore(-1)
				}
				got := get(t, m.Crash(p, rand.New(rand.NewPCG(seed, 0))), "f")
				if got != "new" && (got != "old" || err == nil) {
					t.Fatalf("cut before %d, %v: %q", n, p, got)
				}
			}
		}
	}
}

func TestFailedSync(t *testing.T) {
	m := NewMem(MemConfig{})
	f, err := m.Create("f")
	must(t, err)
	must(t, m.SyncDir("/"))
	_, err = f.WriteAt([]byte("lost"), 0)
	must(t, err)
	m.SetHook(func(op Op) (v Verdict) {
		if op.Kind == OpSync {
			v.Err = syscall.EIO
		}
		return v
	})
	want(t, f.Sync(), syscall.EIO)
	m.SetHook(nil)
	must(t, f.Sync()) // the trap: it says yes
	if got := get(t, m, "f"); got != "lost" {
		t.Fatalf("memory still shows it: %q", got)
	}
	if got := get(t, m.Crash(KeepAll, nil), "f"); got != "\x00\x00\x00\x00" {
		t.Fatalf("but the disk has it not: %q", got)
	}
	must(t, f.DropCache(pageSize))
	if got := get(t, m, "f"); got != "lost" {
		t.Fatalf("the first page was to stay: %q", got)
	}
	must(t, f.DropCache(pageSize-1))
	if got := get(t, m, "f"); got != "\x00\x00\x00\x00" {
		t.Fatalf("and memory forgets it: %q", got)
	}
}

func TestFaults(t *testing.T) {
	m := NewMem(MemConfig{Bytes: 10})
	f, err := m.Create("f")
	must(t, err)
	n, err := f.Writev([][]byte{[]byte("12345678"), []byte("abcdef")}, 0)
	if n != 10 || !IsNoSpace(err) {
		t.Fatal(n, err)
	}
	_, err = f.WriteAt([]byte("over"), 0) // what is there may be written again
	must(t, err)
	must(t, m.Remove("f"))
	f, err = m.Create("g")
	must(t, err)
	m.SetHook(func(op Op) (v Verdict) {
		if op.Kind == OpWrite && op.Name == "g" {
			v = Verdict{Err: syscall.EIO, Short: 3}
		}
		return v
	})
	if n, err := f.WriteAt([]byte("abcdef"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	m.SetHook(nil)
	if got := get(t, m, "g"); got != "abc" {
		t.Fatal(got)
	}
	ops := m.Ops()
	m.StopBefore(ops)
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrPowerCut) {
		t.Fatal(err)
	}
	if _, err := m.Stat("g"); !errors.Is(err, ErrPowerCut) {
		t.Fatal(err)
	}
}

// TestLatency: a slow device is a durable wait in a bubble, also through a pool
// and tokens.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMem(MemConfig{})
		put(t, m, "f", "x")
		m.SetHook(func(Op) Verdict { return Verdict{Delay: time.Second} })
		p := NewPool(Limit(m, 1), 1)
		h := p.Handle("f", ReadWrite)
		start := time.Now()
		done := make(chan struct{})
		for range 3 {
			go func() {
				f, err := h.Acquire()
				must(t, err)
				must(t, f.Sync())
				h.Release()
				done <- struct{}{}
			}()
		}
		for range 3 {
			<-done
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Fatal("one opening and three syncs, one after the other:", took)
		}
		h.Close()
	})
}
