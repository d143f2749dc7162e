//go:build system && linux

package lazyfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// mounted mounts m until the test ends or the given function is called.
func mounted(t *testing.T, m *vfs.Mem) (dir string, unmount func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: this test mounts a file system, which needs root")
	}
	dir = t.TempDir()
	un, err := Mount(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	gone := false
	unmount = func() {
		if gone {
			return
		}
		gone = true
		if err := un(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

func ok(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// write makes a file and syncs it if wanted.
func write(t *testing.T, name, text string, sync bool) {
	t.Helper()
	f, err := os.Create(name)
	ok(t, err)
	_, err = f.WriteString(text)
	ok(t, err)
	if sync {
		ok(t, syscall.Fdatasync(int(f.Fd())))
	}
	ok(t, f.Close())
}

func syncDir(t *testing.T, name string) {
	t.Helper()
	d, err := os.Open(name)
	ok(t, err)
	ok(t, d.Sync(), d.Close())
}

// What a real program sees before a cut, and finds after it.
func TestPowerCut(t *testing.T) {
	m := vfs.NewMem(vfs.MemConfig{})
	dir, unmount := mounted(t, m)
	ok(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	syncDir(t, dir)
	syncDir(t, filepath.Join(dir, "a"))
	write(t, filepath.Join(dir, "a/b/both"), "data and name", true)
	write(t, filepath.Join(dir, "a/b/old"), "moved", true)
	syncDir(t, filepath.Join(dir, "a/b"))
	write(t, filepath.Join(dir, "a/b/nameless"), "data alone", true)
	ok(t, os.Rename(filepath.Join(dir, "a/b/old"), filepath.Join(dir, "a/b/new")))

	f, err := os.OpenFile(filepath.Join(dir, "a/b/both"), os.O_RDWR, 0)
	ok(t, err)
	_, err = f.WriteAt([]byte(" and more"), 13)
	ok(t, err)
	ok(t, f.Close())
	if got, err := os.ReadFile(filepath.Join(dir, "a/b/both")); string(got) != "data and name and more" {
		t.Fatalf("before the cut: %q %v", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a/b/new")); string(got) != "moved" {
		t.Fatalf("before the cut: %q %v", got, err)
	}
	unmount()

	for policy, want := range map[vfs.Policy]map[string]string{
		vfs.DropAll: {"both": "data and name", "old": "moved"},
		vfs.KeepAll: {"both": "data and name and more", "new": "moved", "nameless": "data alone"},
	} {
		dir, unmount := mounted(t, m.Crash(policy, rand.New(rand.NewPCG(1, 1))))
		list, err := os.ReadDir(filepath.Join(dir, "a/b"))
		ok(t, err)
		if len(list) != len(want) {
			t.Errorf("%v: %v", policy, list)
		}
		for name, text := range want {
			if got, err := os.ReadFile(filepath.Join(dir, "a/b", name)); string(got) != text {
				t.Errorf("%v: %s: %q %v, want %q", policy, name, got, err, text)
			}
		}
		unmount()
	}
}

// An open file outlives its name, truncation cuts, a large write arrives whole.
func TestFiles(t *testing.T) {
	dir, _ := mounted(t, vfs.NewMem(vfs.MemConfig{}))
	name := filepath.Join(dir, "f")
	f, err := os.Create(name)
	ok(t, err)
	defer f.Close()
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	_, err = f.Write(large)
	ok(t, err)
	ok(t, os.Remove(name))
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
	got := make([]byte, len(large))
	_, err = f.ReadAt(got, 0)
	ok(t, err)
	if !bytes.Equal(got, large) {
		t.Error("an open file without a name lost bytes")
	}
	ok(t, f.Truncate(10))
	if info, err := f.Stat(); err != nil || info.Size() != 10 {
		t.Errorf("after a truncation: %v %v", info, err)
	}
	ok(t, os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/x"), nil, 0o644))
	if err := os.Remove(filepath.Join(dir, "d")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("removing a full folder: %v", err)
	}
	ok(t, os.RemoveAll(filepath.Join(dir, "d")))
}

// A hook decides on what real system calls answer.
func TestFaults(t *testing.T) {
	m := vfs.NewMem(vfs.MemConfig{Bytes: 1 << 20})
	dir, _ := mounted(t, m)
	f, err := os.Create(filepath.Join(dir, "f"))
	ok(t, err)
	defer f.Close()
	m.SetHook(func(op vfs.Op) vfs.Verdict {
		if op.Kind == vfs.OpSync && op.Name == "/f" {
			return vfs.Verdict{Err: syscall.EIO}
		}
		return vfs.Verdict{}
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sync that fails: %v", err)
	}
	m.SetHook(nil)
	ok(t, f.Sync())
	if n, err := f.Write(make([]byte, 2<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write on a full disk: %d %v", n, err)
	}
}
