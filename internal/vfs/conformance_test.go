package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing"
)

// TestConformance holds every file system to one contract.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (FS, string){
		"os":      func(t *testing.T) (FS, string) { return OS(), t.TempDir() },
		"mem":     func(*testing.T) (FS, string) { return NewMem(MemConfig{}), "/" },
		"limited": func(*testing.T) (FS, string) { return Limit(NewMem(MemConfig{}), 2), "/" },
		"overlay": func(*testing.T) (FS, string) { return NewOverlay(NewMem(MemConfig{})), "/" },
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range conformance {
				t.Run(c.name, func(t *testing.T) {
					f, dir := open(t)
					c.run(t, f, func(name string) string { return path.Join(dir, name) })
				})
			}
		})
	}
}

var conformance = []struct {
	name string
	run  func(t *testing.T, f FS, at func(string) string)
}{
	{"create", testCreate},
	{"flags", testFlags},
	{"writev", testWritev},
	{"truncate", testTruncate},
	{"folders", testFolders},
	{"rename", testRename},
	{"remove open", testRemoveOpen},
	{"lock", testLock},
	{"atomic", testAtomic},
	{"parallel", testParallel},
	{"cached", testCached},
	{"reserve", testReserve},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

func put(t *testing.T, f FS, name, data string) {
	t.Helper()
	file, err := f.Create(name)
	must(t, err)
	_, err = file.WriteAt([]byte(data), 0)
	must(t, err)
	must(t, file.Close())
}

func get(t *testing.T, f FS, name string) string {
	t.Helper()
	data, err := ReadFile(f, name, 1<<20)
	must(t, err)
	return string(data)
}

func testCreate(t *testing.T, f FS, at func(string) string) {
	file, err := f.Create(at("a"))
	must(t, err)
	n, err := file.WriteAt([]byte("hello"), 3)
	if n != 5 || err != nil {
		t.Fatal(n, err)
	}
	size, err := file.Size()
	if size != 8 || err != nil {
		t.Fatal(size, err)
	}
	b := make([]byte, 10)
	n, err = file.ReadAt(b, 0)
	if n != 8 || err != io.EOF || string(b[:n]) != "\x00\x00\x00hello" {
		t.Fatalf("%d %v %q", n, err, b[:n])
	}
	if n, err = file.ReadAt(b, 8); n != 0 || err != io.EOF {
		t.Fatal(n, err)
	}
	must(t, file.Sync())
	must(t, file.DropCache(0))
	must(t, f.SyncDir(path.Dir(at("a"))))
	must(t, file.Close())
	if _, err = file.ReadAt(b, 0); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	put(t, f, at("a"), "x") // create empties what is there
	if got := get(t, f, at("a")); got != "x" {
		t.Fatalf("%q", got)
	}
	info, err := f.Stat(at("a"))
	if err != nil || info.Name != "a" || info.Size != 1 || info.Dir {
		t.Fatal(info, err)
	}
}

func testFlags(t *testing.T, f FS, at func(string) string) {
	_, err := f.Open(at("none"), ReadOnly)
	want(t, err, fs.ErrNotExist)
	_, err = f.Open(at("none/below"), ReadWrite|CreateNew)
	want(t, err, fs.ErrNotExist)
	file, err := f.Open(at("new"), ReadWrite|CreateNew|Exclusive)
	must(t, err)
	must(t, file.Close())
	_, err = f.Open(at("new"), ReadWrite|CreateNew|Exclusive)
	want(t, err, fs.ErrExist)
	put(t, f, at("new"), "content")
	file, err = f.Open(at("new"), ReadOnly)
	must(t, err)
	if _, err := file.WriteAt([]byte("x"), 0); err == nil {
		t.Fatal("wrote to a file that was opened to read")
	}
	must(t, file.Close())
	file, err = f.Open(at("new"), ReadWrite|Truncate)
	must(t, err)
	must(t, file.Close())
	if got := get(t, f, at("new")); got != "" {
		t.Fatalf("%q", got)
	}
	if ok, err := Exists(f, at("none")); ok || err != nil {
		t.Fatal(ok, err)
	}
}

func testWritev(t *testing.T, f FS, at func(string) string) {
	file, err := f.Create(at("v"))
	must(t, err)
	defer file.Close()
	var bufs [][]byte
	var all []byte
	for i := range 2500 { // more than the system takes at once
		bufs = append(bufs, []byte(fmt.Sprint(i, strings.Repeat("x", i%7*i%11))))
		if i%100 == 0 {
			bufs = append(bufs, nil)
		}
		all = append(all, bufs[len(bufs)-1]...)
		if i%100 == 0 {
			all = append(all, bufs[len(bufs)-2]...)
		}
	}
	n, err := file.Writev(bufs, 7)
	if n != int64(len(all)) || err != nil {
		t.Fatal(n, len(all), err)
	}
	got := make([]byte, len(all))
	if _, err := file.ReadAt(got, 7); err != nil || !bytes.Equal(got, all) {
		t.Fatal("read back differs", err)
	}
}

func testTruncate(t *testing.T, f FS, at func(string) string) {
	file, err := f.Create(at("t"))
	must(t, err)
	defer file.Close()
	_, err = file.WriteAt(bytes.Repeat([]byte("a"), 10000), 0)
	must(t, err)
	must(t, file.Truncate(5000))
	must(t, file.Truncate(9000))
	b := make([]byte, 9000)
	_, err = file.ReadAt(b, 0)
	must(t, err)
	if !bytes.Equal(b, append(bytes.Repeat([]byte("a"), 5000), make([]byte, 4000)...)) {
		t.Fatal("what grows again must read as zeros")
	}
	must(t, file.Sync())
}

func testFolders(t *testing.T, f FS, at func(string) string) {
	must(t, f.MkdirAll(at("d/e/f")))
	must(t, f.MkdirAll(at("d/e")))
	put(t, f, at("d/z"), "1")
	put(t, f, at("d/b"), "22")
	must(t, f.SyncDir(at("d")))
	list, err := f.ReadDir(at("d"))
	must(t, err)
	var got []string
	for _, i := range list {
		got = append(got, fmt.Sprint(i.Name, i.Size, i.Dir))
	}
	if s := strings.Join(got, " "); s != "b2 false e0 true z1 false" {
		t.Fatal(s)
	}
	if err := f.Remove(at("d")); err == nil {
		t.Fatal("removed a folder that is not empty")
	}
	if err := f.MkdirAll(at("d/z/y")); err == nil {
		t.Fatal("made a folder below a file")
	}
	must(t, f.RemoveAll(at("d")))
	must(t, f.RemoveAll(at("d")))
	_, err = f.ReadDir(at("d"))
	want(t, err, fs.ErrNotExist)
	want(t, f.Remove(at("d")), fs.ErrNotExist)
	if _, err := f.Space(path.Dir(at("x"))); err != nil {
		t.Fatal(err)
	}
}

func testRename(t *testing.T, f FS, at func(string) string) {
	put(t, f, at("one"), "1")
	put(t, f, at("two"), "2")
	file, err := f.Open(at("one"), ReadOnly)
	must(t, err)
	defer file.Close()
	must(t, f.Rename(at("one"), at("two")))
	if got := get(t, f, at("two")); got != "1" {
		t.Fatal(got)
	}
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, 0); err != nil || b[0] != '1' {
		t.Fatal("an open file follows its name", err)
	}
	want(t, f.Rename(at("one"), at("three")), fs.ErrNotExist)
	must(t, f.MkdirAll(at("dir/sub")))
	put(t, f, at("dir/sub/x"), "x")
	must(t, f.Rename(at("dir"), at("other")))
	if got := get(t, f, at("other/sub/x")); got != "x" {
		t.Fatal(got)
	}
}

func testRemoveOpen(t *testing.T, f FS, at func(string) string) {
	put(t, f, at("gone"), "still here")
	file, err := f.Open(at("gone"), ReadOnly)
	must(t, err)
	must(t, f.Remove(at("gone")))
	b := make([]byte, 5)
	if _, err := file.ReadAt(b, 0); err != nil || string(b) != "still" {
		t.Fatalf("%q %v", b, err)
	}
	must(t, file.Close())
}

func testLock(t *testing.T, f FS, at func(string) string) {
	l, err := f.Lock(at(".lock"))
	must(t, err)
	_, err = f.Lock(at(".lock"))
	want(t, err, ErrLocked)
	must(t, l.Close())
	l, err = f.Lock(at(".lock"))
	must(t, err)
	must(t, l.Close())
}

func testAtomic(t *testing.T, f FS, at func(string) string) {
	for _, data := range []string{"first", "", "third and longest"} {
		must(t, WriteAtomic(f, at("x"), []byte(data)))
		if got := get(t, f, at("x")); got != data {
			t.Fatalf("%q, want %q", got, data)
		}
	}
	if ok, _ := Exists(f, at("x.tmp")); ok {
		t.Fatal("left its temporary file")
	}
	if _, err := ReadFile(f, at("x"), 3); err == nil {
		t.Fatal("read more than the limit")
	}
}

func testParallel(t *testing.T, f FS, at func(string) string) {
	file, err := f.Create(at("p"))
	must(t, err)
	defer file.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if _, err := file.WriteAt([]byte{byte(i)}, int64(i*50+j)); err != nil {
					t.Error(err)
				}
				if j%10 == 0 {
					if err := file.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b := make([]byte, 400)
	_, err = file.ReadAt(b, 0)
	must(t, err)
	for i, v := range b {
		if int(v) != i/50 {
			t.Fatal(i, v)
		}
	}
}

// testCached: what is said of memory must be true of the bytes, and advice must
// not change any.
func testCached(t *testing.T, f FS, at func(string) string) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	put(t, f, at("a"), string(data))
	file, err := f.Open(at("a"), ReadWrite)
	must(t, err)
	n := int64(len(data))
	check := func(when string) {
		t.Helper()
		if got := file.Cached(0, n); got < 0 || got > n {
			t.Errorf("%s: %d of %d bytes are in memory", when, got, n)
		}
		p := make([]byte, 100)
		if file.ReadCached(p, 1001) && !bytes.Equal(p, data[1001:1101]) {
			t.Errorf("%s: memory has %q", when, p)
		}
		_, err := file.ReadAt(p, 1001)
		must(t, err)
		if !bytes.Equal(p, data[1001:1101]) {
			t.Errorf("%s: the file has %q", when, p)
		}
	}
	check("written")
	must(t, file.Sync())
	must(t, file.Advise(0, n, DontNeed))
	check("dropped")
	must(t, file.Advise(0, n, WillNeed))
	must(t, file.Advise(0, n, WriteOut))
	check("wanted")
	if file.ReadCached(make([]byte, 100), n-50) {
		t.Error("ReadCached filled a buffer with bytes behind the end")
	}
	must(t, file.Close())
}

// testReserve: room that is reserved is not to be seen.
func testReserve(t *testing.T, f FS, at func(string) string) {
	put(t, f, at("a"), "hello")
	file, err := f.Open(at("a"), ReadWrite)
	must(t, err)
	err = file.Reserve(5, 1<<20)
	if !errors.Is(err, errors.ErrUnsupported) {
		must(t, err)
	}
	if got := get(t, f, at("a")); got != "hello" {
		t.Fatalf("after Reserve the file has %d bytes", len(got))
	}
	_, err = file.WriteAt([]byte(" there"), 5)
	must(t, err)
	must(t, file.Truncate(11))
	must(t, file.Close())
	if got := get(t, f, at("a")); got != "hello there" {
		t.Fatalf("after a write into the reserved room the file has %q", got)
	}
}
