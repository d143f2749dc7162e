package segment

import (
	"math"
	"syscall"
	"testing"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// roomy is a file that counts what is reserved behind its end.
type roomy struct {
	vfs.File
	reserved int64 // up to here
	calls    int
	full     bool
}

func (r *roomy) Reserve(off, end int64) error {
	r.calls++
	r.reserved = end
	if r.full {
		return syscall.ENOSPC
	}
	return nil
}

func (r *roomy) Truncate(size int64) error {
	r.reserved = size
	return r.File.Truncate(size)
}

// TestReserve pins who gets room ahead, how much, and that it goes back.
func TestReserve(t *testing.T) {
	const piece = 1 << 20
	open := func() *roomy {
		f, err := vfs.NewMem(vfs.MemConfig{}).Create("/a")
		if err != nil {
			t.Fatal(err)
		}
		return &roomy{File: f}
	}
	f, r := open(), &reserve{}
	write := func(size int64) {
		t.Helper()
		r.ahead(f, size, piece)
		if err := f.File.Truncate(size + piece); err != nil { // as a write would
			t.Fatal(err)
		}
	}
	size := int64(0)
	for ; size < 256<<20; size += piece {
		write(size)
		switch {
		case size < reserveFrom && f.calls > 0:
			t.Fatalf("a segment of %d bytes has room reserved", size)
		case size >= reserveFrom && f.reserved < size+piece:
			t.Fatalf("at %d bytes room is reserved up to %d", size, f.reserved)
		case f.reserved > size+piece+min(size/4, reserveMost):
			t.Fatalf("at %d bytes room is reserved up to %d, too much", size, f.reserved)
		}
	}
	if f.calls > 30 {
		t.Errorf("room was asked for %d times", f.calls)
	}
	if err := r.giveBack(f, size); err != nil || f.reserved != size {
		t.Errorf("of %d bytes the segment keeps room up to %d: %v", size, f.reserved, err)
	}
	write(size) // it is written to again
	if f.reserved <= size {
		t.Error("no room after it was given back")
	}
	// What another process left behind the end goes back too, but a file that is
	// not what it should be is left alone.
	f, r = open(), &reserve{}
	if err := f.File.Truncate(10 << 20); err != nil {
		t.Fatal(err)
	}
	f.reserved = 12 << 20
	if err := r.giveBack(f, 9<<20); err != nil || f.reserved != 12<<20 {
		t.Errorf("a file that is longer than its segment was cut: %d, %v", f.reserved, err)
	}
	if err := r.giveBack(f, 10<<20); err != nil || f.reserved != 10<<20 {
		t.Errorf("room of before is kept: %d, %v", f.reserved, err)
	}
	// A full disk: all goes back, and nobody asks again.
	f.full = true
	r.ahead(f, 10<<20, piece)
	if f.reserved != 10<<20 || r.end != math.MaxInt64 {
		t.Errorf("on a full disk room is kept up to %d", f.reserved)
	}
	r.ahead(f, 11<<20, piece)
	if f.calls != 1 {
		t.Errorf("a full disk was asked %d times", f.calls)
	}
}

// TestReserveOnDisk pins that a segment on a disk of the machine holds no more
// than it says once it is sealed, and reads as it was written.
func TestReserveOnDisk(t *testing.T) {
	cfg := config(vfs.NewMem(vfs.MemConfig{}), NewCache(1<<20), 4096)
	cfg.FS, cfg.Dir = vfs.OS(), t.TempDir()
	cfg.Pool = vfs.NewPool(cfg.FS, 10)
	s, err := Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 1<<20)
	for i := range int64(12) {
		body[0] = byte(i)
		if err := s.Write([][]byte{body}, []Mark{{Position: i << 20, LastOffset: i, MaxTimestamp: 1, Bytes: len(body)}}); err != nil {
			t.Fatal(err)
		}
	}
	blocks := func() int64 {
		var st syscall.Stat_t
		if err := syscall.Stat(s.path(LogSuffix), &st); err != nil {
			t.Fatal(err)
		}
		if st.Size != 12<<20 {
			t.Fatalf("the file has %d bytes", st.Size)
		}
		return st.Blocks * 512
	}
	if s.room.end == math.MaxInt64 {
		t.Skip("no fallocate here")
	}
	if got := blocks(); got <= 12<<20 {
		t.Errorf("the file has %d bytes of blocks: nothing is reserved", got)
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	if got := blocks(); got > 12<<20+64<<10 {
		t.Errorf("the file keeps %d bytes of blocks", got)
	}
	for i := range int64(12) {
		if err := s.With(func(f vfs.File) error {
			_, err := f.ReadAt(body[:1], i<<20)
			return err
		}); err != nil || body[0] != byte(i) {
			t.Fatalf("batch %d reads as %d: %v", i, body[0], err)
		}
	}
	s.Close()
}
