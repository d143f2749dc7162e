package peer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Purpose is what a connection is for.
type Purpose int8

// The purposes. The first four go to a node's controller listener, the others to
// the listener that brokers have for each other.
const (
	Control    Purpose = iota // requests to who leads the quorum, also in the name of clients
	Heartbeat                 // BrokerHeartbeat: never behind something slow
	Raft                      // messages of the quorum
	Snapshot                  // snapshots of the metadata
	Fetch                     // a follower's
	Markers                   // ends of transactions
	Coordinate                // coordinators and partition leaders asking each other
	States                    // what became of the records of share groups
	Records                   // dead letters and the like, on their way to another leader
)

// String is the purpose's name, for logs.
func (p Purpose) String() string {
	names := [...]string{"control", "heartbeat", "raft", "snapshot", "fetch", "markers", "coordinate", "states", "records"}
	return names[p]
}

// Controller says whether the purpose needs a node's controller listener.
func (p Purpose) Controller() bool { return p <= Snapshot }

// Errors of requests. See the package comment for what they tell.
var (
	// ErrUnsent says that the request never left: its node cannot have seen it.
	ErrUnsent = fmt.Errorf("the node was not reached: %w", kafka.NetworkException)
	// ErrDown says that the request was sent and that no answer came.
	ErrDown = fmt.Errorf("the node did not answer, what it did is not known: %w", kafka.NetworkException)
	// ErrAnswer says that an answer came and cannot be read.
	ErrAnswer = fmt.Errorf("the answer of the node cannot be read: %w", kafka.UnknownServerError)
	// ErrStopped says that the pool has ended; it comes with one of the others.
	ErrStopped = errors.New("connections to other nodes are closed here")
)

// Config is what a Pool needs. Fields without a remark are required.
type Config struct {
	Self int32

	// ClusterID is asked of every node that is connected to, with its node id: one
	// that is another, or of another cluster, is not spoken to. Empty: nobody is
	// asked; nor is who has a number below -1 for a node id, which stands for an
	// address of which it is not known who listens there.
	ClusterID string

	// Dial opens an authenticated connection to "host:port".
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Address is where a node listens for controllers, or for brokers; false while
	// nobody knows.
	Address func(node int32, controller bool) (string, bool)

	ClientID string

	RequestTimeout time.Duration // how long an answer may take; 0 is 30 s
	ConnectTimeout time.Duration // how long opening may take; 0 is 3 s
	MaxAnswer      int           // bytes of one answer; 0 is 128 MiB

	// Backoff is the pause after a connection failed or broke, doubled with each
	// failure in a row up to BackoffMax, with up to a quarter more from Rand.
	Backoff, BackoffMax time.Duration // 0 is 20 and 500 ms
	Rand                *rand.Rand    // nil: no jitter

	Logger *slog.Logger

	// Down is told when an open connection to a node broke, Refused when one could
	// not be opened and that did not take long, as where the process has ended. Both
	// may be nil; they must be quick, and may be called from several goroutines.
	Down, Refused func(node int32)
}

// patience is how long a line may be silent while answers are due.
func (cfg *Config) patience(why Purpose) time.Duration {
	switch why {
	case Heartbeat, Raft:
		return min(2*time.Second, cfg.RequestTimeout)
	case Snapshot, Fetch:
		return min(10*time.Second, cfg.RequestTimeout)
	}
	return cfg.RequestTimeout
}

// Pool is all connections of a node to others.
type Pool struct {
	cfg  Config
	ctx  context.Context // ends when Run does
	end  context.CancelFunc
	work sync.WaitGroup // the goroutines of lines

	mu struct {
		sync.Mutex // memory only
		conns      map[key]*Conn
		closed     bool
	}
}

// key is what has a connection of its own.
type key struct {
	node int32
	why  Purpose
	lane int
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.node, o.node), cmp.Compare(k.why, o.why), cmp.Compare(k.lane, o.lane))
}

// New makes a pool. It opens nothing before the first request, but Run has to be
// called for what a request starts to end.
func New(cfg Config) *Pool {
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 30*time.Second)
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, 3*time.Second)
	cfg.MaxAnswer = cmp.Or(cfg.MaxAnswer, 128<<20)
	cfg.Backoff, cfg.BackoffMax = cmp.Or(cfg.Backoff, 20*time.Millisecond), cmp.Or(cfg.BackoffMax, 500*time.Millisecond)
	p := &Pool{cfg: cfg}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.mu.conns = map[key]*Conn{}
	return p
}

// Run waits for ctx to end, closes every connection and answers nil when all
// goroutines of the pool are gone.
func (p *Pool) Run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.mu.closed = true
	p.mu.Unlock()
	p.end()
	for _, c := range p.matching(func(key) bool { return true }) {
		c.close(ErrStopped)
	}
	p.work.Wait()
	return nil
}

// To is the connection to a node for a purpose. There is one for each, which
// opens when it is used.
func (p *Pool) To(node int32, why Purpose) *Conn { return p.Lane(node, why, 0) }

// Lane is like To for one of several connections with the same purpose; lane 0 is
// that of To.
func (p *Pool) Lane(node int32, why Purpose, lane int) *Conn {
	k := key{node, why, lane}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.mu.conns[k]
	if c == nil {
		c = &Conn{pool: p, key: k}
		p.mu.conns[k] = c
	}
	return c
}

// Drop closes the connections to a node, such as one that left the cluster or has
// another address now. They open again when they are used.
func (p *Pool) Drop(node int32) {
	for _, c := range p.matching(func(k key) bool { return k.node == node }) {
		c.close(errDropped)
	}
}

var errDropped = errors.New("closed from here")

// matching gives the conns that match, in order.
func (p *Pool) matching(match func(key) bool) []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*Conn
	for _, k := range slices.SortedFunc(maps.Keys(p.mu.conns), key.compare) {
		if match(k) {
			out = append(out, p.mu.conns[k])
		}
	}
	return out
}

// start runs f on a goroutine of the pool; false after its end.
func (p *Pool) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return false
	}
	p.work.Go(f)
	return true
}

// pause is how long to wait after so many failures in a row.
func (p *Pool) pause(failures int) time.Duration {
	d := min(p.cfg.Backoff<<min(failures, 10), p.cfg.BackoffMax)
	if p.cfg.Rand != nil {
		p.mu.Lock()
		d += time.Duration(p.cfg.Rand.Int64N(int64(d)/4 + 1))
		p.mu.Unlock()
	}
	return d
}
