package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Conn is the way to one node for one purpose. Its methods may be called from any
// goroutine.
type Conn struct {
	pool *Pool
	key  key

	mu struct {
		sync.Mutex               // memory only; taken before that of the pool
		now        *attempt      // the line, or who opens one; nil while there is neither
		failures   int           // to open, in a row
		rest       chan struct{} // closed when the pause after the last failure is over; may be nil
		told       bool          // the log says that the node is not reached
	}
}

// attempt is a line that is being opened, and then that line.
type attempt struct {
	done chan struct{} // closed when one of the others is set
	line *line
	err  error
}

// Node is whom the connection leads to.
func (c *Conn) Node() int32 { return c.key.node }

// Do sends a request and waits for its answer, for as long as ctx lasts and at
// most until the line is given up. The version is the newest that the caller
// means; where the node serves only older ones, the request goes in its newest,
// without the fields that this one lacks.
//
// Errors are [ErrUnsent], [ErrDown] and [ErrAnswer], the first two also where ctx
// ended.
func (c *Conn) Do(ctx context.Context, req msg.Request, resp msg.Response, version int16) error {
	return c.DoInto(ctx, req, resp, version, nil)
}

// DoInto is like Do with a buffer for the answer. Bytes and records of resp alias
// it, and whoever calls decides when it may be used again. It grows as needed.
// Where the answer was coming in as the call failed, *buf is nil afterwards.
func (c *Conn) DoInto(ctx context.Context, req msg.Request, resp msg.Response, version int16, buf *[]byte) error {
	var q *call
	for range 3 { // a line may break between being found and being used
		l, err := c.open(ctx)
		if err != nil {
			return c.wrap(err)
		}
		use, err := l.version(req.Key(), version)
		if err != nil {
			return c.wrap(err)
		}
		if q = l.send(req, use, buf); q != nil {
			break
		}
	}
	if q == nil {
		return c.wrap(fmt.Errorf("%w: connections break as they open", ErrUnsent))
	}
	//house:select an answer that comes as the caller leaves may be told or not
	select {
	case <-q.done:
	case <-ctx.Done():
		if q.line.leave(q, buf) {
			return c.wrap(fmt.Errorf("%w: %w", ErrDown, context.Cause(ctx)))
		}
		<-q.done
	}
	if q.err != nil {
		if buf != nil && q.reading {
			*buf = nil
		}
		return c.wrap(q.err)
	}
	if buf != nil {
		*buf = q.body
	}
	var r wire.Reader
	r.Reset(q.body)
	if msg.ResponseHeaderVersion(q.key, q.version) >= 1 {
		r.SkipTags()
	}
	resp.Decode(&r, q.version)
	if err := r.Done(); err != nil {
		return c.wrap(fmt.Errorf("%w: %w", ErrAnswer, err))
	}
	return nil
}

// Open makes sure that there is a line, and opens one if not.
func (c *Conn) Open(ctx context.Context) error {
	if _, err := c.open(ctx); err != nil {
		return c.wrap(err)
	}
	return nil
}

func (c *Conn) wrap(err error) error {
	return fmt.Errorf("node %d (%s): %w", c.key.node, c.key.why, err)
}

// open gives the line, when there is one. Whoever comes while the last attempt
// has just failed waits for the next, so that callers who try again need no pause
// of their own.
func (c *Conn) open(ctx context.Context) (*line, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsent, context.Cause(ctx))
	}
	c.mu.Lock()
	a := c.mu.now
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		rest := c.mu.rest
		if !c.pool.start(func() { c.run(a, rest) }) {
			c.mu.Unlock()
			return nil, fmt.Errorf("%w: %w", ErrUnsent, ErrStopped)
		}
		c.mu.now = a
	}
	c.mu.Unlock()
	//house:select both at once: who has left may have the line all the same
	select {
	case <-a.done:
		return a.line, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnsent, context.Cause(ctx))
	}
}

// run opens a line and stays with it to its end.
func (c *Conn) run(a *attempt, rest chan struct{}) {
	if rest != nil {
		//house:select the attempt after this one fails at once if the pool has ended
		select {
		case <-rest:
		case <-c.pool.ctx.Done():
		}
	}
	l, err := c.connect()
	if err != nil {
		c.failed(a, err)
		return
	}
	c.opened(a, l)
	l.run()
	c.lost(a, l.reason())
}

// connect opens a line and learns which versions the node serves.
func (c *Conn) connect() (*line, error) {
	ctx, cancel := context.WithTimeout(c.pool.ctx, c.pool.cfg.ConnectTimeout)
	defer cancel()
	addr, ok := c.pool.cfg.Address(c.key.node, c.key.why.Controller())
	if !ok {
		return nil, errNoAddress
	}
	nc, err := c.pool.cfg.Dial(ctx, addr)
	if err != nil {
		if ctx.Err() == nil {
			err = &refusedError{err}
		}
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	l := newLine(c, nc)
	err = l.greet()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return l, nil
}

var errNoAddress = errors.New("its address is not known")

// refusedError is a connection that could not be opened, and not for lack of time.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

func (c *Conn) failed(a *attempt, err error) {
	pause := c.pool.pause(c.failures())
	c.mu.Lock()
	c.mu.failures++
	c.mu.now, c.mu.rest = nil, resting(pause)
	first := !c.mu.told
	c.mu.told = true
	c.mu.Unlock()
	a.err = fmt.Errorf("%w: %w", ErrUnsent, err)
	close(a.done)
	if c.pool.ctx.Err() != nil {
		return
	}
	if first {
		level := c.pool.cfg.Logger.Info
		if errors.Is(err, errStranger) {
			level = c.pool.cfg.Logger.Error
		}
		level("a node is not reached", "node", c.key.node, "for", c.key.why, "err", err)
	}
	var refused *refusedError
	if errors.As(err, &refused) && c.pool.cfg.Refused != nil {
		c.pool.cfg.Refused(c.key.node)
	}
}

func (c *Conn) failures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.failures
}

// resting is a channel that closes after a pause.
func resting(pause time.Duration) chan struct{} {
	rest := make(chan struct{})
	time.AfterFunc(pause, func() { close(rest) })
	return rest
}

func (c *Conn) opened(a *attempt, l *line) {
	c.mu.Lock()
	again := c.mu.told
	c.mu.failures, c.mu.rest, c.mu.told = 0, nil, false
	a.line = l
	c.mu.Unlock()
	close(a.done)
	if c.pool.ctx.Err() != nil { // Run may have looked for lines before this one was there
		l.fail(ErrStopped)
	}
	if again {
		c.pool.cfg.Logger.Info("a node is reached again", "node", c.key.node, "for", c.key.why)
	}
}

// lost says that a line that was open is no more.
func (c *Conn) lost(a *attempt, err error) {
	c.mu.Lock()
	if c.mu.now == a {
		c.mu.now, c.mu.rest = nil, resting(c.pool.cfg.Backoff)
	}
	c.mu.Unlock()
	if errors.Is(err, ErrStopped) || errors.Is(err, errDropped) {
		return
	}
	c.pool.cfg.Logger.Debug("a connection broke", "node", c.key.node, "for", c.key.why, "err", err)
	if c.pool.cfg.Down != nil {
		c.pool.cfg.Down(c.key.node)
	}
}

// close breaks the line off, if there is one.
func (c *Conn) close(why error) {
	c.mu.Lock()
	a := c.mu.now
	var l *line
	if a != nil {
		l = a.line
	}
	c.mu.Unlock()
	if l != nil {
		l.fail(why)
	}
}

// broken takes a line off at once, before its goroutines have ended, so that the
// next request opens another one.
func (c *Conn) broken(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.mu.now; a != nil && a.line == l {
		c.mu.now, c.mu.rest = nil, resting(c.pool.cfg.Backoff)
	}
}

// call is one request on its way. What is not said to be otherwise is set before
// it is sent.
type call struct {
	line    *line
	key     int16
	version int16
	id      int32
	done    chan struct{} // closed when body or err is set

	body []byte
	err  error

	// Under the lock of the line; reading is settled once done is closed.
	buf     []byte // for the body
	reading bool   // the answer is coming in, into buf
	gone    bool   // the caller does not wait any more
}

// versions is a range that a node serves.
type versions struct{ first, last int16 }

// greeting is how a line asks its node who it is and what it serves.
func (c *Conn) greeting() *msg.APIVersionsRequest {
	req := msg.NewAPIVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "myelin", "1"
	if id := c.pool.cfg.ClusterID; id != "" && c.key.node >= 0 {
		req.ClusterID, req.NodeID = &id, c.key.node
	}
	return &req
}

// errStranger says that who answers at a node's address is somebody else.
var errStranger = errors.New("who answers there is another node, or of another cluster: look at cluster.id and node.id of both")

// greeted reads the answer to a greeting.
func greeted(resp *msg.APIVersionsResponse) (map[int16]versions, error) {
	switch code := kafka.Code(resp.ErrorCode); code {
	case kafka.None:
	case kafka.RebootstrapRequired:
		return nil, errStranger
	default:
		return nil, fmt.Errorf("its answer to ApiVersions is %w", code)
	}
	served := make(map[int16]versions, len(resp.APIKeys))
	for _, k := range resp.APIKeys {
		served[k.APIKey] = versions{k.MinVersion, k.MaxVersion}
	}
	return served, nil
}
