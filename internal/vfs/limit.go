package vfs

import (
	"errors"
	"io"
	"sync/atomic"
)

// Limited is an FS of which at most so many calls run at once, see [Limit]. It
// also knows which calls are under way and for how long, for whoever watches the
// device: see [Limited.Tick].
type Limited struct {
	FS
	free    chan *token
	all     []token
	reads   chan struct{} // one element for each read under way
	ticks   atomic.Int64
	waiting atomic.Int64
	failed  atomic.Int64 // reads
}

// token is the right to one call. What it says of the call is for the watcher.
type token struct {
	since atomic.Int64 // the tick in which the call began; idle
	kind  atomic.Int32
	name  atomic.Pointer[string]
	_     [32]byte // a cache line of its own
}

const idle = -1

// Limit lets at most n calls that may wait for the device run at once on f; the
// others wait their turn. Every such call occupies a thread of the process, so
// without a bound a stalled disk would make a thread for every connection.
//
// Reads of files may have at most half of them, so that however many wait for
// old data, writes and syncs find the other half. What memory holds is read
// without any.
//
// Lock, Space, BootID, Fd and what cannot wait pass freely.
func Limit(f FS, n int) *Limited {
	n = max(n, 1)
	l := &Limited{FS: f, free: make(chan *token, n), all: make([]token, n), reads: make(chan struct{}, (n+1)/2)}
	for i := range l.all {
		l.all[i].since.Store(idle)
		l.free <- &l.all[i]
	}
	return l
}

// Call is a call that is under way.
type Call struct {
	Kind  OpKind
	Name  string
	Ticks int64 // how many ticks have passed since it began
}

// Tick counts one interval of whoever watches, and gives the calls that have
// seen at least that many, in no order. Time comes in as ticks because that
// costs a call nothing, and no wall clock that jumps can spoil it.
func (l *Limited) Tick(atLeast int64) (slow []Call) {
	now := l.ticks.Add(1)
	for i := range l.all {
		t := &l.all[i]
		since := t.since.Load()
		if since == idle || now-since < atLeast {
			continue
		}
		c := Call{Kind: OpKind(t.kind.Load()), Ticks: now - since}
		if name := t.name.Load(); name != nil {
			c.Name = *name
		}
		if t.since.Load() == since { // or it was another call's by then
			slow = append(slow, c)
		}
	}
	return slow
}

// Waiting is how many calls wait for others to end.
func (l *Limited) Waiting() int64 { return l.waiting.Load() }

// FailedReads is how many reads of files the device answered with an error.
func (l *Limited) FailedReads() int64 { return l.failed.Load() }

func (l *Limited) take(kind OpKind, name *string) *token {
	var t *token
	select {
	case t = <-l.free:
	default:
		l.waiting.Add(1)
		t = <-l.free
		l.waiting.Add(-1)
	}
	t.kind.Store(int32(kind))
	t.name.Store(name)
	t.since.Store(l.ticks.Load())
	return t
}

func (l *Limited) give(t *token) {
	t.since.Store(idle)
	t.name.Store(nil)
	l.free <- t
}

func (l *Limited) file(name string, f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &limitedFile{File: f, l: l, name: name}, nil
}

// Create, as all below, is that of the FS once there is a token.
func (l *Limited) Create(name string) (File, error) {
	defer l.give(l.take(OpCreate, &name))
	f, err := l.FS.Create(name)
	return l.file(name, f, err)
}

func (l *Limited) Open(name string, flag Flag) (File, error) {
	defer l.give(l.take(OpOpen, &name))
	f, err := l.FS.Open(name, flag)
	return l.file(name, f, err)
}

func (l *Limited) Remove(name string) error {
	defer l.give(l.take(OpRemove, &name))
	return l.FS.Remove(name)
}

func (l *Limited) RemoveAll(name string) error {
	defer l.give(l.take(OpRemove, &name))
	return l.FS.RemoveAll(name)
}

func (l *Limited) Rename(oldName, newName string) error {
	defer l.give(l.take(OpRename, &oldName))
	return l.FS.Rename(oldName, newName)
}

func (l *Limited) MkdirAll(name string) error {
	defer l.give(l.take(OpMkdir, &name))
	return l.FS.MkdirAll(name)
}

func (l *Limited) ReadDir(name string) ([]Info, error) {
	defer l.give(l.take(OpReadDir, &name))
	return l.FS.ReadDir(name)
}

func (l *Limited) ReadNames(name string) ([]Info, error) {
	defer l.give(l.take(OpReadDir, &name))
	return l.FS.ReadNames(name)
}

func (l *Limited) Stat(name string) (Info, error) {
	defer l.give(l.take(OpStat, &name))
	return l.FS.Stat(name)
}

func (l *Limited) SyncDir(name string) error {
	defer l.give(l.take(OpSyncDir, &name))
	return l.FS.SyncDir(name)
}

func (l *Limited) Lock(name string) (io.Closer, error) { return l.FS.Lock(name) }

type limitedFile struct {
	File
	l    *Limited
	name string
}

func (f *limitedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.File.ReadCached(p, off) {
		return len(p), nil
	}
	f.l.reads <- struct{}{}
	defer func() { <-f.l.reads }()
	defer f.l.give(f.l.take(OpRead, &f.name))
	n, err := f.File.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		f.l.failed.Add(1)
	}
	return n, err
}

func (f *limitedFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.l.give(f.l.take(OpWrite, &f.name))
	return f.File.WriteAt(p, off)
}

func (f *limitedFile) Writev(bufs [][]byte, off int64) (int64, error) {
	defer f.l.give(f.l.take(OpWrite, &f.name))
	return f.File.Writev(bufs, off)
}

func (f *limitedFile) Sync() error {
	defer f.l.give(f.l.take(OpSync, &f.name))
	return f.File.Sync()
}

func (f *limitedFile) Truncate(size int64) error {
	defer f.l.give(f.l.take(OpTruncate, &f.name))
	return f.File.Truncate(size)
}

func (f *limitedFile) Reserve(off, end int64) error {
	defer f.l.give(f.l.take(OpWrite, &f.name))
	return f.File.Reserve(off, end)
}

func (f *limitedFile) Size() (int64, error) {
	defer f.l.give(f.l.take(OpStat, &f.name))
	return f.File.Size()
}

func (f *limitedFile) DropCache(from int64) error {
	defer f.l.give(f.l.take(OpDropCache, &f.name))
	return f.File.DropCache(from)
}

func (f *limitedFile) Close() error {
	defer f.l.give(f.l.take(OpStat, &f.name))
	return f.File.Close()
}
