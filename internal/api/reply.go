package api

import (
	"encoding/binary"
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

	// Mute is for how long the connection is not read after this answer.
	Mute time.Duration

	// Later is set when the answer is not due yet: see [Slot].
	Later *Slot

	start int // of the frame at work
	files int // len(Files) at its start
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
	// Fd gives the descriptor and the offset in it for sendfile, false where
	// there is none, as in memory.
	Fd() (fd uintptr, off int64, ok bool)
	// Release gives the segment back. The range is not to be used after it.
	Release()
}

// sizeLen is the size field in front of each frame.
const sizeLen = 4

// begin starts a frame: room for the size, then the response header.
func (r *Reply) begin(c *Call) {
	r.start, r.files = len(r.Buf), len(r.Files)
	r.Buf = append(r.Buf, 0, 0, 0, 0)
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

// AddFile puts a range of a file at the end of what stands in Buf.
func (r *Reply) AddFile(f Range) {
	r.Files = append(r.Files, File{At: len(r.Buf), Range: f})
}

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
