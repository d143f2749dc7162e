package main

import (
	"os"
	"syscall"
)

// fdatasync makes what was written to f durable.
func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// forget drops what memory holds of f: posix_fadvise with POSIX_FADV_DONTNEED.
func forget(f *os.File) error {
	const dontNeed = 4
	if _, _, code := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); code != 0 {
		return code
	}
	return nil
}
