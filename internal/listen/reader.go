package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errSize is a frame whose length no request can have.
var errSize = errors.New("a request of an impossible size")

// reader takes frames off a connection.
//
//	buf   ... | size | frame ........ | size | fra      next to read at w
//	           ^ r                                ^ w
//
// A frame that fits in buf is handed out where it lies. A larger one gets a
// buffer of its own: what stands in buf is copied, the rest is read straight
// into it.
type reader struct {
	c     *conn
	buf   *readBuffer // nil while nothing stands in it
	r, w  int
	large []byte // the frame handed out, if it has a buffer of its own
	block *block // that it lies in, if pooled
	lease lease
	timed bool     // the sweeper's clock for the rest of a frame runs
	probe [16]byte // first bytes on a connection without a descriptor
}

// next returns the next frame, without its size. It lies in a buffer that the
// following call of next or release uses again.
func (in *reader) next() ([]byte, error) {
	in.release()
	for {
		if n := in.w - in.r; n >= 4 {
			size := int(int32(binary.BigEndian.Uint32(in.buf[in.r:])))
			if size < 0 || size > in.c.maxFrame() {
				return nil, fmt.Errorf("%w: %d bytes", errSize, size)
			}
			if n >= 4+size {
				in.stopClock()
				frame := in.buf[in.r+4 : in.r+4+size : in.r+4+size]
				in.r += 4 + size
				return frame, nil
			}
			if 4+size > readSize {
				return in.readLarge(size)
			}
			if in.r+4+size > readSize {
				in.compact()
			}
		} else if in.r > readSize-4 {
			in.compact()
		}
		if err := in.c.beforeWait(); err != nil {
			return nil, err
		}
		if in.w > in.r {
			in.startClock()
		}
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
}

// startClock starts the sweeper's clock for the rest of a frame, see [conn.slow].
func (in *reader) startClock() {
	if !in.timed {
		in.timed = true
		in.c.arrived.Store(0)
		in.c.partial.Store(in.c.s.tick.Load())
	}
}

// stopClock stops it: the frame is whole.
func (in *reader) stopClock() {
	if in.timed {
		in.timed = false
		in.c.partial.Store(0)
	}
}

func (in *reader) compact() {
	in.w = copy(in.buf[:], in.buf[in.r:in.w])
	in.r = 0
}

// fill reads what there is into buf, at least a byte.
func (in *reader) fill() error {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.c.raw != nil {
		return in.c.raw.fill(in)
	}
	if in.buf == nil {
		n, err := in.c.net.Read(in.probe[:])
		if n == 0 {
			return cause(err)
		}
		if err := in.attach(); err != nil {
			return err
		}
		in.w = copy(in.buf[:], in.probe[:n])
		in.c.touch()
		return nil
	}
	n, err := in.c.net.Read(in.buf[in.w:])
	if n == 0 {
		return cause(err)
	}
	in.w += n
	in.c.touch()
	return nil
}

func cause(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// attach gets a read buffer, when the budget allows.
func (in *reader) attach() error {
	if err := in.charge(readSize); err != nil {
		return err
	}
	in.buf = in.c.s.buffers.takeRead()
	return nil
}

// detach gives the empty read buffer back.
func (in *reader) detach() {
	if in.buf != nil && in.r == in.w {
		in.c.s.buffers.giveRead(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
		in.c.s.budget.give(&in.lease, readSize)
	}
}

// charge takes n bytes of the broker's budget, waiting for them if it must.
func (in *reader) charge(n int) error {
	if in.c.s.budget.take(&in.lease, int64(n)) {
		return nil
	}
	return in.await()
}

// await waits until the budget grants what this connection stands in line for.
func (in *reader) await() error {
	if in.timed { // the wait is not the client's fault
		in.stopClock()
		defer in.startClock()
	}
	for !in.c.s.budget.settled(&in.lease) {
		if in.c.stopped.Load() {
			return errStopped
		}
		in.c.facts.Park.Wait()
	}
	return nil
}

// readLarge reads a frame that does not fit in buf. What arrives after it stays
// in the socket.
func (in *reader) readLarge(size int) ([]byte, error) {
	if err := in.c.beforeWait(); err != nil {
		return nil, err
	}
	at := min(size, frameAtOnce)
	if in.c.s.budget.tight() {
		at = min(at, frameWhenTight)
	}
	if err := in.charge(at); err != nil {
		return nil, err
	}
	in.block = in.c.s.buffers.takeFrame(at)
	in.large = in.block.bytes[:at]
	got := copy(in.large, in.buf[in.r+4:in.w])
	in.r, in.w = 0, 0
	in.detach()
	in.startClock()
	for {
		n, err := in.readFull(in.large[got:])
		got += n
		if err != nil {
			return nil, err
		}
		if got == size {
			in.stopClock()
			return in.large, nil
		}
		if err := in.grow(size); err != nil {
			return nil, err
		}
	}
}

// grow doubles the buffer of a large frame, whose bytes have come so far.
func (in *reader) grow(size int) error {
	n := min(2*len(in.large), size)
	if err := in.charge(n); err != nil {
		return err
	}
	bigger := make([]byte, n)
	copy(bigger, in.large)
	in.swap(bigger)
	return nil
}

// swap puts bigger in the place of the large frame's buffer.
func (in *reader) swap(bigger []byte) {
	old := len(in.large)
	if in.block != nil {
		in.c.s.buffers.giveFrame(in.block)
		in.block = nil
	}
	in.large = bigger
	in.c.s.budget.give(&in.lease, int64(old))
}

func (in *reader) readFull(p []byte) (got int, err error) {
	for got < len(p) {
		n, err := in.c.net.Read(p[got:])
		got += n
		if n > 0 {
			in.c.arrived.Add(int64(n))
			in.c.touch()
		} else {
			return got, cause(err)
		}
	}
	return got, nil
}

// release gives the buffer of the frame handed out back. The read buffer stays
// while something stands in it.
func (in *reader) release() {
	if in.large != nil {
		in.swap(nil)
	}
}

// rest is release before a handler waits: the read buffer goes too.
func (in *reader) rest() {
	in.release()
	in.detach()
}

// close gives everything back.
func (in *reader) close() {
	in.release()
	if in.buf != nil {
		in.c.s.buffers.giveRead(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
	in.c.s.budget.leave(&in.lease)
}
