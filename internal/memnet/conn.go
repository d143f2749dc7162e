package memnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// stream is what one end sends and the other receives. The network's lock
// guards it.
type stream struct {
	name    string // see Chunk.Conn
	sent    int    // chunks so far
	chunks  []chunk
	size    int  // bytes in chunks
	held    int  // how many of the last chunks a cut or a hold keeps back
	hold    bool // see Network.Hold
	fin     bool // the writer has closed; a chunk with fin set is the last
	gone    bool // the reader has closed: nobody will read this
	changed bell
}

// chunk is one write on its way.
type chunk struct {
	data []byte
	at   time.Time // when it arrives
	fin  bool
}

// push sends a chunk over a link in its present state, which takes extra longer
// than the link's latency.
func (s *stream) push(c chunk, l link, extra time.Duration) {
	l.latency += extra
	c.at = s.arrival(l)
	s.chunks = append(s.chunks, c)
	s.size += len(c.data)
	s.sent++
	if l.cut || s.hold {
		s.held++
	}
	s.changed.ring()
}

// arrival tells when something sent now arrives: never before what was sent
// earlier.
func (s *stream) arrival(l link) time.Time {
	at := time.Now().Add(l.latency)
	if n := len(s.chunks); n > 0 && s.chunks[n-1].at.After(at) {
		return s.chunks[n-1].at
	}
	return at
}

// heal sends on what was kept back, once neither a cut nor a hold is in the way.
func (s *stream) heal(l link) {
	if l.cut || s.hold {
		return
	}
	for i := len(s.chunks) - s.held; i < len(s.chunks); i++ {
		s.chunks[i].at = time.Now().Add(l.latency)
	}
	s.held = 0
}

// conn is one end of a connection.
type conn struct {
	network       *Network
	local, remote address
	peer          *conn
	in, out       *stream

	// The network's lock guards what follows.
	closed                      bool
	failed                      error // the connection is broken for both
	readDeadline, writeDeadline time.Time
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Read gives what has arrived, or waits for it.
func (c *conn) Read(p []byte) (int, error) {
	for {
		c.network.lock.take()
		n, until, err := c.tryRead(p)
		if n > 0 || err != nil || len(p) == 0 {
			c.network.lock.give()
			return n, c.wrap("read", err)
		}
		changed := c.in.changed.wait()
		c.network.lock.give()
		await(changed, until)
	}
}

// tryRead takes what has arrived; if that is nothing it tells when to look again
// at the latest.
func (c *conn) tryRead(p []byte) (n int, until time.Time, err error) {
	now := time.Now()
	switch {
	case c.closed:
		return 0, until, net.ErrClosed
	case c.failed != nil:
		return 0, until, c.failed
	case expired(c.readDeadline, now):
		return 0, until, os.ErrDeadlineExceeded
	}
	s := c.in
	for n < len(p) && len(s.chunks) > s.held && !s.chunks[0].at.After(now) && !s.chunks[0].fin {
		k := copy(p[n:], s.chunks[0].data)
		n += k
		s.size -= k
		if s.chunks[0].data = s.chunks[0].data[k:]; len(s.chunks[0].data) == 0 {
			s.chunks = s.chunks[1:]
		}
	}
	switch {
	case n > 0:
		s.changed.ring() // there is room now
	case len(s.chunks) <= s.held:
		until = c.readDeadline
	case s.chunks[0].at.After(now):
		until = earlier(c.readDeadline, s.chunks[0].at)
	default:
		err = io.EOF
	}
	return n, until, err
}

// Write hands bytes to the network, which keeps a copy. It waits while the
// buffer is full.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		c.network.lock.take()
		k, err := c.tryWrite(p[n:])
		n += k
		if n == len(p) || err != nil {
			c.network.lock.give()
			return n, c.wrap("write", err)
		}
		changed, until := c.out.changed.wait(), c.writeDeadline
		c.network.lock.give()
		await(changed, until)
	}
}

func (c *conn) tryWrite(p []byte) (int, error) {
	link := c.network.state(c.local.host, c.remote.host)
	back := c.network.state(c.remote.host, c.local.host)
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.failed != nil:
		return 0, c.failed
	case expired(c.writeDeadline, time.Now()):
		return 0, os.ErrDeadlineExceeded
	case c.out.fin, c.out.gone && !link.cut && !back.cut:
		return 0, syscall.EPIPE
	}
	k := min(len(p), max(0, c.network.buffer-c.out.size))
	if k > 0 {
		c.out.push(chunk{data: append([]byte(nil), p[:k]...)}, link, c.extra())
	}
	return k, nil
}

// CloseWrite tells the peer that no more will come; reading goes on.
func (c *conn) CloseWrite() error {
	c.network.lock.take()
	defer c.network.lock.give()
	if c.closed {
		return c.wrap("close", net.ErrClosed)
	}
	c.finish()
	return nil
}

// finish sends the end of the stream, once.
func (c *conn) finish() {
	if !c.out.fin {
		c.out.fin = true
		c.out.push(chunk{fin: true}, c.network.state(c.local.host, c.remote.host), c.extra())
	}
}

// extra is what the next chunk needs beside the link's latency.
func (c *conn) extra() time.Duration {
	if c.network.jitter == nil {
		return 0
	}
	return c.network.jitter(Chunk{From: c.local.host, To: c.remote.host, Conn: c.out.name, Number: c.out.sent})
}

// Close ends this end. What was written arrives still.
func (c *conn) Close() error {
	c.network.lock.take()
	defer c.network.lock.give()
	if c.closed {
		return c.wrap("close", net.ErrClosed)
	}
	c.closed = true
	c.finish()
	c.in.gone = true
	c.in.changed.ring()
	if c.peer.closed {
		c.network.forget(c)
	}
	return nil
}

// fail breaks this end; the caller holds the lock.
func (c *conn) fail(err error) {
	c.failed = err
	c.in.changed.ring()
	c.out.changed.ring()
}

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readDeadline, c.writeDeadline = t, t })
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readDeadline = t })
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.writeDeadline = t })
}

func (c *conn) setDeadlines(set func()) error {
	c.network.lock.take()
	defer c.network.lock.give()
	if c.closed {
		return c.wrap("set", net.ErrClosed)
	}
	set()
	c.in.changed.ring()
	c.out.changed.ring()
	return nil
}

func (c *conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return opError(op, c.local, c.remote, err)
}

func expired(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

// listener takes connections at one address.
type listener struct {
	network *Network
	addr    address

	// The network's lock guards what follows.
	queue   []*conn
	closed  bool
	arrived bell
}

func (l *listener) Addr() net.Addr { return l.addr }

// Accept gives the connection that came first.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.network.lock.take()
		if l.closed {
			l.network.lock.give()
			return nil, opError("accept", nil, l.addr, net.ErrClosed)
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue = l.queue[1:]
			l.network.changed.ring() // the backlog has room
			l.network.lock.give()
			return c, nil
		}
		arrived := l.arrived.wait()
		l.network.lock.give()
		<-arrived
	}
}

// Close frees the address. Connections that nobody has accepted are reset.
func (l *listener) Close() error {
	l.network.lock.take()
	defer l.network.lock.give()
	if l.closed {
		return opError("close", nil, l.addr, net.ErrClosed)
	}
	l.shut()
	return nil
}

// shut closes the listener; the caller holds the lock.
func (l *listener) shut() {
	l.closed = true
	delete(l.network.listeners, l.addr.String())
	for _, c := range l.queue {
		c.fail(syscall.ECONNRESET)
		c.peer.fail(syscall.ECONNRESET)
		l.network.forget(c)
	}
	l.queue = nil
	l.arrived.ring()
	l.network.changed.ring()
}
