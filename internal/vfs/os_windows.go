package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// errQuota is what Windows calls a full disk.
const errQuota = windows.ERROR_DISK_FULL

// syncDir does nothing: NTFS journals names, and Windows cannot flush a folder.
func syncDir(string) error { return nil }

func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func space(name string) (Space, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return Space{}, pathError("space", name, err)
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, &all); err != nil {
		return Space{}, pathError("space", name, err)
	}
	return Space{Total: int64(total), Free: int64(free)}, nil
}
