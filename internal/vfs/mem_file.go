package vfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// pageSize is the unit in which files share memory between what is written and
// what is durable; sectorSize is what a device writes whole or not at all.
const (
	pageSize   = 4096
	sectorSize = 512
)

type page = [pageSize]byte

// content is a file's bytes, twice. A page that is not dirty is the same array
// on both faces (and in clones) and never written to: a write makes a copy
// first. A nil page reads as zeros.
type content struct {
	size        int64
	pages       []*page
	dirty       map[int64]uint8 // page -> its written sectors, one bit each
	durable     []*page
	durableSize int64
	cut         bool  // truncated since the last sync, at least to cutTo
	cutTo       int64 // bytes
}

// pagesOf is how many pages n bytes take.
func pagesOf(n int64) int64 { return (n + pageSize - 1) / pageSize }

// write puts p at off, growing the file, and gives by how much it grew.
func (c *content) write(p []byte, off int64) int64 {
	grown := max(0, off+int64(len(p))-c.size)
	for len(p) > 0 {
		i, at := off/pageSize, int(off%pageSize)
		n := min(len(p), pageSize-at)
		copy(c.own(i)[at:], p[:n])
		for s := at / sectorSize; s <= (at+n-1)/sectorSize; s++ {
			c.dirty[i] |= 1 << s
		}
		p, off = p[n:], off+int64(n)
	}
	c.size += grown
	return grown
}

// own gives page i for writing.
func (c *content) own(i int64) *page {
	for int64(len(c.pages)) <= i {
		c.pages = append(c.pages, nil)
	}
	if c.dirty == nil {
		c.dirty = map[int64]uint8{}
	}
	if _, ok := c.dirty[i]; !ok {
		fresh := new(page)
		if c.pages[i] != nil {
			*fresh = *c.pages[i]
		}
		c.pages[i] = fresh
		c.dirty[i] = 0
	}
	return c.pages[i]
}

func (c *content) read(p []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(want), c.size-off)]
	done := 0
	for done < len(p) {
		i, at := off/pageSize, int(off%pageSize)
		n := min(len(p)-done, pageSize-at)
		if i < int64(len(c.pages)) && c.pages[i] != nil {
			copy(p[done:], c.pages[i][at:at+n])
		} else {
			clear(p[done : done+n])
		}
		done, off = done+n, off+int64(n)
	}
	if done < want {
		return done, io.EOF
	}
	return done, nil
}

// truncate cuts or grows the file and gives by how much it grew.
func (c *content) truncate(size int64) int64 {
	grown := size - c.size
	if grown < 0 {
		keep := pagesOf(size)
		if !c.cut || size < c.cutTo {
			c.cut, c.cutTo = true, size
		}
		if keep < int64(len(c.pages)) {
			clear(c.pages[keep:])
			c.pages = c.pages[:keep]
		}
		for i := range c.dirty {
			if i >= keep {
				delete(c.dirty, i)
			}
		}
		if at := size % pageSize; at != 0 && keep > 0 && keep <= int64(len(c.pages)) && c.pages[keep-1] != nil {
			clear(c.own(keep - 1)[at:]) // what grows again must read as zeros
			for s := int(at) / sectorSize; s < pageSize/sectorSize; s++ {
				c.dirty[keep-1] |= 1 << s
			}
		}
	}
	c.size = size
	return grown
}

// sync carries what is written over to the durable face.
func (c *content) sync() {
	if c.cut {
		c.durable = c.durable[:min(int64(len(c.durable)), pagesOf(c.cutTo))]
	}
	for i := range c.dirty {
		for int64(len(c.durable)) <= i {
			c.durable = append(c.durable, nil)
		}
		c.durable[i] = c.pages[i]
	}
	c.durableSize = c.size
	c.cut = false
	clear(c.dirty)
}

// forget marks what is dirty as clean without making it durable: what the
// kernel does when writing back has failed. Reads go on showing it.
func (c *content) forget() {
	clear(c.dirty)
	c.cut = false
}

// reload makes reads from the page of a position on show the device, unless
// something is dirty.
func (c *content) reload(from int64) {
	if len(c.dirty) > 0 {
		return
	}
	keep := min(int64(len(c.pages)), from/pageSize)
	c.pages = append(slices.Clone(c.pages[:keep]), c.durable[min(keep, int64(len(c.durable))):]...)
	c.size = c.durableSize
}

// memFile is an open file of a Mem.
type memFile struct {
	m        *Mem
	n        *node
	name     string
	writable bool
	closed   bool // guarded by m.mu
}

// begin asks the hook, waits, and checks that the file is open.
func (f *memFile) begin(op Op) error {
	op.Name = f.name
	if err := f.m.begin(op); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathError(op.Kind.String(), f.name, fs.ErrClosed)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("read", f.name, fs.ErrInvalid)
	}
	if err := f.begin(Op{Kind: OpRead, Off: off, Len: int64(len(p))}); err != nil {
		return 0, err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	return f.n.read(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.Writev([][]byte{p}, off)
	return int(n), err
}

func (f *memFile) Writev(bufs [][]byte, off int64) (int64, error) {
	var total int64
	for _, b := range bufs {
		total += int64(len(b))
	}
	if !f.writable {
		return 0, pathError("write", f.name, syscall.EBADF)
	}
	if off < 0 {
		return 0, pathError("write", f.name, fs.ErrInvalid)
	}
	err := f.begin(Op{Kind: OpWrite, Off: off, Len: total})
	room := total
	if short, ok := err.(*shortError); ok { //nolint:errorlint // ours alone
		room, err = min(total, short.n), short.err
	} else if err != nil {
		return 0, err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	var done int64
	for _, b := range bufs {
		b = b[:min(int64(len(b)), room-done)]
		if fit := f.m.fits(f.n, off+done, int64(len(b))); fit < int64(len(b)) {
			b, err = b[:fit], pathError("write", f.name, syscall.ENOSPC)
		}
		f.m.mu.used += f.n.write(b, off+done)
		done += int64(len(b))
		if done == room || err != nil && done < room && len(b) == 0 {
			break
		}
	}
	f.n.mod = f.m.now()
	return done, err
}

// fits tells how many of n bytes at off the budget allows.
func (m *Mem) fits(f *node, off, n int64) int64 {
	if m.mu.budget < 0 {
		return n
	}
	free := max(0, m.mu.budget-m.mu.used)
	return max(0, min(n, f.size+free-off))
}

func (f *memFile) Sync() error {
	err := f.begin(Op{Kind: OpSync})
	if err == errSkip { //nolint:errorlint // ours alone
		return nil
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err != nil {
		if !f.m.stoppedLocked() {
			f.n.forget()
		}
		return err
	}
	f.n.sync()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	if !f.writable || size < 0 {
		return pathError("truncate", f.name, fs.ErrInvalid)
	}
	if err := f.begin(Op{Kind: OpTruncate, Len: size}); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.mu.used += f.n.truncate(size)
	f.n.mod = f.m.now()
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.begin(Op{Kind: OpStat}); err != nil {
		return 0, err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.n.size, nil
}

func (f *memFile) DropCache(from int64) error {
	if err := f.begin(Op{Kind: OpDropCache}); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.n.reload(from)
	return nil
}

// ReadCached answers false, so that every read goes through ReadAt and its hook.
func (f *memFile) ReadCached([]byte, int64) bool { return false }

// Cached answers that all is in memory, which it is.
func (f *memFile) Cached(_, n int64) int64 { return n }

// Advise does nothing.
func (f *memFile) Advise(int64, int64, Advice) error { return nil }

// Reserve is not there: it would only be another way to be full.
func (f *memFile) Reserve(int64, int64) error {
	return pathError("reserve", f.name, errors.ErrUnsupported)
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

func (f *memFile) Fd() (uintptr, bool) { return 0, false }
