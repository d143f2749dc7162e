package sim

import "github.com/myelin-stream/myelin/internal/vfs"

// spoilers are bugs that look from below as if the disk had them: it says that
// something is durable and does nothing.
func spoilers() map[string]func(vfs.FS) vfs.FS {
	return map[string]func(vfs.FS) vfs.FS{
		"disk/sync":  func(fs vfs.FS) vfs.FS { return forgetful{FS: fs, data: true} },
		"disk/names": func(fs vfs.FS) vfs.FS { return forgetful{FS: fs} },
	}
}

// forgetful is a file system that does not sync data of logs, or their folders.
type forgetful struct {
	vfs.FS
	data bool
}

type forgetfulFile struct{ vfs.File }

func (f forgetful) Create(name string) (vfs.File, error) { return f.open(f.FS.Create(name))(name) }

func (f forgetful) Open(name string, flag vfs.Flag) (vfs.File, error) {
	return f.open(f.FS.Open(name, flag))(name)
}

func (f forgetful) open(file vfs.File, err error) func(name string) (vfs.File, error) {
	return func(name string) (vfs.File, error) {
		if err == nil && f.data && isLog(name) {
			return forgetfulFile{file}, nil
		}
		return file, err
	}
}

func (f forgetful) SyncDir(name string) error {
	if !f.data && isPartition(name) {
		return nil
	}
	return f.FS.SyncDir(name)
}

func (forgetfulFile) Sync() error { return nil }
