//go:build !linux

package vfs

import "io"

// Writev writes the buffers in turn: these systems are for development only.
func (o *osFile) Writev(bufs [][]byte, off int64) (int64, error) {
	return writeEach(o.f, bufs, off)
}

// Sync is what package os offers: F_FULLFSYNC on Darwin, FlushFileBuffers on
// Windows.
func (o *osFile) Sync() error { return o.f.Sync() }

// DropCache does nothing: there is no portable way.
func (o *osFile) DropCache() error { return nil }

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
