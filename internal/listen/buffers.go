package listen

import (
	"sync"

	"github.com/myelin-stream/myelin/internal/invariant"
)

const (
	// readSize is the read buffer of a connection. Frames up to it are handled
	// where they lie.
	readSize = 64 << 10

	// frameSlack is what a frame has beyond the power of two that clients
	// like to fill with records.
	frameSlack = 4 << 10

	// frameAtOnce is how much of a frame is taken before its bytes arrive.
	// frameWhenTight is the same once half of the budget is taken: what is
	// announced must not starve what arrives.
	frameAtOnce    = 2 << 20
	frameWhenTight = 2 * readSize

	classes = 5 // 128 KiB, 256 KiB, ... 2 MiB, each with slack
)

type readBuffer [readSize]byte

// buffers are the pools that connections share.
type buffers struct {
	read  sync.Pool // of *readBuffer
	frame [classes]sync.Pool
}

func (b *buffers) takeRead() *readBuffer {
	if p, ok := b.read.Get().(*readBuffer); ok {
		return p
	}
	return new(readBuffer)
}

func (b *buffers) giveRead(p *readBuffer) {
	invariant.Mangle(p[:])
	b.read.Put(p)
}

// block is a buffer for a large frame, and the class it goes back to.
type block struct {
	bytes []byte
	class int
}

// takeFrame returns a buffer of at least n bytes, n being at most the largest
// class.
func (b *buffers) takeFrame(n int) *block {
	class, size := 0, 2*readSize
	for size+frameSlack < n {
		class++
		size *= 2
	}
	if p, ok := b.frame[class].Get().(*block); ok {
		return p
	}
	return &block{bytes: make([]byte, size+frameSlack), class: class}
}

func (b *buffers) giveFrame(p *block) {
	invariant.Mangle(p.bytes)
	b.frame[p.class].Put(p)
}
