package vfs

import "io"

// Limit lets at most n calls that may wait for the device run at once on f; the
// others wait their turn. Every such call occupies a thread of the process, so
// without a bound a stalled disk would make a thread for every connection.
//
// Reads of files may have at most half of them, so that however many wait for
// old data, writes and syncs find the other half. What memory holds is read
// without any.
//
// Lock, Space, BootID, Fd and what cannot wait pass freely.
func Limit(f FS, n int) FS {
	n = max(n, 1)
	return &limited{FS: f, tokens: make(chan struct{}, n), reads: make(chan struct{}, (n+1)/2)}
}

type limited struct {
	FS
	tokens chan struct{} // one element for each call under way
	reads  chan struct{} // and one here for each that reads
}

func (l *limited) take() { l.tokens <- struct{}{} }
func (l *limited) give() { <-l.tokens }

func (l *limited) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &limitedFile{File: f, l: l}, nil
}

func (l *limited) Create(name string) (File, error) {
	l.take()
	defer l.give()
	return l.file(l.FS.Create(name))
}

func (l *limited) Open(name string, flag Flag) (File, error) {
	l.take()
	defer l.give()
	return l.file(l.FS.Open(name, flag))
}

func (l *limited) Remove(name string) error {
	l.take()
	defer l.give()
	return l.FS.Remove(name)
}

func (l *limited) RemoveAll(name string) error {
	l.take()
	defer l.give()
	return l.FS.RemoveAll(name)
}

func (l *limited) Rename(oldName, newName string) error {
	l.take()
	defer l.give()
	return l.FS.Rename(oldName, newName)
}

func (l *limited) MkdirAll(name string) error {
	l.take()
	defer l.give()
	return l.FS.MkdirAll(name)
}

func (l *limited) ReadDir(name string) ([]Info, error) {
	l.take()
	defer l.give()
	return l.FS.ReadDir(name)
}

func (l *limited) Stat(name string) (Info, error) {
	l.take()
	defer l.give()
	return l.FS.Stat(name)
}

func (l *limited) SyncDir(name string) error {
	l.take()
	defer l.give()
	return l.FS.SyncDir(name)
}

func (l *limited) Lock(name string) (io.Closer, error) { return l.FS.Lock(name) }

type limitedFile struct {
	File
	l *limited
}

func (f *limitedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.File.ReadCached(p, off) {
		return len(p), nil
	}
	f.l.reads <- struct{}{}
	defer func() { <-f.l.reads }()
	f.l.take()
	defer f.l.give()
	return f.File.ReadAt(p, off)
}

func (f *limitedFile) WriteAt(p []byte, off int64) (int, error) {
	f.l.take()
	defer f.l.give()
	return f.File.WriteAt(p, off)
}

func (f *limitedFile) Writev(bufs [][]byte, off int64) (int64, error) {
	f.l.take()
	defer f.l.give()
	return f.File.Writev(bufs, off)
}

func (f *limitedFile) Sync() error {
	f.l.take()
	defer f.l.give()
	return f.File.Sync()
}

func (f *limitedFile) Truncate(size int64) error {
	f.l.take()
	defer f.l.give()
	return f.File.Truncate(size)
}

func (f *limitedFile) Size() (int64, error) {
	f.l.take()
	defer f.l.give()
	return f.File.Size()
}

func (f *limitedFile) DropCache() error {
	f.l.take()
	defer f.l.give()
	return f.File.DropCache()
}

func (f *limitedFile) Reserve(off, end int64) error {
	f.l.take()
	defer f.l.give()
	return f.File.Reserve(off, end)
}

func (f *limitedFile) Close() error {
	f.l.take()
	defer f.l.give()
	return f.File.Close()
}
