// Package memnet is a network in memory, with faults, for tests and for the
// simulator: listeners and connections that behave like TCP's and can be
// delayed, cut and reset from outside.
//
// # Words
//
//	host   a name, the part of an address before the port; it needs no declaring
//	link   the way from one host to another; each direction is a link of its own
//	cut    a link carries nothing until it is healed: bytes wait, connects wait,
//	       and nobody is told, as when a cable is pulled
//	reset  both ends of a connection fail at once with ECONNRESET
//	hold   a connection that is open keeps back what it carries one way, until it
//	       is released; connections that are made later are free
//
// # In a synctest bubble
//
// Whatever waits here waits on a channel that was made by the goroutines in
// the bubble, which testing/synctest calls durably blocked, so that false time
// goes on. There is no mutex for the same reason: a channel of one slot is the
// lock. Create the [Network] inside the bubble.
//
// Nothing here depends on chance or on the order of a map: the same calls in
// the same order give the same bytes at the same (false) times.
package memnet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

// DefaultBuffer is how many bytes a connection holds in one direction before
// its writer waits.
const DefaultBuffer = 64 << 10

// backlog is how many connections wait at a listener before a dialer waits.
const backlog = 128

// Network connects hosts. All its methods may be called from any goroutine.
type Network struct {
	lock lock // guards all that follows, and all connections; never held while waiting

	listeners map[string]*listener // by "host:port"
	conns     []*conn              // one end of each open connection, in order of opening
	links     map[[2]string]*link  // those that were ever changed, by {from, to}
	changed   bell                 // rings when a link, a listener or a backlog changes
	nextPort  int
	buffer    int
	jitter    func(Chunk) time.Duration
	dialed    map[[2]string]int // how many connections there were, by {from, address}
	alone     map[string]bool   // hosts that are cut off from all others
}

// Chunk is what one call of Write put on its way, for [Network.Jitter].
type Chunk struct {
	From, To string // hosts
	Conn     string // the two hosts, the port that listens, and which connection of theirs it is
	Number   int    // which of the connection's chunks in this direction, from 0
}

// link is one direction between two hosts.
type link struct {
	cut     bool
	latency time.Duration
}

// New makes a network without listeners or faults.
func New() *Network {
	return &Network{
		lock:      newLock(),
		listeners: map[string]*listener{},
		links:     map[[2]string]*link{},
		dialed:    map[[2]string]int{},
		alone:     map[string]bool{},
		nextPort:  49152,
		buffer:    DefaultBuffer,
	}
}

// Listen opens a listener at "host:port". Port 0 takes a free one; an empty host
// is "localhost". The error is EADDRINUSE where something listens already.
func (n *Network) Listen(addr string) (net.Listener, error) {
	at, err := parseAddr(addr)
	if err != nil {
		return nil, opError("listen", nil, nil, err)
	}
	n.lock.take()
	defer n.lock.give()
	if at.port == 0 {
		at.port = n.takePort()
	}
	if n.listeners[at.String()] != nil {
		return nil, opError("listen", nil, at, syscall.EADDRINUSE)
	}
	l := &listener{network: n, addr: at}
	n.listeners[at.String()] = l
	n.changed.ring()
	return l, nil
}

// Dial connects from the host "client". See [Host.Dial].
func (n *Network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.Host("client").Dial(ctx, "tcp", addr)
}

// Host gives the network as one host sees it.
func (n *Network) Host(name string) Host { return Host{network: n, name: name} }

// Host opens connections in the name of one host. Its methods have the shapes
// of net.Listen and net.Dialer.DialContext.
type Host struct {
	network *Network
	name    string
}

// Listen is [Network.Listen] with this host in place of an empty or wildcard one.
func (h Host) Listen(network, addr string) (net.Listener, error) {
	at, err := parseAddr(addr)
	if err != nil {
		return nil, opError("listen", nil, nil, err)
	}
	if at.anyHost {
		at.host = h.name
	}
	return h.network.Listen(at.String())
}

// Dial connects from this host to a listener.
//
// It is refused (ECONNREFUSED) where nothing listens. It takes one round trip,
// and while a link of the two hosts is cut it waits for ctx or for the link to
// heal.
func (h Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := parseAddr(addr)
	if err != nil {
		return nil, opError("dial", nil, nil, err)
	}
	n := h.network
	if err := wait(ctx, n.roundTrip(h.name, to.host)); err != nil {
		return nil, opError("dial", nil, to, err)
	}
	for {
		n.lock.take()
		c, changed, err := n.connect(h.name, to)
		n.lock.give()
		switch {
		case err != nil:
			return nil, opError("dial", nil, to, err)
		case c != nil:
			return c, nil
		}
		//house:select both only end the wait; the state is looked at again
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, opError("dial", nil, to, ctx.Err())
		}
	}
}

// connect makes the two ends of a connection, or says what to wait for.
func (n *Network) connect(from string, to address) (*conn, <-chan struct{}, error) {
	if n.state(from, to.host).cut || n.state(to.host, from).cut {
		return nil, n.changed.wait(), nil
	}
	l := n.listeners[to.String()]
	if l == nil {
		return nil, nil, syscall.ECONNREFUSED
	}
	if len(l.queue) >= backlog {
		return nil, n.changed.wait(), nil
	}
	near := address{host: from, port: n.takePort()}
	pair := [2]string{from, to.String()}
	n.dialed[pair]++
	name := fmt.Sprintf("%s>%s/%d", from, to, n.dialed[pair])
	there, back := &stream{name: name}, &stream{name: name}
	dialed := &conn{network: n, local: near, remote: to, in: back, out: there}
	accepted := &conn{network: n, local: to, remote: near, in: there, out: back}
	dialed.peer, accepted.peer = accepted, dialed
	n.conns = append(n.conns, dialed)
	l.queue = append(l.queue, accepted)
	l.arrived.ring()
	return dialed, nil, nil
}

// takePort gives the next port; the caller holds the lock.
func (n *Network) takePort() int {
	n.nextPort++
	return n.nextPort
}

// state gives the present state of a link; the caller holds the lock.
func (n *Network) state(from, to string) link {
	var now link
	if l := n.links[[2]string{from, to}]; l != nil {
		now = *l
	}
	now.cut = now.cut || from != to && (n.alone[from] || n.alone[to])
	return now
}

func (n *Network) roundTrip(a, b string) time.Duration {
	n.lock.take()
	defer n.lock.give()
	return n.state(a, b).latency + n.state(b, a).latency
}

// address is "host:port" with a host that is any name.
type address struct {
	host    string
	port    int
	anyHost bool // none was given, or a wildcard
}

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func parseAddr(s string) (address, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return address{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("address %s: port %q is not a number below 65536", s, portText)
	}
	a := address{host: host, port: int(port)}
	if host == "" || host == "0.0.0.0" || host == "::" {
		a.host, a.anyHost = "localhost", true
	}
	return a, nil
}

func opError(op string, from, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: from, Addr: to, Err: err}
}
