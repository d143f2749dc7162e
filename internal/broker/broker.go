package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/compact"
	"github.com/myelin-stream/myelin/internal/errand"
	"github.com/myelin-stream/myelin/internal/follow"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/listen"
	"github.com/myelin-stream/myelin/internal/metadata"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/peer"
	"github.com/myelin-stream/myelin/internal/quorum/courier"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/share/persist"
	"github.com/myelin-stream/myelin/internal/txn"
)

// Broker is one node. It is whole when Open returns; Run makes it serve.
type Broker struct {
	cfg    Config
	self   int32
	logger *slog.Logger

	dirs       *directories
	sockets    *sockets
	peers      *peer.Pool
	fetchers   *follow.Follow
	isrs       *isrs
	turnover   *api.Turnover
	courier    *courier.Courier
	metadata   *metadata.Metadata
	replicas   *replica.Table
	compactor  *compact.Compactor
	scrubbers  scrubbers
	groups     *group.Service
	shareState *persist.Service
	markers    *markers
	txns       *txn.Service
	errands    *errand.Errands
	share      *share.Service
	sessions   *api.FetchSessions
	requests   *metrics.Requests
	counted    *metrics.Sockets
	lags       *lags
	server     *listen.Server

	places   *places             // what the controller is to be told of directories
	followed bool                // follow has seen the first image; its goroutine's alone
	deleted  chan *cluster.Topic // topics of which coordinators have to forget what they keep
	ready    chan struct{}
}

// Open locks and opens the directories, binds the listeners and builds all
// parts. Nothing runs yet. An error says in one line what is wrong and what to
// do about it, and leaves nothing open.
func Open(cfg Config) (*Broker, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, self: cfg.Properties.NodeID(), logger: cfg.Logger,
		places: newPlaces(&cfg), deleted: make(chan *cluster.Topic, 1024), ready: make(chan struct{})}
	var err error
	if b.sockets, err = bind(&cfg); err != nil {
		return nil, err
	}
	if b.dirs, err = openDirectories(&cfg); err != nil {
		b.sockets.close()
		return nil, err
	}
	if err = b.build(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// build makes the parts, each from those before it.
func (b *Broker) build() error {
	quorum, err := newQuorumConfig(b.cfg.Properties, b.dirs.info)
	if err != nil {
		return err
	}
	b.peers = newPeers(b)
	b.courier = courier.New(courier.Config{Peers: b.peers, ClusterID: b.dirs.info.ClusterID, Logger: b.logger.With("component", "quorum")})
	b.metadata, err = metadata.Open(metadata.Config{
		FS: b.cfg.FS, Home: b.dirs.metadata, Dir: b.dirs.metadata.Path(), LogDirs: b.dirs.ids(),
		NodeID: b.self, ClusterID: b.dirs.info.ClusterID, Properties: b.cfg.Properties,
		Endpoints: b.sockets.endpoints, Rack: b.rack(), PreviousEpoch: b.dirs.previousEpoch(), KeepEpoch: b.dirs.keepEpoch,
		Roles: rolesOf(b.cfg.Properties),
		Peers: nodes{b}, Transport: b.courier, Voters: quorum.voters, Bootstrap: quorum.bootstrap,
		Now: b.cfg.Now, Rand: b.dice(), Logger: b.logger.With("component", "metadata"),
	})
	if err != nil {
		return fmt.Errorf("metadata in %s: %w", b.dirs.metadata.Path(), err)
	}
	props := b.metadata.Properties()
	b.fetchers, b.isrs, b.turnover = newFetchers(b), newISRs(b), new(api.Turnover)
	b.replicas = replica.NewTable(replica.Config{
		Self: b.self, Dirs: b.dirs.data, Broken: b.dirs.brokenPaths(), Named: b.places.add,
		Movers: props.Int("num.replica.alter.log.dirs.threads"),
		Pool:   record.NewPool(record.PoolConfig{}), Now: b.cfg.Now, Logger: b.logger.With("component", "replica"),
		ISR: b.isrs, Roled: wherever{b}.roled,
		LagMax: props.Millis("replica.lag.time.max.ms"), RetentionEvery: props.Millis("log.retention.check.interval.ms"),
	})
	b.isrs.replicas = b.replicas
	b.compactor = b.newCompactor(props)
	b.scrubbers = b.newScrubbers(props)
	if b.errands, err = newErrands(b); err != nil {
		return err
	}
	if b.shareState, err = newShareState(b, props); err != nil {
		return err
	}
	if b.groups, err = b.newGroups(props); err != nil {
		return err
	}
	if b.share, err = newShare(b, props); err != nil {
		return err
	}
	b.markers = &markers{replicas: b.replicas, offsets: b.groups, now: b.cfg.Now}
	if b.txns, err = newTxns(b, props); err != nil {
		return err
	}
	b.requests, b.counted = metrics.NewRequests(), metrics.NewSockets()
	if b.lags, err = newLags(b, props); err != nil {
		return err
	}
	if b.server, err = b.newServer(props); err != nil {
		return err
	}
	b.places.dirs, b.places.metadata, b.places.replicas = b.dirs, b.metadata, b.replicas
	b.setDirectories(props)
	b.metadata.Subscribe(b.follow)
	return nil
}

// admin makes the HTTP server of a node that has an address for it.
func (b *Broker) admin() *adminServer {
	return &adminServer{ln: b.sockets.admin, ready: b.ready, metrics: b.newMetrics(), offline: b.dirs.offlinePaths}
}

func (b *Broker) rack() *string {
	if r := b.cfg.Properties.String("broker.rack"); r != "" {
		return &r
	}
	return nil
}

// Run serves until ctx ends, then drains: nobody new is heard, what was asked is
// answered, logs are flushed and closed. It returns nil after a clean end.
func (b *Broker) Run(ctx context.Context) error {
	var list []activity
	for _, h := range b.dirs.homes {
		list = append(list, activity{"directory " + h.Path(), h.Run})
	}
	list = append(list, activity{"peers", b.peers.Run}, activity{"courier", b.courier.Run}, activity{"metadata", b.metadata.Run})
	if rolesOf(b.cfg.Properties).Broker {
		list = append(list, b.holding()...)
	}
	if b.sockets.admin != nil {
		list = append(list, activity{"admin", b.admin().run})
	}
	list = append(list, activity{"server", b.server.Run}, activity{"ready", b.announce}, activity{"leave", b.leave})
	err := runAll(ctx, list)
	return errors.Join(err, b.closeParts(err == nil))
}

// holding are the activities of a node that holds partitions, which one that only
// takes part in the quorum lacks.
func (b *Broker) holding() (list []activity) {
	for _, d := range b.dirs.data {
		list = append(list, activity{"flusher of " + d.Home.Path(), d.Flusher.Run})
	}
	list = append(list,
		activity{"replicas", b.replicas.Run},
		activity{"isrs", b.isrs.run},
		activity{"follow", b.fetchers.Run},
		activity{"places", b.places.run},
		activity{"directories", b.places.watch},
		activity{"compactor", b.compactor.Run},
		activity{"scrubbers", b.scrubbers.run},
		activity{"groups", b.groups.Run},
		activity{"share state", b.shareState.Run},
		activity{"transactions", b.txns.Run},
		activity{"share", b.share.Run},
		activity{"deleted topics", coordinators{b}.forgetDeleted})
	if b.sockets.admin != nil {
		list = append(list, activity{"ages of lags", b.lags.run})
	}
	return list
}

// announce closes Ready once the broker is registered and in service.
func (b *Broker) announce(ctx context.Context) error {
	if err := b.metadata.Ready(ctx); err != nil {
		return err
	}
	b.logger.Info("ready", "node_id", b.self, "cluster_id", b.dirs.info.ClusterID, "listener", b.Addr(""))
	if r := b.metadata.Image().Broker(b.self); r != nil {
		b.dirs.setEpoch(r.Epoch)
	}
	close(b.ready)
	<-ctx.Done()
	return nil
}

// leaveWithin is how long a broker waits for others to take over what it leads.
const leaveWithin = 30 * time.Second

// leave is the activity that ends first: it gives away what the broker leads while
// that is still served.
func (b *Broker) leave(ctx context.Context) error {
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if err := b.metadata.Leave(last); err != nil {
		b.logger.Warn("controlled shutdown", "err", err)
	}
	return nil
}

// Ready is closed once clients are served.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// NodeID is node.id.
func (b *Broker) NodeID() int32 { return b.self }

// ClusterID is the id of the cluster that the directories belong to.
func (b *Broker) ClusterID() string { return b.dirs.info.ClusterID }

// Addr is the host:port that the named listener is bound to; "" means the first
// that clients use.
func (b *Broker) Addr(listener string) string {
	if listener == "" {
		listener = b.sockets.first
	}
	for _, l := range b.sockets.all {
		if l.Name == listener {
			return l.Net.Addr().String()
		}
	}
	return ""
}

// AdminAddr is where /metrics, /livez and /readyz are, "" if nowhere.
func (b *Broker) AdminAddr() string {
	if b.sockets.admin == nil {
		return ""
	}
	return b.sockets.admin.Addr().String()
}

// Close gives back what Open took, for a broker that never ran; after Run it
// has nothing left to do.
func (b *Broker) Close() error {
	return b.closeParts(false)
}

// closeParts closes what activities leave open. clean says that every log was
// closed in order, so that the next start need not examine them.
func (b *Broker) closeParts(clean bool) error {
	b.sockets.close()
	var errs []error
	if b.metadata != nil {
		errs = append(errs, b.metadata.Close())
		b.metadata = nil
	}
	if b.dirs != nil && len(b.dirs.homes) > 0 {
		errs = append(errs, b.dirs.close(clean && errors.Join(errs...) == nil))
	}
	return errors.Join(errs...)
}
