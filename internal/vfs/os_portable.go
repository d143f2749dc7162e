//go:build !linux

package vfs

// Writev writes the buffers in turn: these systems are for development only.
func (o *osFile) Writev(bufs [][]byte, off int64) (int64, error) {
	return writeEach(o.f, bufs, off)
}

// Sync is what package os offers: F_FULLFSYNC on Darwin, FlushFileBuffers on
// Windows.
func (o *osFile) Sync() error { return o.f.Sync() }

// DropCache does nothing: there is no portable way.
func (o *osFile) DropCache() error { return nil }
