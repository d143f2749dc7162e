//go:build !linux

package vfs

import (
	"errors"
	"io"
)

// Writev writes the buffers in turn: these systems are for development only.
func (o *osFile) Writev(bufs [][]byte, off int64) (int64, error) {
	return writeEach(o.f, bufs, off)
}

// Sync is what package os offers: F_FULLFSYNC on Darwin, FlushFileBuffers on
// Windows.
func (o *osFile) Sync() error { return o.f.Sync() }

// DropCache does nothing: there is no portable way.
func (o *osFile) DropCache(int64) error { return nil }

// ReadCached cannot say.
func (o *osFile) ReadCached([]byte, int64) bool { return false }

// Cached cannot say.
func (o *osFile) Cached(_, n int64) int64 { return n }

// Advise does nothing: there is no portable way.
func (o *osFile) Advise(int64, int64, Advice) error { return nil }

// mountID cannot be told.
func mountID(string) string { return "" }

// Reserve is not there.
func (o *osFile) Reserve(int64, int64) error {
	return pathError("reserve", o.f.Name(), errors.ErrUnsupported)
}

// writeEach is Writev for systems without one.
func writeEach(f io.WriterAt, bufs [][]byte, off int64) (int64, error) {
	var done int64
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+done)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
