package api

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/quota"
)

// Conn is what is known of a connection. It belongs to the connection's
// goroutine.
type Conn struct {
	ID       uint64
	Listener string // name of the listener it came in by
	Peer     string // the peer's host as Kafka prints it, "/127.0.0.1"
	Local    string // the address it connected to, "127.0.0.1:9092"

	// Subject is who is connected: [auth.Anonymous] until authenticated.
	Subject auth.Subject

	// Internal is true of a connection that came in by a listener of brokers or of
	// controllers: only there the private keys are served.
	Internal bool

	// Pending is true until authentication is done; until then only
	// ApiVersions and the SASL keys are served.
	Pending bool

	login login

	// SoftwareName and SoftwareVersion are what the client says it is
	// (KIP-511); empty before its ApiVersions request.
	SoftwareName, SoftwareVersion string

	// Park is how a handler waits: see [Parker].
	Park Parker

	// Parked is set by a handler while it waits for long: from then on the client's
	// end of the connection sets Gone and wakes Park, a second or two after it came,
	// where the socket tells of it.
	Parked, Gone atomic.Bool

	// OnClose is called when the connection has ended; a handler sets it that
	// keeps something for the connection.
	OnClose func()

	quota     quota.Client
	inService bool // see [Config.Ready]
}

// Call is one request. A connection has one Call and uses it again: nothing may
// keep it, or what it points to, after the handler returned.
type Call struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      string // "" where the client sent null

	// Body is the request without its header. It lies in the connection's
	// read buffer: valid until the handler returns or calls Free.
	Body []byte

	// Size is the length of the request in bytes, header included.
	Size int

	Conn *Conn
	Ctx  context.Context // ends when the broker drains
	Time time.Time       // when the request was taken up

	// Lone says that all earlier requests of the connection are answered and no
	// further one has arrived whole: a handler that waits keeps nothing else
	// from being done.
	Lone bool

	bare bool   // a token without a request around it, see login
	free func() // gives the frame back
	row  *Row
	t    *Table

	forProduce *producing // made with the first
	forFetch   *fetching
	forShare   *sharing
}

// NewCall returns the Call of a connection. free is called when a handler no
// longer needs the frame, before it waits; ctx ends when the broker drains.
func NewCall(ctx context.Context, conn *Conn, free func()) *Call {
	return &Call{Conn: conn, Ctx: ctx, free: free}
}

// Free gives the frame back early. A handler that waits for something calls it
// first, so that a thousand waiting connections hold no buffers. Body is gone
// after it.
func (c *Call) Free() {
	c.Body = nil
	if c.free != nil {
		c.free()
	}
}

// Pipelined says whether the next request may start before this one is
// answered: true of Produce only.
func (c *Call) Pipelined() bool { return c.row.Pipelined }

// Allowed asks the authorizer whether the caller may do op on the named
// resource. It is the one place where that is asked. What the row did not
// declare in Access is refused.
func (c *Call) Allowed(op auth.Operation, on auth.Resource, name string) bool {
	for _, a := range c.row.Access {
		if a.Op == op && a.On == on {
			return c.t.cfg.Authorizer.Allow(&c.Conn.Subject, op, on, name)
		}
	}
	c.t.cfg.Logger.Error("a handler asked for an access its row does not declare",
		"api", c.row.Name, "operation", op, "resource", on)
	return false
}

// AllowedCluster is Allowed on the cluster.
func (c *Call) AllowedCluster(op auth.Operation) bool {
	return c.Allowed(op, auth.Cluster, auth.ClusterName)
}

// NotAsked is the value of an authorized-operations field when the client did
// not ask for it.
const NotAsked int32 = -1 << 31

// AuthorizedOperations is the bit set, by number of the operation, of what the
// caller may do with a resource (KIP-430).
func (c *Call) AuthorizedOperations(on auth.Resource, name string) int32 {
	var bits int32
	for _, op := range auth.Operations(on) {
		if c.t.cfg.Authorizer.Allow(&c.Conn.Subject, op, on, name) {
			bits |= 1 << op
		}
	}
	return bits
}

// Charge notes what the call used of a quota and returns for how long the
// client is throttled. Reply.Mute of it makes the connection wait.
func (c *Call) Charge(kind quota.Kind, amount int64) time.Duration {
	return c.t.cfg.Quotas.Charge(&c.Conn.quota, kind, amount, c.Time)
}

// Now is the broker's clock.
func (c *Call) Now() time.Time { return c.t.cfg.Now() }
