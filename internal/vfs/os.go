package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
)

// OS is the machine's file system. Production runs on Linux; elsewhere the same
// contract is kept with what the system offers.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(name string, flag Flag) (File, error) {
	mode := os.O_RDONLY
	if flag&ReadWrite != 0 {
		mode = os.O_RDWR
	}
	if flag&CreateNew != 0 {
		mode |= os.O_CREATE
	}
	if flag&Exclusive != 0 {
		mode |= os.O_EXCL
	}
	if flag&Truncate != 0 {
		mode |= os.O_TRUNC
	}
	return openOS(name, mode)
}

func openOS(name string, mode int) (File, error) {
	f, err := os.OpenFile(name, mode, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{f: f, fd: f.Fd()}, nil
}

func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) RemoveAll(name string) error          { return os.RemoveAll(name) }
func (osFS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }
func (osFS) MkdirAll(name string) error           { return os.MkdirAll(name, 0o755) }
func (osFS) SyncDir(name string) error            { return syncDir(name) }
func (osFS) Space(name string) (Space, error)     { return space(name) }

func (osFS) ReadNames(name string) ([]Info, error) {
	entries, err := os.ReadDir(name) // sorted by name
	if err != nil {
		return nil, err
	}
	list := make([]Info, len(entries))
	for i, e := range entries {
		list[i] = Info{Name: e.Name(), Dir: e.IsDir()}
	}
	return list, nil
}

func (osFS) ReadDir(name string) ([]Info, error) {
	entries, err := os.ReadDir(name) // sorted by name
	if err != nil {
		return nil, err
	}
	out := make([]Info, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, infoOf(info))
	}
	return out, nil
}

func (osFS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return infoOf(info), nil
}

func infoOf(i fs.FileInfo) Info {
	info := Info{Name: i.Name(), Dir: i.IsDir(), ModTime: i.ModTime()}
	if !info.Dir {
		info.Size = i.Size()
	}
	return info
}

func (osFS) BootID(name string) string {
	if runtime.GOOS != "linux" {
		return ""
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id)) + mountID(name)
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(pathError("lock", name, err), f.Close())
	}
	return f, nil // closing it gives the lock back
}

// osFile is a file of the machine. The descriptor is kept beside the *os.File
// so that the hot calls need not take its lock; whoever closes a File sees to it
// that nobody uses it any more, see [Pool].
type osFile struct {
	f  *os.File
	fd uintptr
	// blind is set once the file system has said that it cannot read without
	// waiting.
	blind atomic.Bool
}

func (o *osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }
func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }
func (o *osFile) Truncate(size int64) error                { return o.f.Truncate(size) }
func (o *osFile) Close() error                             { return o.f.Close() }
func (o *osFile) Fd() (uintptr, bool)                      { return o.fd, true }

func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
