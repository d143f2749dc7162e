package vfs

import (
	"os"
	"path"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCachedOnLinux pins that the kernel's answers are used: a file that was
// dropped from memory is cold, read it is warm, and a read of the cold file
// does not wait. Without a file system that can say so it has nothing to pin.
func TestCachedOnLinux(t *testing.T) {
	name := path.Join(t.TempDir(), "a")
	put(t, OS(), name, string(make([]byte, 1<<20)))
	file, err := OS().Open(name, ReadWrite)
	must(t, err)
	defer file.Close() //nolint:errcheck // a test's
	must(t, file.Sync())
	must(t, file.DropCache(0))
	if file.Cached(0, 1<<20) != 0 {
		t.Skip("this file system keeps what it is told to drop")
	}
	p := make([]byte, 1<<20)
	if file.ReadCached(p, 0) {
		t.Error("ReadCached filled a buffer from memory that holds nothing")
	}
	_, err = file.ReadAt(p, 0)
	must(t, err)
	if got := file.Cached(0, 1<<20); got != 1<<20 {
		t.Errorf("%d bytes are in memory after all were read", got)
	}
	if !file.ReadCached(p, 0) {
		t.Error("ReadCached does not see what was just read")
	}
	must(t, file.Advise(0, 512<<10, DontNeed))
	if got := file.Cached(0, 512<<10); got != 0 {
		t.Errorf("%d bytes are left of the half that was dropped", got)
	}
	if got := file.Cached(512<<10, 512<<10); got != 512<<10 {
		t.Errorf("%d bytes are left of the half that was not", got)
	}
}

// TestReservedBlocks pins that Reserve takes blocks and Truncate gives them
// back, which the size does not show.
func TestReservedBlocks(t *testing.T) {
	name := path.Join(t.TempDir(), "a")
	put(t, OS(), name, "hello")
	file, err := OS().Open(name, ReadWrite)
	must(t, err)
	defer file.Close() //nolint:errcheck // a test's
	blocks := func() int64 {
		var st syscall.Stat_t
		must(t, syscall.Stat(name, &st))
		if st.Size != 5 {
			t.Fatalf("the size is %d", st.Size)
		}
		return st.Blocks * 512
	}
	if err := file.Reserve(5, 4<<20); err != nil {
		t.Skip("no fallocate here:", err)
	}
	if got := blocks(); got < 4<<20 {
		t.Errorf("%d bytes of blocks are reserved", got)
	}
	must(t, file.Truncate(5))
	if got := blocks(); got > 64<<10 {
		t.Errorf("%d bytes of blocks are left", got)
	}
}

// TestMountAgain: what is unmounted and mounted again may have lost what memory
// held, though the machine runs on.
func TestMountAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	mount := func() string {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("no mount here: %v", err)
		}
		defer func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Fatal(err)
			}
		}()
		if a, b := OS().BootID(dir), OS().BootID(dir); a != b {
			t.Errorf("one mount, two names: %q and %q", a, b)
		}
		return OS().BootID(dir)
	}
	first, second := mount(), mount()
	if first == second {
		t.Errorf("both mounts are %q", first)
	}
	if parent := OS().BootID(t.TempDir()); parent == first {
		t.Errorf("a folder outside the mount has its name %q", first)
	}
}
