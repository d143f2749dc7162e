package vfs

import (
	"fmt"
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

func (o *osFile) DropCache(from int64) error {
	from -= from % int64(unix.Getpagesize()) // a page of which only a part is meant stays
	if err := unix.Fadvise(int(o.fd), from, 0, unix.FADV_DONTNEED); err != nil {
		return pathError("fadvise", o.f.Name(), err)
	}
	runtime.KeepAlive(o.f)
	return nil
}

// ReadCached is preadv2 with RWF_NOWAIT, which gives what the page cache has
// from off on and stops at the first page that it lacks.
func (o *osFile) ReadCached(p []byte, off int64) bool {
	if o.blind.Load() {
		return false
	}
	n, err := unix.Preadv2(int(o.fd), [][]byte{p}, off, unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		o.blind.Store(true)
	}
	runtime.KeepAlive(o.f)
	return err == nil && n == len(p)
}

// Cached is cachestat (Linux 6.5). Before that the first and the last byte
// speak for the range.
func (o *osFile) Cached(off, n int64) int64 {
	if n <= 0 {
		return 0
	}
	page := int64(unix.Getpagesize())
	var st unix.Cachestat_t
	err := unix.Cachestat(uint(o.fd), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &st, 0)
	runtime.KeepAlive(o.f)
	if err == nil {
		all := (off+n-1)/page - off/page + 1 // pages that the range touches
		if int64(st.Cache) >= all {
			return n
		}
		return min(n-1, int64(st.Cache)*page)
	}
	var b [1]byte
	if o.blind.Load() || o.ReadCached(b[:], off) && o.ReadCached(b[:], off+n-1) {
		return n
	}
	if o.blind.Load() {
		return n
	}
	return 0
}

func (o *osFile) Advise(off, n int64, a Advice) error {
	if a == WriteOut {
		err := unix.SyncFileRange(int(o.fd), off, n, unix.SYNC_FILE_RANGE_WRITE)
		runtime.KeepAlive(o.f)
		if err != nil {
			return pathError("sync_file_range", o.f.Name(), err)
		}
		return nil
	}
	how := unix.FADV_WILLNEED
	if a == DontNeed {
		how = unix.FADV_DONTNEED
	}
	err := unix.Fadvise(int(o.fd), off, n, how)
	runtime.KeepAlive(o.f)
	if err != nil {
		return pathError("fadvise", o.f.Name(), err)
	}
	return nil
}

// Reserve is fallocate that keeps the size: the blocks are the file's, and what
// is not written of them reads as zeros if the file ever grows over it.
func (o *osFile) Reserve(off, end int64) error {
	for {
		err := unix.Fallocate(int(o.fd), unix.FALLOC_FL_KEEP_SIZE, off, end-off)
		if err == unix.EINTR {
			continue
		}
		runtime.KeepAlive(o.f)
		if err != nil {
			return pathError("fallocate", o.f.Name(), err)
		}
		return nil
	}
}

// mountID tells one mount of a file system from the next; "" where the kernel does
// not say. The unique id (Linux 6.8) is not given out twice in a run of the
// machine; the older one may be.
func mountID(name string) string {
	for _, mask := range []int{unix.STATX_MNT_ID_UNIQUE, unix.STATX_MNT_ID} {
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, name, 0, mask, &st); err == nil && int(st.Mask)&mask != 0 {
			return fmt.Sprintf("/%d", st.Mnt_id)
		}
	}
	return ""
}
