package sim

import (
	"context"
	"net"
	"time"
	"unsafe"
)

// skewed gives t a wall clock that is off by d, to the second, and a monotonic
// clock that is not. Times in a bubble have no monotonic clock, and package time
// offers no other way to make one; the layout is that of [time.Time] in Go 1.26.
func skewed(t time.Time, d time.Duration) time.Time {
	const before = 2682288000 // seconds from 1885, where such times begin, to 1970
	at := t.Add(d.Truncate(time.Second))
	var out time.Time
	raw := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&out))
	raw.wall = 1<<63 | uint64(at.Unix()+before)<<30 | uint64(at.Nanosecond())
	raw.ext = t.UnixNano()
	raw.loc = time.Local
	return out
}

// skewedListener and skewedConn take deadlines by the machine's clock and give
// them on by the bubble's.
type skewedListener struct {
	net.Listener
	now func() time.Time
}

func (l skewedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return skewedConn{c, l.now}, nil
}

type skewedConn struct {
	net.Conn
	now func() time.Time
}

func (c skewedConn) at(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(t.Sub(c.now()))
}

func (c skewedConn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(c.at(t)) }
func (c skewedConn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(c.at(t)) }
func (c skewedConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.at(t)) }

// CloseWrite ends the sending half, as a TCP connection can.
func (c skewedConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (m *machine) listen(network, addr string) (net.Listener, error) {
	l, err := m.net.Host(nodeHost(m.id)).Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return skewedListener{l, m.now}, nil
}

func (m *machine) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := m.net.Host(nodeHost(m.id)).Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return skewedConn{c, m.now}, nil
}
