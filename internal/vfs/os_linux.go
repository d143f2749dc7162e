package vfs

import (
	"io"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxVectors is Linux's IOV_MAX.
const maxVectors = 1024

// Writev is pwritev, repeated after a short count or a signal.
func (o *osFile) Writev(bufs [][]byte, off int64) (int64, error) {
	if len(bufs) == 1 {
		n, err := o.WriteAt(bufs[0], off)
		return int64(n), err
	}
	var done int64
	skip := 0 // bytes of bufs[0] that are written
	for len(bufs) > 0 {
		if skip > 0 || len(bufs[0]) == 0 {
			// A short write ends inside a buffer: finish that one alone, so
			// that the caller's slice of slices stays as it is.
			n, err := o.WriteAt(bufs[0][skip:], off+done)
			done += int64(n)
			if err != nil {
				return done, err
			}
			bufs, skip = bufs[1:], 0
			continue
		}
		n, err := unix.Pwritev(int(o.fd), bufs[:min(len(bufs), maxVectors)], off+done)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, pathError("pwritev", o.f.Name(), err)
		}
		if n == 0 {
			return done, pathError("pwritev", o.f.Name(), io.ErrShortWrite)
		}
		done += int64(n)
		for n > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		skip = n
	}
	runtime.KeepAlive(o.f)
	return done, nil
}

// Sync is fdatasync: data, and the size, which is needed to read the data back;
// not the times. It is never repeated but after a signal, which did nothing.
func (o *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(o.fd))
		if err == unix.EINTR {
			continue
		}
		runtime.KeepAlive(o.f)
		if err != nil {
			return pathError("fdatasync", o.f.Name(), err)
		}
		return nil
	}
}

func (o *osFile) DropCache() error {
	if err := unix.Fadvise(int(o.fd), 0, 0, unix.FADV_DONTNEED); err != nil {
		return pathError("fadvise", o.f.Name(), err)
	}
	runtime.KeepAlive(o.f)
	return nil
}
