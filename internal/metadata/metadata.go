package metadata

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// Config is what Metadata needs. All fields are required unless a comment says
// otherwise.
type Config struct {
	FS vfs.FS

	// Home is the open log directory that holds the metadata log:
	// metadata.log.dir, or the first of log.dirs. It stays the caller's, who
	// closes it after Close; the log __cluster_metadata-0 in it is Metadata's.
	Home *commitlog.Home

	// Dir is the path of Home.
	Dir string

	// LogDirs are the ids of the broker's log directories, as [Format] drew
	// them: see [ReadInfo].
	LogDirs []kafka.UUID

	NodeID    int32
	ClusterID string

	// Properties are the node's resolved settings before any override at run
	// time; the image's overrides are laid over them.
	Properties *config.Broker

	// Endpoints are the addresses that clients and brokers are told, one for
	// each named listener, the controller's included.
	Endpoints []cluster.Endpoint
	Rack      *string // nil when the broker has none

	// PreviousEpoch is the broker epoch under which this broker last shut down
	// cleanly, or -1. After an unclean stop each partition it leads starts a
	// new leader epoch, so that a consumer notices records that were lost.
	PreviousEpoch int64

	Now    func() time.Time
	Rand   *rand.Rand // for ids; used under the turn only
	Logger *slog.Logger
}

// Subscriber is told of every change, in the order of the log. It runs on the
// goroutine that applies the log, so it must be quick and must not call back
// into Metadata's writes. The first call brings the whole state as a change of
// the empty image.
type Subscriber func(*cluster.Delta, *cluster.Image)

// Metadata is the running metadata of one node.
type Metadata struct {
	cfg   Config
	image atomic.Pointer[cluster.Image]
	props atomic.Pointer[config.Broker]
	subs  []Subscriber
}

// Open reads what is in the directory; it must be formatted. Nothing runs yet.
func Open(cfg Config) (*Metadata, error) {
	return nil, errors.ErrUnsupported
}

// Subscribe adds a subscriber. Subscribers are told in the order in which they
// were added. It must not be called after Run began.
func (m *Metadata) Subscribe(s Subscriber) { m.subs = append(m.subs, s) }

// Run takes part in the quorum until ctx ends; its error is final for the node.
func (m *Metadata) Run(ctx context.Context) error { return errors.ErrUnsupported }

// Close closes the metadata log. Run must have returned.
func (m *Metadata) Close() error { return nil }

// Ready waits until this broker is registered and in service.
func (m *Metadata) Ready(ctx context.Context) error { return errors.ErrUnsupported }

// Image is the newest image that this node has applied. It is never nil.
func (m *Metadata) Image() *cluster.Image { return m.image.Load() }

// Properties are the node's settings with the overrides of the newest image:
// first this broker's, then those for all brokers. A change at run time gives a
// new value; nobody keeps one.
func (m *Metadata) Properties() *config.Broker { return m.props.Load() }
