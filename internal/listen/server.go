package listen

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/metrics"
)

// Server accepts connections on all listeners and serves them.
type Server struct {
	cfg     Config
	budget  budget
	buffers buffers

	tick  atomic.Int64 // seconds since the start, at least 1: the sweeper's clock
	sweep api.Parker
	swept atomic.Bool   // no connection is left to sweep
	next  atomic.Uint64 // id of the last connection

	mu struct {
		sync.Mutex
		conns   map[uint64]*conn
		perIP   map[string]int
		limits  Limits
		waiting []*api.Parker // acceptors that wait for a connection to end
		closed  bool          // nothing is accepted any more
	}
	wg sync.WaitGroup // of connections
}

// New checks the config. It starts nothing; the listeners stay the caller's
// until Run, which closes them.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg}
	s.budget.limit = cfg.MaxQueued
	s.tick.Store(1)
	s.sweep.Init()
	s.mu.limits = cfg.Limits
	s.mu.conns = map[uint64]*conn{}
	s.mu.perIP = map[string]int{}
	return s, nil
}

// Run serves until ctx ends, and then drains: it accepts and reads no more,
// answers what was asked, and returns when every connection is closed. Handlers
// that wait are told by the same ctx.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.cfg.Listeners))
	for i := range s.cfg.Listeners {
		wg.Go(func() {
			defer cancel() // a listener that failed ends the others too
			errs[i] = s.accept(ctx, &s.cfg.Listeners[i])
		})
	}
	wg.Go(s.sweepAll)

	<-ctx.Done()
	s.shut()
	s.drain()
	s.swept.Store(true)
	s.sweep.Wake()
	wg.Wait()
	return errors.Join(errs...)
}

// shut closes the listeners and tells every connection to stop.
func (s *Server) shut() {
	for i := range s.cfg.Listeners {
		s.cfg.Listeners[i].Net.Close()
	}
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.wakeAcceptors()
	for _, c := range s.all() {
		c.stop()
	}
}

// drain waits for the connections to end, and ends them when that takes long.
func (s *Server) drain() {
	late := time.AfterFunc(s.cfg.DrainWithin, func() {
		for _, c := range s.all() {
			c.fail(errStopped)
		}
	})
	s.wg.Wait()
	late.Stop()
}

// all are the connections by id.
func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.mu.conns))
	for _, c := range s.mu.conns {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *conn) int { return int(int64(a.facts.ID) - int64(b.facts.ID)) })
	return all
}

// accept takes connections in until the listener is closed. An error that may
// pass, such as too many open files, is tried again.
func (s *Server) accept(ctx context.Context, l *Listener) error {
	var park api.Parker
	park.Init()
	m := s.cfg.Metrics.Listener(l.Name)
	for {
		nc, err := l.Net.Accept()
		switch {
		case err == nil:
			if !s.room(&park) {
				nc.Close()
				return nil
			}
			s.admit(ctx, l, nc, m)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			s.cfg.Logger.Warn("cannot accept a connection", "listener", l.Name, "err", err)
			park.WaitFor(100 * time.Millisecond)
		}
	}
}

// room waits until there are fewer connections than max.connections. It is false
// when the server has shut.
func (s *Server) room(park *api.Parker) bool {
	for {
		s.mu.Lock()
		closed, full := s.mu.closed, s.mu.limits.Conns > 0 && len(s.mu.conns) >= s.mu.limits.Conns
		if full && !closed && !slices.Contains(s.mu.waiting, park) {
			s.mu.waiting = append(s.mu.waiting, park)
		}
		s.mu.Unlock()
		if closed {
			return false
		}
		if !full {
			return true
		}
		park.Wait()
	}
}

// admit registers a connection and starts to serve it, or closes it if its
// address has too many.
func (s *Server) admit(ctx context.Context, l *Listener, nc net.Conn, m *metrics.Listener) {
	if t, ok := nc.(*net.TCPConn); ok {
		s.size(t)
	}
	c := newConn(s, l, nc, s.next.Add(1))
	if !s.register(c) {
		m.Refused()
		nc.Close()
		return
	}
	m.Opened()
	s.wg.Go(func() {
		c.serve(ctx)
		s.forget(c)
		m.Closed()
	})
}

// size sets the kernel's buffers. It is no error if the kernel has it otherwise.
func (s *Server) size(t *net.TCPConn) {
	if n := s.cfg.SendBuffer; n > 0 {
		_ = t.SetWriteBuffer(n)
	}
	if n := s.cfg.ReceiveBuffer; n > 0 {
		_ = t.SetReadBuffer(n)
	}
}

func (s *Server) register(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, ok := s.mu.limits.Overrides[c.host]
	if !ok {
		limit, ok = s.mu.limits.PerIP, s.mu.limits.PerIP > 0
	}
	if s.mu.closed || ok && s.mu.perIP[c.host] >= limit {
		return false
	}
	s.mu.conns[c.facts.ID] = c
	s.mu.perIP[c.host]++
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.mu.conns, c.facts.ID)
	if s.mu.perIP[c.host]--; s.mu.perIP[c.host] == 0 {
		delete(s.mu.perIP, c.host)
	}
	s.mu.Unlock()
	s.wakeAcceptors()
}

// wakeAcceptors lets those look again who wait for room.
func (s *Server) wakeAcceptors() {
	s.mu.Lock()
	waiting := s.mu.waiting
	s.mu.waiting = nil
	s.mu.Unlock()
	for _, w := range waiting {
		w.Wake()
	}
}

// SetLimits changes the limits. Connections that are beyond the new ones stay.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	s.mu.limits = l
	s.mu.Unlock()
	s.wakeAcceptors()
}

// sweepAll closes, once a second, connections that are idle, whose client does
// not take its answers, or that keep memory from others for a frame which does
// not come.
func (s *Server) sweepAll() {
	for {
		s.sweep.WaitFor(time.Second)
		if s.swept.Load() {
			return
		}
		now := s.tick.Add(1)
		pressed := s.budget.pressed()
		for _, c := range s.all() {
			s.look(c, now)
			if pressed && c.slow(now) {
				s.cfg.Logger.Warn("closing a connection: its request does not come, and others wait for the memory", "peer", c.facts.Peer)
				c.fail(errSlow)
			}
		}
	}
}

func (s *Server) look(c *conn, now int64) {
	if c.facts.Parked.Load() && c.left() {
		c.facts.Gone.Store(true)
		c.facts.Park.Wake()
	}
	if w := c.writing.Load(); w != 0 && now-w > int64(s.cfg.WriteStall/time.Second) {
		s.cfg.Logger.Warn("closing a connection: its client does not read", "peer", c.facts.Peer)
		c.fail(errStalled)
		return
	}
	idle := int64(s.cfg.MaxIdle / time.Second)
	if s.cfg.MaxIdle > 0 && now-c.seen.Load() > idle && !c.busy.Load() && c.ring.empty() {
		c.fail(errIdle)
	}
}

// How long the rest of a frame may take while other connections wait for the
// memory that it holds: some seconds, and more as its bytes arrive.
const (
	framePatience = 5        // seconds
	frameRate     = 64 << 10 // bytes a second
)

// slow says whether the connection holds memory for a frame that comes slower
// than any client that means it.
func (c *conn) slow(now int64) bool {
	since := c.partial.Load()
	return since != 0 && now-since > framePatience+c.arrived.Load()/frameRate
}

var (
	errSlow    = errors.New("the rest of a request does not come")
	errStalled = errors.New("the client does not read")
	errIdle    = errors.New("idle")
)
