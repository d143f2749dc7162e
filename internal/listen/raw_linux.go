package listen

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// raw drives a socket's descriptor directly. It buys three things: a read
// buffer is attached only when there is something to read, a range of a file
// leaves by sendfile at an offset of its own, and a header can wait for it
// (MSG_MORE).
//
// The callbacks are made once, so that no call allocates.
type raw struct {
	rc syscall.RawConn
	in *reader

	readFn, writeFn, sendFn func(fd uintptr) bool

	n       int   // bytes read, or written so far
	err     error // of the last callback
	starved bool  // there is something to read, but no budget for a buffer

	out []byte // being written

	file   int // being sent
	off    int64
	remain int
}

// newRaw is nil if the connection has no descriptor of its own.
func newRaw(c *conn) *raw {
	tcp, ok := c.net.(*net.TCPConn)
	if !ok {
		return nil
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	r := &raw{rc: rc, in: &c.in}
	r.readFn, r.writeFn, r.sendFn = r.read, r.write, r.send
	return r
}

// fill reads what there is, at least a byte.
func (r *raw) fill(in *reader) error {
	for {
		r.n, r.err, r.starved = 0, nil, false
		if err := r.rc.Read(r.readFn); err != nil {
			return err
		}
		switch {
		case r.starved:
			if err := in.await(); err != nil {
				return err
			}
			in.buf = in.c.s.buffers.takeRead()
		case r.err != nil:
			return r.err
		case r.n == 0:
			return io.EOF
		default:
			in.w += r.n
			in.c.touch()
			return nil
		}
	}
}

// read is called until it returns true: at once, and then whenever there is
// something to read.
func (r *raw) read(fd uintptr) bool {
	in := r.in
	if in.buf == nil {
		if !in.c.s.budget.take(&in.lease, readSize) {
			r.starved = true
			return true
		}
		in.buf = in.c.s.buffers.takeRead()
	}
	for {
		r.n, r.err = unix.Read(int(fd), in.buf[in.w:])
		switch r.err {
		case unix.EINTR:
		case unix.EAGAIN:
			in.detach()
			return false
		default:
			return true
		}
	}
}

// writeMore writes p and tells the kernel that more follows at once.
func (r *raw) writeMore(c *conn, p []byte) error {
	r.out, r.err = p, nil
	c.writing.Store(c.s.tick.Load())
	err := r.rc.Write(r.writeFn)
	c.writing.Store(0)
	r.out = nil
	if err == nil {
		err = r.err
	}
	return err
}

func (r *raw) write(fd uintptr) bool {
	for len(r.out) > 0 {
		n, err := unix.SendmsgN(int(fd), r.out, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			r.out = r.out[n:]
			r.in.c.writing.Store(r.in.c.s.tick.Load())
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			r.err = err
			return true
		}
	}
	return true
}

// sendfile sends n bytes of a file from off, without moving the file's own
// offset, so that one descriptor serves any number of connections.
func (r *raw) sendfile(c *conn, fd uintptr, off int64, n int) error {
	r.file, r.off, r.remain, r.err = int(fd), off, n, nil
	c.writing.Store(c.s.tick.Load())
	err := r.rc.Write(r.sendFn)
	c.writing.Store(0)
	if err == nil {
		err = r.err
	}
	return err
}

func (r *raw) send(fd uintptr) bool {
	for r.remain > 0 {
		n, err := unix.Sendfile(int(fd), r.file, &r.off, r.remain)
		switch {
		case err == nil && n == 0:
			r.err = io.ErrUnexpectedEOF // the file was cut off
			return true
		case err == nil:
			r.remain -= n
			r.in.c.writing.Store(r.in.c.s.tick.Load())
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		default:
			r.err = err
			return true
		}
	}
	return true
}

// left says whether the client has closed its side, whatever it sent before.
// Anyone may call it.
func (c *conn) left() (gone bool) {
	if c.tcp == nil {
		return false
	}
	err := c.tcp.Control(func(fd uintptr) {
		ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(ask, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}
