package myelintest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// errKilled is what a killed node hears from disk and network until its
// goroutines have ended.
var errKilled = errors.New("killed by the test")

// gate stands between one life of a node and the world: everything the node does
// to a disk or to a client's connection passes it first.
//
//	open    pass returns at once
//	paused  pass waits
//	killed  pass answers errKilled, now and for ever
type gate struct {
	host   memnet.Host
	client string // where clients used to connect
	dead   chan struct{}

	mu struct {
		sync.Mutex               // memory only: never held while waiting
		open       chan struct{} // closed unless the node is paused
		delay      time.Duration // of each sync
		sockets    map[interface{ Close() error }]bool
	}
}

func newGate(n *node) *gate {
	g := &gate{host: n.host, client: n.client, dead: make(chan struct{})}
	g.mu.open = make(chan struct{})
	close(g.mu.open)
	g.mu.sockets = map[interface{ Close() error }]bool{}
	return g
}

// pass waits while the node is paused.
func (g *gate) pass() error {
	g.mu.Lock()
	open := g.mu.open
	g.mu.Unlock()
	select { //house:select only to learn whether it is dead
	case <-g.dead:
		return errKilled
	default:
	}
	select { //house:select both end the pause; who died meanwhile learns it at the next call
	case <-g.dead:
		return errKilled
	case <-open:
		return nil
	}
}

func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.open = make(chan struct{})
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select { //house:select only to learn whether it is open
	case <-g.mu.open:
	default:
		close(g.mu.open)
	}
}

func (g *gate) slow(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.delay = d
}

// kill closes the gate for good, and all that clients are connected to. It may
// be called twice.
func (g *gate) kill() {
	g.mu.Lock()
	all := g.mu.sockets
	g.mu.sockets = nil
	g.mu.Unlock()
	if all == nil {
		return
	}
	close(g.dead)
	for s := range all {
		if c, ok := s.(*net.TCPConn); ok {
			c.SetLinger(0) // a reset, as from the death of a process
		}
		s.Close()
	}
}

// keep remembers a socket, to be closed by kill; it is false when that has
// happened.
func (g *gate) keep(s interface{ Close() error }) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.sockets == nil {
		return false
	}
	g.mu.sockets[s] = true
	return true
}

func (g *gate) forget(s interface{ Close() error }) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.mu.sockets, s)
}

// listen opens a listener: on the network in memory for other nodes, on
// loopback for clients, there at the port of the life before if it is free.
func (g *gate) listen(network, address string) (net.Listener, error) {
	if strings.HasPrefix(address, "node") {
		return g.host.Listen(network, address)
	}
	ln, err := net.Listen(network, g.client)
	if err != nil {
		ln, err = net.Listen(network, address)
	}
	if err != nil {
		return nil, err
	}
	if !g.keep(ln) {
		ln.Close()
		return nil, errKilled
	}
	return &gatedListener{ln, g}, nil
}

// dial connects to another node.
func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := g.pass(); err != nil {
		return nil, err
	}
	return g.host.Dial(ctx, network, address)
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.gate.keep(c) {
			return &gatedConn{c, l.gate}, nil
		}
		c.Close()
	}
}

func (l *gatedListener) Close() error {
	l.gate.forget(l.Listener)
	return l.Listener.Close()
}

// gatedConn is a client's connection.
type gatedConn struct {
	net.Conn
	gate *gate
}

// Read gives nothing to a node that is paused, though it may have arrived.
func (c *gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if dead := c.gate.pass(); dead != nil {
		return 0, dead
	}
	return n, err
}

func (c *gatedConn) Write(p []byte) (int, error) {
	if err := c.gate.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *gatedConn) Close() error {
	c.gate.forget(c.Conn)
	return c.Conn.Close()
}

// disk is a node's file system: that of vfs with a gate before it. Closing and
// locks pass, so that a dead node lets go of what it held.
type disk struct {
	vfs.FS
	gate *gate
}

func (d disk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &gatedFile{f, d.gate}, nil
}

func (d disk) Create(name string) (vfs.File, error) {
	if err := d.gate.pass(); err != nil {
		return nil, err
	}
	return d.file(d.FS.Create(name))
}

func (d disk) Open(name string, flag vfs.Flag) (vfs.File, error) {
	if err := d.gate.pass(); err != nil {
		return nil, err
	}
	return d.file(d.FS.Open(name, flag))
}

func (d disk) Remove(name string) error {
	if err := d.gate.pass(); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

func (d disk) RemoveAll(name string) error {
	if err := d.gate.pass(); err != nil {
		return err
	}
	return d.FS.RemoveAll(name)
}

func (d disk) Rename(oldName, newName string) error {
	if err := d.gate.pass(); err != nil {
		return err
	}
	return d.FS.Rename(oldName, newName)
}

func (d disk) MkdirAll(name string) error {
	if err := d.gate.pass(); err != nil {
		return err
	}
	return d.FS.MkdirAll(name)
}

func (d disk) SyncDir(name string) error {
	if err := d.gate.sync(); err != nil {
		return err
	}
	return d.FS.SyncDir(name)
}

// sync is pass with the delay of a slow disk.
func (g *gate) sync() error {
	g.mu.Lock()
	delay := g.mu.delay
	g.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select { //house:select who is dead does not wait
		case <-timer.C:
		case <-g.dead:
		}
	}
	return g.pass()
}

type gatedFile struct {
	vfs.File
	gate *gate
}

func (f *gatedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.gate.pass(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *gatedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.gate.pass(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *gatedFile) Writev(bufs [][]byte, off int64) (int64, error) {
	if err := f.gate.pass(); err != nil {
		return 0, err
	}
	return f.File.Writev(bufs, off)
}

func (f *gatedFile) Sync() error {
	if err := f.gate.sync(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *gatedFile) Truncate(size int64) error {
	if err := f.gate.pass(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *gatedFile) Reserve(off, end int64) error {
	if err := f.gate.pass(); err != nil {
		return err
	}
	return f.File.Reserve(off, end)
}
