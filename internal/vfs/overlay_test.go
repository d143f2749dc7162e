package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// What lies below an overlay stays as it is, whatever is done above.
func TestOverlayLeavesBase(t *testing.T) {
	m := NewMem(MemConfig{})
	must(t, m.MkdirAll("/d/sub"))
	must(t, m.MkdirAll("/d/gone"))
	long := strings.Repeat("0123456789abcdef", 1000)
	for name, text := range map[string]string{
		"same": "same", "cut": long, "grown": "x", "spoiled": long, "replaced": "old", "removed": "bye", "moved": "moved", "sub/deep": "deep", "gone/x": "xyz",
	} {
		put(t, m, path.Join("/d", name), text)
	}
	ops := m.Ops()
	o := NewOverlay(m)
	change := func(name string, do func(File) error) {
		t.Helper()
		f, err := o.Open(path.Join("/d", name), ReadWrite)
		must(t, err)
		must(t, do(f))
		must(t, f.Close())
	}
	change("same", func(f File) error { _, err := f.WriteAt([]byte("am"), 1); return err })
	change("cut", func(f File) error { return f.Truncate(5000) })
	change("grown", func(f File) error { _, err := f.WriteAt([]byte("yz"), 1); return err })
	change("spoiled", func(f File) error { _, err := f.WriteAt([]byte("???"), 9000); return err })
	must(t, WriteAtomic(o, "/d/replaced", []byte("new")))
	must(t, o.Remove("/d/removed"))
	must(t, o.Rename("/d/moved", "/d/sub/here"))
	must(t, o.RemoveAll("/d/gone"))
	must(t, o.MkdirAll("/d/made"))
	put(t, o, "/d/made/file", "12345")
	if m.Ops() != ops {
		t.Errorf("%d operations changed the base", m.Ops()-ops)
	}
	if got := get(t, o, "/d/sub/here") + get(t, o, "/d/sub/deep") + get(t, o, "/d/replaced"); got != "moveddeepnew" {
		t.Errorf("%q", got)
	}
	if got := get(t, o, "/d/spoiled"); got != long[:9000]+"???"+long[9003:] {
		t.Error("a write in the middle is not seen")
	}
	if _, err := o.Stat("/d/gone/x"); err == nil {
		t.Error("a removed folder still holds a file")
	}
	changes, err := o.Changes("/d")
	must(t, err)
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%s %s %s %d>%d %d", strings.TrimPrefix(c.Name, "/d/"), c.What, c.From, c.Before, c.After, c.Differ))
	}
	want := []string{"cut cut  16000>5000 0", "gone removed  3>0 0", "grown grown  1>3 0", "made created  0>0 0", "made/file created  0>5 0",
		"moved removed  5>0 0", "removed removed  3>0 0", "replaced rewritten  3>3 3", "spoiled rewritten  16000>16000 3", "sub/here renamed /d/moved 0>5 0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Random writes, truncations and reads on a file that base holds agree with a
// plain slice.
func TestOverlayFile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := NewMem(MemConfig{})
	plain := make([]byte, 20000)
	for i := range plain {
		plain[i] = byte(r.Uint32())
	}
	put(t, m, "/f", string(plain))
	o := NewOverlay(m)
	f, err := o.Open("/f", ReadWrite)
	must(t, err)
	for range 3000 {
		switch r.IntN(8) {
		case 0:
			size := r.IntN(30000)
			must(t, f.Truncate(int64(size)))
			plain = append(plain[:min(size, len(plain))], make([]byte, max(0, size-len(plain)))...)
		case 1, 2, 3:
			b, at := make([]byte, r.IntN(6000)), r.IntN(25000)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			if _, err := f.WriteAt(b, int64(at)); err != nil {
				t.Fatal(err)
			}
			if len(b) > 0 {
				plain = append(plain, make([]byte, max(0, at+len(b)-len(plain)))...)
				copy(plain[at:], b)
			}
		default:
			b, at := make([]byte, 1+r.IntN(9000)), r.IntN(30000)
			n, err := f.ReadAt(b, int64(at))
			want := plain[min(at, len(plain)):min(at+len(b), len(plain))]
			if string(b[:n]) != string(want) || (err == io.EOF) != (n < len(b)) {
				t.Fatalf("%d bytes at %d of %d: got %d, %v", len(b), at, len(plain), n, err)
			}
		}
	}
}

// The lock of the base is held, and its file not made.
func TestOverlayLock(t *testing.T) {
	m := NewMem(MemConfig{})
	o := NewOverlay(m)
	free, err := o.Lock("/l")
	must(t, err)
	if _, err := m.Stat("/l"); err == nil {
		t.Error("the lock file was made")
	}
	must(t, free.Close())
	holder, err := m.Lock("/m")
	must(t, err)
	_, err = o.Lock("/m")
	want(t, err, ErrLocked)
	must(t, holder.Close())
	held, err := o.Lock("/m")
	must(t, err)
	_, err = m.Lock("/m")
	want(t, err, ErrLocked)
	must(t, held.Close())
	again, err := m.Lock("/m")
	must(t, err)
	must(t, again.Close())
	_, err = o.Open("/none", ReadOnly)
	want(t, err, fs.ErrNotExist)
}
