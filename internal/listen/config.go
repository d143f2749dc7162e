package listen

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/metrics"
)

// Listener is one address that clients connect to.
type Listener struct {
	Name string       // Kafka's listener name, such as "PLAINTEXT"
	Net  net.Listener // of the operating system, or of memory

	// TLS, if set, is spoken on every connection.
	TLS *tls.Config

	// Internal says that nodes of the cluster use it among each other, clients
	// perhaps besides: see [api.Conn].
	Internal bool

	// Authenticate holds every request back but the SASL ones until the
	// client has authenticated.
	Authenticate bool
}

// Config is what a Server is made of. Zero values of numbers take the default.
type Config struct {
	Listeners []Listener
	Table     *api.Table

	// MaxRequest is the largest frame in bytes: socket.request.max.bytes,
	// default 100 MiB. A larger one closes the connection.
	MaxRequest int

	// MaxPending is the largest before authentication:
	// sasl.server.max.receive.size, default 512 KiB.
	MaxPending int

	// MaxQueued is how many bytes of frames the broker holds at once:
	// queued.max.request.bytes, default 256 MiB. Beyond it connections are not
	// read; clients feel it as a slow network.
	MaxQueued int64

	// MaxIdle closes a connection on which nothing happens:
	// connections.max.idle.ms, default 10 min, negative never.
	MaxIdle time.Duration

	// Limits are those at the start; [Server.SetLimits] changes them.
	Limits Limits

	// SendBuffer and ReceiveBuffer are sizes of the kernel's buffers of a
	// connection (socket.send.buffer.bytes, socket.receive.buffer.bytes);
	// 0 and less leaves them to the kernel, which sizes them as it goes.
	SendBuffer, ReceiveBuffer int

	WriteStall  time.Duration // a write without progress closes; default 30 s
	DrainWithin time.Duration // how long answers under way may take; default 10 s

	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Sockets // may be nil
}

// Limits bound the number of connections. Zero means no limit.
type Limits struct {
	// Conns is how many there may be in all (max.connections). Further ones
	// wait to be accepted.
	Conns int
	// PerIP is how many an address may have (max.connections.per.ip), and
	// Overrides that of some addresses. Further ones are closed.
	PerIP     int
	Overrides map[string]int
}

const (
	defaultMaxRequest = 100 << 20
	defaultMaxQueued  = 256 << 20
	defaultMaxIdle    = 10 * time.Minute
	defaultStall      = 30 * time.Second
	defaultDrain      = 10 * time.Second
	defaultPending    = 512 << 10
)

// Validate fills in defaults and says what is missing.
func (c *Config) Validate() error {
	c.MaxRequest = cmp.Or(c.MaxRequest, defaultMaxRequest)
	c.MaxPending = cmp.Or(c.MaxPending, defaultPending)
	c.MaxQueued = cmp.Or(c.MaxQueued, defaultMaxQueued)
	c.MaxIdle = cmp.Or(c.MaxIdle, defaultMaxIdle)
	c.WriteStall = cmp.Or(c.WriteStall, defaultStall)
	c.DrainWithin = cmp.Or(c.DrainWithin, defaultDrain)
	switch {
	case len(c.Listeners) == 0:
		return errors.New("listen: no listeners")
	case c.Table == nil || c.Now == nil || c.Logger == nil:
		return errors.New("listen: Table, Now and Logger are needed")
	case c.MaxQueued < readSize:
		return errors.New("listen: queued.max.request.bytes has to be at least 64 KiB")
	}
	return nil
}
