//go:build system

package system

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// links carry what the nodes of a cluster say to each other: nodes advertise a
// front to the others in place of their own listener, so the test may cut, hold
// and reset what goes from one node to another. Clients do not come this way.
//
//	node 1 ──▶ front of node 2 ──gate 1▸2──▶ node 2
//	       ◀──gate 2▸1──                ◀──
//
// Who called is told by the client id of the first request. What is held is not
// lost: it waits in the gate, as in a network that is slow, and arrives when the
// gate opens, even if who sent it has long given up or died.
type links struct {
	mu     sync.Mutex
	gates  map[[2]int]*gate // from, to
	open   map[net.Conn]bool
	fronts []*front
	closed bool
	work   sync.WaitGroup
}

// gate is one direction between two nodes.
type gate struct {
	mu   sync.Mutex
	held *hold // nil: it is open
}

// hold is a time during which a gate is shut.
type hold struct {
	over  chan struct{}
	reset bool // what waited is not delivered, its connections end; valid when over is closed
}

// front is where others reach one listener of a node.
type front struct {
	links  *links
	node   int
	addr   string
	target string
	ln     net.Listener // nil while nobody listens at the target
}

func newLinks(t testing.TB) *links {
	t.Helper()
	l := &links{gates: map[[2]int]*gate{}, open: map[net.Conn]bool{}}
	t.Cleanup(l.close)
	return l
}

// front begins to serve a front of a node, at addr.
func (l *links) front(node int, addr, target string) {
	f := &front{links: l, node: node, addr: addr, target: target}
	l.mu.Lock()
	l.fronts = append(l.fronts, f)
	l.mu.Unlock()
	l.work.Go(f.serve)
}

func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	for c := range l.open {
		c.Close()
	}
	for _, f := range l.fronts {
		if f.ln != nil {
			f.ln.Close()
		}
	}
	gates := l.gates
	l.mu.Unlock()
	for _, g := range gates {
		g.lift(true)
	}
	l.work.Wait()
}

func (l *links) gate(from, to int) *gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.gates[[2]int{from, to}]
	if g == nil {
		g = &gate{}
		l.gates[[2]int{from, to}] = g
	}
	return g
}

// shut holds all that goes from one node to another, until lift.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil {
		g.held = &hold{over: make(chan struct{})}
	}
}

// lift opens the gate. What was held arrives, or its connections end.
func (g *gate) lift(reset bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		g.held.reset = reset
		close(g.held.over)
		g.held = nil
	}
}

// pass waits until the gate is open; false if what waited is not to be delivered.
func (g *gate) pass() bool {
	for {
		g.mu.Lock()
		h := g.held
		g.mu.Unlock()
		if h == nil {
			return true
		}
		if <-h.over; h.reset {
			return false
		}
	}
}

// serve listens while the target does: to others, who cannot tell the two apart, a
// node that died must refuse connections, not accept them.
func (f *front) serve() {
	for !f.links.isClosed() {
		if f.refused() {
			pause(10 * time.Millisecond)
			continue
		}
		ln, err := net.Listen("tcp", f.addr)
		if err != nil {
			pause(10 * time.Millisecond)
			continue
		}
		f.links.mu.Lock()
		if f.ln = ln; f.links.closed {
			ln.Close()
		}
		f.links.mu.Unlock()
		for {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			if f.links.hold(c) {
				f.links.work.Go(func() { f.carry(c) })
			}
		}
		f.links.mu.Lock()
		f.ln = nil
		f.links.mu.Unlock()
	}
}

func (l *links) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// hold remembers a connection, so that close ends it.
func (l *links) hold(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return false
	}
	l.open[c] = true
	return true
}

func (l *links) drop(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// refused tells whether nobody listens at the target.
func (f *front) refused() bool {
	c, err := net.DialTimeout("tcp", f.target, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// notice stops listening if the target is gone. It comes before anybody can see
// that a connection to it ended.
func (f *front) notice() {
	if !f.refused() {
		return
	}
	f.links.mu.Lock()
	defer f.links.mu.Unlock()
	if f.ln != nil {
		f.ln.Close()
	}
}

// carry joins a caller with the target.
func (f *front) carry(caller net.Conn) {
	defer f.links.drop(caller)
	target, err := net.DialTimeout("tcp", f.target, 5*time.Second)
	if err != nil {
		f.notice()
		return
	}
	if !f.links.hold(target) {
		return
	}
	defer f.links.drop(target)
	from, first, err := whoCalls(caller)
	if err != nil {
		return
	}
	there, back := f.links.gate(from, f.node), f.links.gate(f.node, from)
	var answers sync.WaitGroup
	answers.Go(func() {
		pump(caller, target, nil, back)
		f.notice()
		back.pass() // the end of a connection travels like its bytes
		caller.Close()
	})
	pump(target, caller, first, there)
	there.pass()
	target.Close()
	answers.Wait()
}

// pump carries first, and then what comes from src, through a gate to dst.
func pump(dst, src net.Conn, first []byte, g *gate) {
	buf := make([]byte, 64<<10)
	n := copy(buf, first)
	for {
		if n > 0 {
			if !g.pass() {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		var err error
		if n, err = src.Read(buf); n == 0 && err != nil {
			return
		}
	}
}

// whoCalls reads the head of the first request of a connection, and the node that
// it names.
//
//	0 bytes (4)  4 key (2)  6 version (2)  8 correlation (4)  12 n (2)  14 client id (n)
func whoCalls(c net.Conn) (node int, read []byte, err error) {
	head := make([]byte, 14, 64)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	n := int(int16(binary.BigEndian.Uint16(head[12:])))
	if n < 0 || n > 50 {
		return 0, nil, errors.New("no client id")
	}
	head = head[:14+n]
	if _, err := io.ReadFull(c, head[14:]); err != nil {
		return 0, nil, err
	}
	name, ok := strings.CutPrefix(string(head[14:]), "myelin-")
	if node, err = strconv.Atoi(name); !ok || err != nil {
		return 0, nil, errors.New("the client id names no node: " + string(head[14:]))
	}
	return node, head, nil
}
