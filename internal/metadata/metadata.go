package metadata

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/vfs"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// everyBroker is the resource of settings that hold for all brokers.
var everyBroker = cluster.Resource{Kind: cluster.BrokerResource}

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

	// PreviousEpoch is the broker epoch under which this broker's last process
	// ran, if it lost nothing that it had written, or -1. After that each partition
	// it leads starts a new leader epoch, so that a consumer notices records that
	// were lost, and it leaves the ISRs and the eligible replicas.
	PreviousEpoch int64

	// KeepEpoch makes this process's broker epoch durable, so that the next process
	// knows it even if this one is killed. Nil: it does not outlive a kill.
	KeepEpoch func(epoch int64) error

	// Roles says what this node is; none means both. One that is no broker does not
	// register, and its subscribers are told of nothing.
	Roles Roles

	// Peers reaches the other nodes and Transport carries the quorum's messages to
	// them. Nil: there is nobody else, and never will be.
	Peers     Peers
	Transport quorum.Transport

	// Voters are those that this node was configured or formatted with: where to
	// find them until the image says it. Who votes is in the quorum.
	Voters []Voter

	// Bootstrap are addresses at which nodes of the quorum may be found before its
	// members are known, host:port: nodes [Bootstrap](0) and on, for Peers.
	Bootstrap []string

	Now    func() time.Time
	Rand   *rand.Rand // for ids; used under the turn only
	Logger *slog.Logger
}

// Subscriber is told of every change, in the order of the log. It runs on the
// goroutine that applies the log, so it must be quick and must not call back
// into Metadata's writes. The first call comes when all that was decided before
// this process began is known, this broker's registration included, and brings
// it as a change of the empty image.
type Subscriber func(*cluster.Delta, *cluster.Image)

// Metadata is the running metadata of one node.
type Metadata struct {
	cfg   Config
	node  *quorum.Node
	subs  []Subscriber
	self  registration
	image atomic.Pointer[cluster.Image]
	props atomic.Pointer[config.Broker]

	// turn is held by whoever decides. It is never held over I/O or a wait for
	// the quorum, so that the goroutine of the quorum may take it too.
	turn    turn
	leading *leadership // nil while this node does not decide; under the turn

	strangers strangers // who was refused by the quorum

	ids   idBlock
	ready chan struct{} // closed once this broker is registered and in service

	// start are records that the cluster begins with, if this node is the first
	// that leads it: see [FormatConfig.Begin].
	start    []state.Record
	sessions *sessions
	applied  applied
	joined   places
	stirred  bell // one slot: attend is to look again
	leaving  atomic.Bool

	told bool // the subscribers know the whole; the applying goroutine's own

	// open holds the records of a decision that is framed and not whole yet; it
	// belongs to the goroutine that applies.
	open   []state.Record
	framed bool
}

// Open reads what is in the directory; it must be formatted. Nothing runs yet.
func Open(cfg Config) (*Metadata, error) {
	if cfg.Roles == (Roles{}) {
		cfg.Roles = Roles{Broker: true, Controller: true}
	}
	m := &Metadata{cfg: cfg, turn: newTurn(), ready: make(chan struct{}),
		sessions: newSessions(), stirred: make(bell, 1)}
	m.self.incarnation = drawID(cfg.Rand)
	m.ids.turn = newTurn()
	m.publish(cluster.Empty(cfg.ClusterID))
	var err error
	if m.start, err = readBegin(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	m.node, err = quorum.Open(quorum.Config{
		FS: cfg.FS, Home: cfg.Home, Dir: cfg.Dir,
		Machine: (*machine)(m), Transport: cfg.Transport, Logger: cfg.Logger, Now: cfg.Now,
		SnapshotBytes: cfg.Properties.Int64("metadata.log.max.record.bytes.between.snapshots"),
	})
	if err != nil {
		return nil, err
	}
	if id := m.node.Self().Node; id != cfg.NodeID {
		return nil, errors.Join(fmt.Errorf("the directory %s belongs to node %d, not to node %d", cfg.Dir, id, cfg.NodeID), m.node.Close())
	}
	return m, nil
}

// Subscribe adds a subscriber. Subscribers are told in the order in which they
// were added. It must not be called after Run began.
func (m *Metadata) Subscribe(s Subscriber) { m.subs = append(m.subs, s) }

// Run takes part in the quorum until ctx ends; its error is final for the node.
func (m *Metadata) Run(ctx context.Context) error {
	if m.cfg.Peers == nil {
		return m.node.Run(ctx)
	}
	return run(ctx, m)
}

// Close closes the metadata log. Run must have returned.
func (m *Metadata) Close() error { return m.node.Close() }

// Ready waits until this broker is registered and in service.
func (m *Metadata) Ready(ctx context.Context) error {
	//house:select either the broker is in service or the caller gives up; both at once is both true
	select {
	case <-m.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Image is the newest image that this node has applied. It is never nil.
func (m *Metadata) Image() *cluster.Image { return m.image.Load() }

// Properties are the node's settings with the overrides of the newest image:
// first this broker's, then those for all brokers. A change at run time gives a
// new value; nobody keeps one.
func (m *Metadata) Properties() *config.Broker { return m.props.Load() }

// publish makes an image the newest.
func (m *Metadata) publish(next *cluster.Image) {
	old := m.image.Load()
	if old == nil || m.overridden(old, next) {
		m.props.Store(m.resolve(next))
	}
	m.image.Store(next)
}

// overridden says whether the settings of this node may differ between two images.
func (m *Metadata) overridden(a, b *cluster.Image) bool {
	return !slices.Equal(a.Config(m.own()), b.Config(m.own())) || !slices.Equal(a.Config(everyBroker), b.Config(everyBroker))
}

func (m *Metadata) own() cluster.Resource {
	return cluster.Resource{Kind: cluster.BrokerResource, Name: strconv.Itoa(int(m.cfg.NodeID))}
}

func (m *Metadata) resolve(img *cluster.Image) *config.Broker {
	return m.cfg.Properties.With(img.Config(m.own()).Map(), img.Config(everyBroker).Map())
}

// drawID draws an id that stands for nothing else.
func drawID(rng *rand.Rand) kafka.UUID {
	var id kafka.UUID
	for kafka.ReservedDir(id) {
		binary.BigEndian.PutUint64(id[:8], rng.Uint64())
		binary.BigEndian.PutUint64(id[8:], rng.Uint64())
	}
	return id
}
