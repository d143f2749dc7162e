package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/auth"
)

// errStopped ends a connection because the broker drains.
var errStopped = errors.New("draining")

// conn is one connection. Unless a field says otherwise, it belongs to the
// goroutine that reads.
type conn struct {
	s     *Server
	net   net.Conn
	raw   *raw            // nil where there is no descriptor: TLS, memory
	tcp   syscall.RawConn // below TLS too; nil in memory
	host  string
	facts api.Conn
	call  *api.Call
	in    reader
	out   api.Reply
	ring  ring   // pushed by the reader, popped by the writer
	w     writer // its own goroutine's

	// For the sweeper: ticks, not times, since they cost nothing to take.
	seen    atomic.Int64 // of the last byte read
	writing atomic.Int64 // of the last progress of the write under way, 0 if none
	busy    atomic.Bool  // a handler runs
	partial atomic.Int64 // since when the rest of a frame is awaited, 0 if none is
	arrived atomic.Int64 // bytes of a large frame since then

	broken  atomic.Bool // a write failed: nothing more can be sent
	stopped atomic.Bool // do not read any more
	ended   atomic.Bool // nothing more will come into the ring
}

func newConn(s *Server, l *Listener, nc net.Conn, id uint64) *conn {
	c := &conn{s: s, net: nc, host: hostOf(nc.RemoteAddr())}
	c.facts = api.Conn{
		ID: id, Listener: l.Name, Peer: "/" + c.host, Local: nc.LocalAddr().String(),
		Subject:  auth.Subject{Principal: auth.Anonymous, Host: c.host},
		Internal: l.Internal, Pending: l.Authenticate,
	}
	c.facts.Park.Init()
	if t, ok := nc.(*net.TCPConn); ok {
		c.tcp, _ = t.SyscallConn() // fails only for what is closed
	}
	if l.TLS != nil {
		c.net = tls.Server(nc, l.TLS)
	}
	c.in.c, c.w.c = c, c
	c.in.lease.wake = c.facts.Park.Wake
	c.raw = newRaw(c)
	c.out = s.cfg.Table.NewReply()
	c.touch()
	return c
}

// hostOf is an address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

func (c *conn) touch() { c.seen.Store(c.s.tick.Load()) }

func (c *conn) maxFrame() int {
	if c.facts.Pending {
		return min(c.s.cfg.MaxPending, c.s.cfg.MaxRequest)
	}
	return c.s.cfg.MaxRequest
}

// serve reads and answers until the connection ends.
func (c *conn) serve(ctx context.Context) {
	c.call = api.NewCall(ctx, &c.facts, c.rest)
	err := c.shake(ctx)
	for err == nil {
		var frame []byte
		if frame, err = c.in.next(); err == nil {
			err = c.handle(frame)
		}
	}
	c.finish(err)
}

// shake does the TLS handshake, under the sweeper's eyes.
func (c *conn) shake(ctx context.Context) error {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return nil
	}
	c.writing.Store(c.s.tick.Load())
	defer c.writing.Store(0)
	return t.HandshakeContext(ctx)
}

// errClose ends a connection where Kafka closes it.
var errClose = errors.New("closed as the protocol says")

// handle answers one frame, or gives its answer a slot.
func (c *conn) handle(frame []byte) error {
	table := c.s.cfg.Table
	if err := table.Admit(c.call, frame); err != nil {
		c.s.cfg.Logger.Warn("closing a connection", "peer", c.facts.Peer, "listener", c.facts.Listener, "err", err)
		return errClose
	}
	if !c.ring.empty() && (!c.call.Pipelined() || c.ring.full()) {
		if err := c.barrier(c.call.Pipelined()); err != nil {
			return err
		}
	}
	c.call.Time = c.s.cfg.Now()
	c.call.Lone = c.lone()
	c.busy.Store(true)
	table.Serve(c.call, &c.out)
	c.busy.Store(false)
	c.in.release()
	if err := c.place(); err != nil {
		return err
	}
	switch {
	case c.out.Close:
		c.hold(c.out.Mute)
		return errClose
	case c.out.Mute > 0:
		return c.mute(c.out.Mute)
	case len(c.out.Files) > 0 || len(c.out.Buf) >= readSize:
		return c.flush()
	}
	return nil
}

// barrier waits until everything before is answered, or until there is one place
// in the ring.
func (c *conn) barrier(place bool) error {
	for !c.ring.empty() {
		if c.broken.Load() {
			return net.ErrClosed
		}
		if place && !c.ring.full() {
			return nil
		}
		c.facts.Park.Wait()
	}
	return nil
}

// place puts the answer that Serve left in out where it belongs: it stays if it
// is due and nothing stands before it, else it goes into the ring.
func (c *conn) place() error {
	s := c.out.Later
	c.out.Later = nil
	switch {
	case s == nil && (c.ring.empty() || len(c.out.Buf) == 0):
		return nil
	case s == nil:
		s = c.s.cfg.Table.Taken(c.call, &c.out)
	case c.ring.empty() && s.Settled():
		s.Patch(c.out.Frame())
		c.s.cfg.Table.Answered(s, c.s.cfg.Now())
		s.Discard()
		return nil
	default:
		s.Keep(c.out.Frame())
		c.out.Drop()
	}
	if err := c.flush(); err != nil { // answered before, so sent before
		s.Discard()
		return err
	}
	if c.ring.slots == nil {
		c.ring.slots = new([ringSize]atomic.Pointer[api.Slot])
	}
	c.w.start()
	s.Owner = c
	c.ring.push(s)
	// Looked at after the push: what stood before may be popped meanwhile, and
	// an alarm that rings at once must find the slot.
	if c.ring.isHead(s) {
		c.w.arm(s.Deadline)
	}
	s.Release()
	return nil
}

// SlotSettled wakes the writer if it waits for this slot.
func (c *conn) SlotSettled(s *api.Slot) {
	if c.ring.isHead(s) {
		c.w.park.Wake()
	}
}

// mute sends what is due and then does not read for d.
func (c *conn) mute(d time.Duration) error {
	if err := c.flush(); err != nil {
		return err
	}
	c.hold(d)
	return nil
}

// hold lets d pass, or less if the broker drains.
func (c *conn) hold(d time.Duration) {
	if d <= 0 {
		return
	}
	until := c.s.cfg.Now().Add(d)
	for !c.stopped.Load() {
		left := until.Sub(c.s.cfg.Now())
		if left <= 0 {
			break
		}
		c.facts.Park.WaitFor(left)
	}
}

// beforeWait is called before the reader may block: what was answered goes out.
func (c *conn) beforeWait() error {
	if c.stopped.Load() {
		return errStopped
	}
	if c.broken.Load() {
		return net.ErrClosed
	}
	if len(c.out.Buf) == 0 {
		return nil
	}
	err := c.flush()
	c.out.Shrink()
	return err
}

// rest is called by a handler before it waits.
func (c *conn) rest() {
	c.in.rest()
	c.out.Shrink()
}

// finish ends the connection: what is answered or will be is sent if it can be.
func (c *conn) finish(err error) {
	if errors.Is(err, errSize) {
		c.s.cfg.Logger.Warn("closing a connection", "peer", c.facts.Peer, "listener", c.facts.Listener, "err", err)
	}
	c.in.close()
	orderly := err == errClose || err == io.EOF || errors.Is(err, errSize) || c.stopped.Load()
	if orderly && !c.broken.Load() {
		if err := c.flush(); err != nil {
			c.fail(err)
		}
	} else {
		c.fail(err)
	}
	c.ended.Store(true)
	c.w.stop()
	c.out.Sent()
	c.out.Shrink()
	if orderly && !c.broken.Load() {
		c.linger()
	}
	c.net.Close()
	if f := c.facts.OnClose; f != nil {
		f()
	}
}

// How long a connection that has said its last word waits for the client's: in
// all, and after the last byte. An idle client may not notice the end.
const (
	lingerFor   = 2 * time.Second
	lingerQuiet = 200 * time.Millisecond
)

// linger ends the sending half and reads on until the client has seen that and
// closed. To close a socket whose input was not read resets it, and a reset
// takes from the client the answers that it has not read yet: it would send
// again what was acknowledged.
func (c *conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	var rest [512]byte
	for now, end := c.s.cfg.Now(), c.s.cfg.Now().Add(lingerFor); now.Before(end); now = c.s.cfg.Now() {
		_ = c.net.SetReadDeadline(now.Add(lingerQuiet)) // an error comes back from Read
		if _, err := c.net.Read(rest[:]); err != nil {
			return
		}
	}
}

// fail marks the connection as one that cannot be written to, and lets nobody
// wait on it.
func (c *conn) fail(error) {
	c.broken.Store(true)
	c.net.Close()
	c.facts.Park.Wake()
	if c.w.on.Load() {
		c.w.park.Wake()
	}
}

// stop makes the connection end after what it is doing. Anyone may call it.
func (c *conn) stop() {
	c.stopped.Store(true)
	_ = c.net.SetReadDeadline(longAgo)
	c.facts.Park.Wake()
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
