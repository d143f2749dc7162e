// Package vfs is the file system as Myelin sees it: a seam with two sides, the
// machine's own ([OS]) and one in memory that can lose power ([Mem]).
//
// The words. A write is *written* once it returns: every reader sees it, a
// power cut may still take it. It is *durable* once [File.Sync] has returned
// nil after it. A name is a thing of its own: creating, renaming or removing a
// file is durable only after [FS.SyncDir] of the folder that holds the name. A
// file whose data is synced but whose name is not may be gone after a power cut.
//
//	Create, WriteAt, Sync          data durable, name not
//	Create, WriteAt, SyncDir       name durable, data not: it may read as zeros
//	Create, WriteAt, Sync, SyncDir both
//
// A failed Sync is final. The kernel reports a failed write-back once, marks the
// pages clean and lets the next Sync succeed although the disk lacks the data,
// so whoever sees an error must never acknowledge anything of that file again.
//
// Names are paths with slashes. What is not found answers an error that is
// [fs.ErrNotExist], and so on; see [IsNoSpace] for a full disk.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"syscall"
	"time"
)

// Flag says how Open opens. The zero value reads an existing file.
type Flag int

// The flags of [FS.Open].
const (
	ReadOnly  Flag = 0
	ReadWrite Flag = 1 << iota
	CreateNew      // make the file when it is missing; needs ReadWrite
	Exclusive      // with CreateNew: fail with [fs.ErrExist] when it is there
	Truncate       // cut it to nothing; needs ReadWrite
)

// Info describes a file or folder.
type Info struct {
	Name    string // last element of the path
	Size    int64  // bytes; 0 for a folder
	Dir     bool
	ModTime time.Time
}

// Space is the room of the volume that holds a path, in bytes.
type Space struct{ Total, Free int64 }

// FS is a file system. All methods may be called by several goroutines at once,
// and all may wait for a device.
type FS interface {
	// Create makes a file, or empties the one that is there, to read and write.
	Create(name string) (File, error)
	Open(name string, flag Flag) (File, error)
	// Remove takes away a file or an empty folder. An open file stays readable.
	Remove(name string) error
	// RemoveAll takes away name and all below it; a missing name is no error.
	RemoveAll(name string) error
	// Rename moves a file or folder; a file that is at newName is replaced.
	Rename(oldName, newName string) error
	MkdirAll(name string) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]Info, error)
	// ReadNames is ReadDir for who needs only Name and Dir, which a folder knows
	// without a look at each of its files.
	ReadNames(name string) ([]Info, error)
	Stat(name string) (Info, error)
	// SyncDir makes the names in a folder durable: those made, those renamed
	// into or out of it, those removed.
	SyncDir(name string) error
	// Lock takes the file name as a lock until the closer is closed or the
	// process ends. A lock that another holds answers [ErrLocked].
	Lock(name string) (io.Closer, error)
	Space(name string) (Space, error)
	// BootID names this run of the machine and the mount that holds name: while
	// it is the same, the page cache has survived. Empty where that cannot be told.
	BootID(name string) string
}

// File is an open file. Reads and writes name their offset, so any number of
// goroutines may use one File; what two overlapping writes leave is undefined.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Writev writes the buffers one after the other at off, as one call to the
	// system where it has one. n counts what was written, also on an error.
	Writev(bufs [][]byte, off int64) (n int64, err error)
	// Sync makes data and size durable (fdatasync). An error is final, see the
	// package comment.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	// DropCache asks the system to forget what it holds of this file in memory
	// from a position on, so that the next read comes from the device. Dirty data
	// stays: Sync first.
	DropCache(from int64) error
	// ReadCached is ReadAt out of what memory holds, without waiting for a
	// device. It tells whether it filled p; where it did not, p may be changed,
	// and ReadAt is the way. Systems that cannot say answer false.
	ReadCached(p []byte, off int64) bool
	// Cached is how many of the n bytes at off are in memory. It reads nothing.
	// Systems that cannot say answer n.
	Cached(off, n int64) int64
	// Advise says what will become of the n bytes at off. It changes nothing that
	// a reader sees.
	Advise(off, n int64, a Advice) error
	// Reserve takes room on the device for the bytes from off to end, which may
	// lie behind the end of the file: its size stays. Truncate to any size gives
	// back what lies behind that. A full disk answers as for a write; where there
	// is no such call, the error is [errors.ErrUnsupported].
	Reserve(off, end int64) error
	Close() error
	// Fd is the descriptor, for sendfile, while the file is open. Files that
	// have none answer false.
	Fd() (uintptr, bool)
}

// Advice is what a caller tells the system of a range of a file.
type Advice int

// The advice of [File.Advise].
const (
	WillNeed Advice = iota // begin to read it into memory, do not wait for it
	DontNeed               // what is clean of it may go from memory
	WriteOut               // begin to write it to the device; only Sync says that it is there
)

// ErrLocked says that another process, or another part of this one, holds the
// lock.
var ErrLocked = errors.New("locked by another process")

// IsNoSpace tells whether err says that the disk is full or a quota is spent.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota)
}

// IsGone tells whether err says that the whole volume is gone or takes no writes,
// which no file has to itself.
func IsGone(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO)
}

// WriteAtomic puts data under name so that a power cut leaves either the old
// file whole or the new one, and the new one once it has returned: it writes
// name.tmp, syncs it, renames it and syncs the folder.
func WriteAtomic(f FS, name string, data []byte) error {
	if err := writeSynced(f, name+".tmp", data); err != nil {
		return err
	}
	if err := f.Rename(name+".tmp", name); err != nil {
		return err
	}
	return f.SyncDir(path.Dir(name))
}

// WriteFile is WriteAtomic without a sync: a reader sees the old file or the new
// one, but after a power cut what is there may be neither. It is for caches.
func WriteFile(f FS, name string, data []byte) error {
	file, err := f.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, 0)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return f.Rename(name+".tmp", name)
}

func writeSynced(f FS, name string, data []byte) (err error) {
	file, err := f.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(data, 0); err != nil {
		return err
	}
	return file.Sync()
}

// ReadFile reads a file whole. A file of more than limit bytes is an error: what
// is read whole is small, and a wrong size must not become an allocation.
func ReadFile(f FS, name string, limit int64) ([]byte, error) {
	file, err := f.Open(name, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than the %d it may have", name, size, limit)
	}
	data := make([]byte, size)
	n, err := file.ReadAt(data, 0)
	if err == io.EOF { //nolint:errorlint // ReadAt gives it bare
		err = nil
	}
	return data[:n], err
}

// Allocate makes f size bytes long and takes the room for all of them now:
// where [File.Reserve] is not there, zeros are written behind the end. On an
// error the file may have grown less far.
func Allocate(f File, size int64) error {
	err := f.Reserve(0, size)
	if err == nil {
		return f.Truncate(size)
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	at, err := f.Size()
	zeros := make([]byte, min(max(size-at, 0), 256<<10))
	for at < size && err == nil {
		var n int
		n, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
		at += int64(n)
	}
	return err
}

// Exists tells whether name is there.
func Exists(f FS, name string) (bool, error) {
	_, err := f.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// pathError gives an error the operation and the name, as package os does.
func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
