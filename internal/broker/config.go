package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Config is what a node is made of. Everything that touches the world comes in
// here, so that a whole node runs in a test or in the simulator unchanged.
type Config struct {
	// Properties are the node's settings, resolved and checked.
	Properties *config.Broker

	// FS holds the log directories; the default is the machine's.
	FS vfs.FS

	// Listen opens the sockets of the listeners; the default is net.Listen.
	Listen func(network, address string) (net.Listener, error)

	// Dial opens connections to other nodes; the default is a net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Now is the wall clock, by which records are stamped and expire; the
	// default is time.Now.
	Now func() time.Time

	// Rand draws ids; the default is seeded by the system.
	Rand *rand.Rand

	Logger *slog.Logger // default: discard

	// Level is the level of Logger, which BROKER_LOGGER settings change at run
	// time; nil keeps it.
	Level *slog.LevelVar

	// Format lets Open format directories that are empty: as a cluster of this one
	// voter; where controller.quorum.voters names several and this node, as one of
	// those; where it names only others, or controller.quorum.bootstrap.servers is
	// set, as a node that joins. cluster.id has to be set then. Without Format empty
	// directories are refused: a node that lost its disk must not start over
	// unnoticed.
	Format bool

	// Join makes Format one that joins whatever the properties say, as is right for
	// a voter that lost its disk: it comes back as somebody else.
	Join bool

	// Version is what the node says it is in metrics.
	Version string
}

func (c *Config) fill() error {
	if c.Properties == nil {
		return errors.New("broker: Config.Properties is required")
	}
	if c.FS == nil {
		c.FS = vfs.OS()
	}
	if c.Listen == nil {
		c.Listen = net.Listen
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if len(c.Properties.DataDirs()) == 0 {
		return fmt.Errorf("log.dirs names no directory: set it to where records shall be kept")
	}
	return nil
}
