package api

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Reply takes the answers of a connection, one after the other, until they are
// sent. Buf is the connection's write buffer: a handler appends its body to
// what is there.
//
//	Buf    frame | frame | size header body...          <- appended here
//	Files                              ^ At: the range goes in here
//
// A frame's size is patched in when the handler has returned, and counts the
// ranges of files too.
type Reply struct {
	Buf   []byte
	Files []File

	// Close makes the connection close after what stands in Buf was sent.
	Close bool

	// Mute is for how long the connection is not read after this answer; with
	// Close, how long the answer waits.
	Mute time.Duration

	// Later is set when the answer is not due yet: see [Slot].
	Later *Slot

	start int // of the frame at work
	files int // len(Files) at its start

	pool  *sync.Pool // of *[replyRoom]byte
	taken *[replyRoom]byte
	small [96]byte // room for a header while nothing else is there
}

// replyRoom is the size of pooled write buffers, and how much of a reply is
// collected before it is sent.
const replyRoom = 64 << 10

// smallRange is the length from which a range of a file is sent by sendfile.
// Below it, copying through memory is cheaper (docs/performance.md).
const smallRange = 32 << 10

// NewReply returns a Reply whose buffers come from the table's pool. The zero
// Reply works too, without a pool.
func (t *Table) NewReply() Reply { return Reply{pool: &t.replies} }

// Room makes space for n more bytes, in a pooled buffer if that is enough.
func (r *Reply) Room(n int) {
	if cap(r.Buf)-len(r.Buf) >= n {
		return
	}
	if r.taken != nil || r.pool == nil || len(r.Buf)+n > replyRoom {
		r.Buf = slices.Grow(r.Buf, n)
		return
	}
	b, _ := r.pool.Get().(*[replyRoom]byte)
	if b == nil {
		b = new([replyRoom]byte)
	}
	r.taken = b
	r.Buf = b[:copy(b[:], r.Buf)]
}

// Shrink gives the buffer back, unless more than a header stands in it.
func (r *Reply) Shrink() {
	if len(r.Buf) > len(r.small) {
		return
	}
	if r.taken != nil {
		b := r.taken
		r.Buf, r.taken = r.small[:copy(r.small[:], r.Buf)], nil
		r.pool.Put(b)
	} else if cap(r.Buf) > 4<<10 {
		r.Buf = r.small[:copy(r.small[:], r.Buf)]
	}
}

// Sent empties the Reply after everything in it was sent, or cannot be.
func (r *Reply) Sent() {
	for _, f := range r.Files {
		f.Range.Release()
	}
	clear(r.Files)
	r.Buf, r.Files = r.Buf[:0], r.Files[:0]
	r.start, r.files = 0, 0
}

// File is a range of a file that goes between the bytes of Buf.
type File struct {
	At    int // before this byte of Buf
	Range Range
}

// Range is a part of a segment file, held until it is released.
type Range interface {
	// Len is its size in bytes.
	Len() int
	// ReadAt fills p from byte off of the range.
	ReadAt(p []byte, off int) error
	// Ready tells how many bytes from byte at on can be sent without waiting for
	// a device: more than none if any are left. It waits for those.
	Ready(at int) int
	// Fd gives the descriptor and the offset in it for sendfile, false where
	// there is none, as in memory.
	Fd() (fd uintptr, off int64, ok bool)
	// Release gives the segment back. The range is not to be used after it.
	Release()
}

const (
	sizeLen    = 4   // the size field in front of each frame
	headerRoom = 512 // what most answers fit in
)

// begin starts a frame: room for the size, then the response header.
func (r *Reply) begin(c *Call) {
	r.Room(headerRoom)
	r.start, r.files = len(r.Buf), len(r.Files)
	r.Buf = append(r.Buf, 0, 0, 0, 0)
	if c.bare {
		return
	}
	h := msg.ResponseHeader{CorrelationID: c.CorrelationID}
	r.Buf = h.Append(r.Buf, msg.ResponseHeaderVersion(c.Key, c.Version))
}

// end patches the size of the frame in.
func (r *Reply) end() {
	n := len(r.Buf) - r.start - sizeLen
	for _, f := range r.Files[r.files:] {
		n += f.Range.Len()
	}
	binary.BigEndian.PutUint32(r.Buf[r.start:], uint32(n))
}

// Drop takes the frame at work out again: nothing is answered.
func (r *Reply) Drop() {
	r.Buf = r.Buf[:r.start]
	for _, f := range r.Files[r.files:] {
		f.Range.Release()
	}
	clear(r.Files[r.files:])
	r.Files = r.Files[:r.files]
}

// Refuse drops the frame and closes the connection once what was answered
// before is sent.
func (r *Reply) Refuse() {
	r.Drop()
	r.Close = true
}

// AddFile puts a range of a file at the end of what stands in Buf: a small one
// is read at once and released, a large one is read when it is sent. On an error
// the frame cannot be finished.
func (r *Reply) AddFile(f Range) error {
	n := f.Len()
	if n >= smallRange || len(r.Buf)+n > replyRoom {
		r.Files = append(r.Files, File{At: len(r.Buf), Range: f})
		return nil
	}
	defer f.Release()
	r.Room(n)
	at := len(r.Buf)
	r.Buf = r.Buf[:at+n]
	return f.ReadAt(r.Buf[at:], 0)
}

// At is where the next byte will stand in the frame at work.
func (r *Reply) At() int { return len(r.Buf) - r.start }

// Frame is the frame just finished, without ranges of files.
func (r *Reply) Frame() []byte { return r.Buf[r.start:] }

// Size is the number of bytes of the frame just finished, ranges included.
func (r *Reply) Size() int {
	n := len(r.Buf) - r.start
	for _, f := range r.Files[r.files:] {
		n += f.Range.Len()
	}
	return n
}
