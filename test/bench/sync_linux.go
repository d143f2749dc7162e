package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fdatasync makes what was written to f durable.
func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// forget drops what memory holds of f.
func forget(f *os.File) error { return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
