package vfs

import (
	"container/list"
	"fmt"
	"io/fs"
	"sync"
)

// Pool opens files when they are used and closes those that have not been for
// long, so that a log of many thousand segments needs few descriptors.
//
// A [Handle] that somebody holds is never closed. Whoever has written holds its
// handle until it has synced: the kernel reports a failed write-back to a
// descriptor that was open when it failed, so a descriptor closed in between
// could lose the error.
type Pool struct {
	fs    FS
	limit int

	mu struct {
		sync.Mutex            // memory only: never held across I/O
		idle       *list.List // of *Handle: open and held by nobody; the front is the oldest
		open       int        // descriptors open or being opened
	}
}

// NewPool makes a pool over f that closes idle descriptors when more than limit
// are open. Held ones do not count against anybody: the limit may be passed.
func NewPool(f FS, limit int) *Pool {
	p := &Pool{fs: f, limit: max(limit, 1)}
	p.mu.idle = list.New()
	return p
}

// Handle is a file that is open only while it is used. The zero value is not
// ready; see [Pool.Handle].
type Handle struct {
	pool *Pool
	flag Flag

	// All guarded by pool.mu.
	name    string
	file    File
	held    int
	opening chan struct{} // closed when the one who opens is done
	idle    *list.Element
	closed  bool
}

// Handle makes a handle for name, which is opened at the first Acquire. A flag
// with CreateNew makes the file only then, and only once.
func (p *Pool) Handle(name string, flag Flag) *Handle {
	return &Handle{pool: p, name: name, flag: flag}
}

// Open reports how many descriptors are open.
func (p *Pool) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.open
}

// Acquire gives the open file, which stays open until Release. It fails with
// [fs.ErrClosed] once the handle is closed.
func (h *Handle) Acquire() (File, error) {
	p := h.pool
	for {
		p.mu.Lock()
		switch {
		case h.closed:
			p.mu.Unlock()
			return nil, fmt.Errorf("%s: %w", h.name, fs.ErrClosed)
		case h.file != nil:
			h.hold()
			f := h.file
			p.mu.Unlock()
			return f, nil
		case h.opening != nil:
			wait := h.opening
			p.mu.Unlock()
			<-wait
		default:
			done := make(chan struct{})
			h.opening = done
			p.mu.open++
			name, victims := h.name, p.evictLocked()
			p.mu.Unlock()
			closeAll(victims)
			f, err := p.fs.Open(name, h.flag)
			h.opened(f, err)
			close(done)
			if err != nil {
				return nil, err
			}
			return f, nil
		}
	}
}

// opened ends an Acquire that had to open the file.
func (h *Handle) opened(f File, err error) {
	p := h.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	h.opening = nil
	if err != nil {
		p.mu.open--
		return
	}
	h.flag &^= CreateNew | Exclusive | Truncate
	h.file = f
	h.held++
}

// hold counts one more user. The caller has pool.mu.
func (h *Handle) hold() {
	h.held++
	if h.idle != nil {
		h.pool.mu.idle.Remove(h.idle)
		h.idle = nil
	}
}

// Release ends one Acquire.
func (h *Handle) Release() {
	p := h.pool
	p.mu.Lock()
	if h.held <= 0 {
		p.mu.Unlock()
		panic("vfs: Release of a handle that nobody holds")
	}
	h.held--
	var victims []File
	if h.held == 0 {
		if h.closed {
			victims = append(victims, h.file)
			h.file = nil
			p.mu.open--
		} else {
			h.idle = p.mu.idle.PushBack(h)
			victims = p.evictLocked()
		}
	}
	p.mu.Unlock()
	closeAll(victims)
}

// Rename tells the handle that its file has a new name.
func (h *Handle) Rename(name string) {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.name = name
}

// Drop closes the file now if nobody holds it; the next Acquire opens it again.
func (h *Handle) Drop() {
	p := h.pool
	p.mu.Lock()
	var victims []File
	if h.idle != nil {
		victims = append(victims, h.file)
		h.file = nil
		p.mu.open--
		p.mu.idle.Remove(h.idle)
		h.idle = nil
	}
	p.mu.Unlock()
	closeAll(victims)
}

// Close ends the handle: the file is closed now, or by the last Release. The
// error of closing does not matter, since nobody lets go before a Sync.
func (h *Handle) Close() {
	p := h.pool
	p.mu.Lock()
	h.closed = true
	var victims []File
	if h.file != nil && h.held == 0 {
		victims = append(victims, h.file)
		h.file = nil
		p.mu.open--
		p.mu.idle.Remove(h.idle)
		h.idle = nil
	}
	p.mu.Unlock()
	closeAll(victims)
}

// evictLocked takes the oldest idle descriptors above the limit.
func (p *Pool) evictLocked() []File {
	var out []File
	for p.mu.open > p.limit && p.mu.idle.Len() > 0 {
		h := p.mu.idle.Remove(p.mu.idle.Front()).(*Handle)
		h.idle = nil
		out = append(out, h.file)
		h.file = nil
		p.mu.open--
	}
	return out
}

func closeAll(files []File) {
	for _, f := range files {
		f.Close() //nolint:errcheck // clean: see Close
	}
}
