package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"syscall"
)

// overlayFile is an open file of an Overlay. It has base's open too, to read
// what still shows through.
type overlayFile struct {
	o        *Overlay
	l        *layer
	base     File // nil if the file was made here
	name     string
	writable bool
	closed   bool // guarded by o.mu
}

func (f *overlayFile) open(op string) error {
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	return nil
}

func (f *overlayFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("read", f.name, fs.ErrInvalid)
	}
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	if err := f.open("read"); err != nil || len(p) == 0 {
		return 0, err
	}
	return f.l.read(f.base, p, off)
}

// read fills p from the pages that were written, from base, and with zeros.
func (l *layer) read(base File, p []byte, off int64) (int, error) {
	if off >= l.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), l.size-off)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		if pg := l.pages[at/pageSize]; pg != nil {
			done += copy(p[done:], pg[at%pageSize:])
			continue
		}
		end := at + int64(len(p)-done) // of the run that base shows
		for i := at/pageSize + 1; i*pageSize < end; i++ {
			if l.pages[i] != nil {
				end = i * pageSize
			}
		}
		run := p[done : done+int(end-at)]
		if err := l.below(base, run, at); err != nil {
			return done, err
		}
		done += len(run)
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return len(p), nil
}

// below reads what base shows, zeros behind that.
func (l *layer) below(base File, p []byte, at int64) error {
	n := max(0, min(int64(len(p)), l.shown-at))
	clear(p[n:])
	if n == 0 {
		return nil
	}
	got, err := base.ReadAt(p[:n], at)
	if int64(got) == n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it changed meanwhile
	}
	return err
}

// own gives page i for writing.
func (l *layer) own(base File, i int64) (*page, error) {
	if pg := l.pages[i]; pg != nil {
		return pg, nil
	}
	pg := new(page)
	if err := l.below(base, pg[:], i*pageSize); err != nil {
		return nil, err
	}
	if l.pages == nil {
		l.pages = map[int64]*page{}
	}
	l.pages[i] = pg
	return pg, nil
}

func (f *overlayFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.Writev([][]byte{p}, off)
	return int(n), err
}

func (f *overlayFile) Writev(bufs [][]byte, off int64) (done int64, err error) {
	if !f.writable {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	if off < 0 {
		return 0, pathError("write", f.name, fs.ErrInvalid)
	}
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	if err := f.open("write"); err != nil {
		return 0, err
	}
	for _, b := range bufs {
		for len(b) > 0 {
			at := off + done
			pg, err := f.l.own(f.base, at/pageSize)
			if err != nil {
				return done, err
			}
			n := copy(pg[at%pageSize:], b)
			b, done = b[n:], done+int64(n)
			f.l.size = max(f.l.size, at+int64(n))
		}
	}
	return done, nil
}

func (f *overlayFile) Truncate(size int64) error {
	if !f.writable || size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	if err := f.open("truncate"); err != nil {
		return err
	}
	f.l.truncate(size)
	return nil
}

// truncate cuts the file, or lets it grow by zeros.
func (l *layer) truncate(size int64) {
	if size < l.size {
		l.shown = min(l.shown, size)
		for i, pg := range l.pages {
			switch {
			case i*pageSize >= size:
				delete(l.pages, i)
			case i == size/pageSize:
				clear(pg[size%pageSize:])
			}
		}
	}
	l.size = size
}

func (f *overlayFile) Size() (int64, error) {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	return f.l.size, f.open("stat")
}

func (f *overlayFile) Sync() error {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	return f.open("sync")
}

// DropCache drops base's, so that what is read is what the device has.
func (f *overlayFile) DropCache(from int64) error {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	if err := f.open("dropcache"); err != nil || f.base == nil {
		return err
	}
	return f.base.DropCache(from)
}

func (f *overlayFile) ReadCached(p []byte, off int64) bool {
	n, err := f.ReadAt(p, off)
	return n == len(p) && (err == nil || err == io.EOF) //nolint:errorlint // ReadAt gives it bare
}

func (f *overlayFile) Cached(_, n int64) int64 { return n }

func (f *overlayFile) Advise(int64, int64, Advice) error { return nil }

// Reserve has all the room there is.
func (f *overlayFile) Reserve(int64, int64) error { return nil }

func (f *overlayFile) Close() error {
	f.o.mu.Lock()
	defer f.o.mu.Unlock()
	if err := f.open("close"); err != nil {
		return err
	}
	f.closed = true
	if f.base != nil {
		return f.base.Close()
	}
	return nil
}

func (f *overlayFile) Fd() (uintptr, bool) { return 0, false }

// Change is a difference between an [Overlay] and what lies below it.
type Change struct {
	Name   string `json:"name"`
	What   string `json:"what"` // "created", "removed", "renamed", "cut", "grown" or "rewritten"
	From   string `json:"from,omitempty"`
	Before int64  `json:"bytes_before"` // its size; 0 if it was not there
	After  int64  `json:"bytes_after"`  // 0 if it is gone
	Differ int64  `json:"bytes_differ"` // bytes within both sizes that are not the same
}

// Changes compares the overlay with its base below the folder dir, sorted by
// name. A file that was written with what it held already is no change. A folder
// that is gone is one change, with the bytes of its files.
func (o *Overlay) Changes(dir string) ([]Change, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	dir = path.Clean(dir)
	l, err := o.look(dir)
	if l == nil || err != nil {
		return nil, err
	}
	var out []Change
	err = o.compare(l, dir, &out)
	return out, err
}

// compare looks at what was touched in a folder; nothing else can differ.
func (o *Overlay) compare(l *layer, at string, out *[]Change) error {
	names := make([]string, 0, len(l.children))
	for name := range l.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c, where := l.children[name], path.Join(at, name)
		before, size, err := o.before(where)
		if err != nil {
			return err
		}
		switch {
		case c == nil && before:
			*out = append(*out, Change{Name: where, What: "removed", Before: size})
		case c == nil:
		case c.from != "" && c.from != where:
			*out = append(*out, Change{Name: where, What: "renamed", From: c.from, Before: size, After: c.size})
		case c.dir:
			if !before {
				*out = append(*out, Change{Name: where, What: "created"})
			}
			err = o.compare(c, where, out)
		case !before:
			*out = append(*out, Change{Name: where, What: "created", After: c.size})
		default:
			err = o.compareFile(c, where, size, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// before tells whether base has a name, and how many bytes are in and below it.
func (o *Overlay) before(name string) (there bool, size int64, err error) {
	info, err := o.base.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil || !info.Dir {
		return err == nil, info.Size, err
	}
	list, err := o.base.ReadDir(name)
	for _, i := range list {
		_, below, berr := o.before(path.Join(name, i.Name))
		size, err = size+below, errors.Join(err, berr)
	}
	return true, size, err
}

// compareFile compares a file with what base has under its name; it may be
// another file that took its place.
func (o *Overlay) compareFile(c *layer, where string, size int64, out *[]Change) error {
	base, err := o.base.Open(where, ReadOnly)
	if err != nil {
		return err
	}
	defer base.Close() //nolint:errcheck // only read
	ch := Change{Name: where, Before: size, After: c.size}
	within := min(size, c.size)
	var was, is [64 << 10]byte
	for at := int64(0); at < within; {
		n := min(int64(len(is)), within-at)
		if c.from == where && at+n <= c.shown && !c.written(at, n) {
			at += n
			continue
		}
		if _, err := base.ReadAt(was[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := c.read(base, is[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(was[:n], is[:n]) {
			for i := range n {
				if was[i] != is[i] {
					ch.Differ++
				}
			}
		}
		at += n
	}
	switch {
	case ch.Differ > 0:
		ch.What = "rewritten"
	case c.size < size:
		ch.What = "cut"
	case c.size > size:
		ch.What = "grown"
	default:
		return nil
	}
	*out = append(*out, ch)
	return nil
}

// written tells whether a range holds a page of this layer's own.
func (l *layer) written(at, n int64) bool {
	for i := at / pageSize; i*pageSize < at+n; i++ {
		if l.pages[i] != nil {
			return true
		}
	}
	return false
}
