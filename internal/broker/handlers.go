package broker

import (
	"path"

	"github.com/myelin-stream/myelin/internal/api"
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quota"
)

// rackAware is the value of replica.selector.class that is known.
const rackAware = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

// newTable makes the dispatch table with every handler that this node has.
func (b *Broker) newTable(props *config.Broker) (*api.Table, error) {
	b.sessions = api.NewFetchSessions(props.Int("max.incremental.fetch.session.cache.slots"), b.dice(), b.cfg.Now)
	least := func(listener string) int16 {
		return int16(b.metadata.Properties().ForListener(listener, "transaction.min.version").Int64())
	}
	data := &api.DataHandlers{
		Replicas: b.replicas, Image: b.metadata.Image, NodeID: b.self,
		Sessions:      b.sessions,
		Turnover:      b.turnover,
		Throttle:      &api.Throttle{Limits: wherever{b}.leaderLimits()},
		RackAware:     props.String("replica.selector.class") == rackAware,
		FetchMaxBytes: int32(props.Int("fetch.max.bytes")),
		Txns:          wherever{b}.transactions(),
		MinVersion:    least,
		Verify:        func() bool { return b.metadata.Properties().Bool("transaction.partition.verification.enable") },
	}
	return api.NewTable(api.Config{
		Ready:  b.ready,
		Logins: newLogins(b, props),
		Data:   data,
		Share:  &api.ShareHandlers{Share: b.share, Data: data, Auto: b.cfg.Properties.AdvertisedAuto()},
		Groups: &api.GroupHandlers{Groups: b.groups, Image: b.metadata.Image, Topics: b.metadata,
			NodeID: b.self, Auto: b.cfg.Properties.AdvertisedAuto(), MinVersion: least,
			Protocols: props.List("group.coordinator.rebalance.protocols")},
		Txns:       &api.TxnHandlers{Txns: b.txns, Metadata: b.metadata, Markers: b.markers, MinVersion: least},
		Admin:      &api.AdminHandlers{Metadata: b.metadata, Replicas: b.replicas, NodeID: b.self, LogDirs: b.logDirs, Level: b.cfg.Level},
		Cluster:    &api.ClusterHandlers{Metadata: b.metadata, NodeID: b.self, Auto: b.cfg.Properties.AdvertisedAuto()},
		Shares:     &api.ShareStateHandlers{State: b.shareState},
		Self:       api.Self{NodeID: b.self, Image: b.metadata.Image, Supported: controller.Supported()},
		Authorizer: auth.AllowAll{},
		Quotas:     quota.Unlimited{},
		Metrics:    b.requests,
		Logger:     b.logger.With("component", "api"),
		Now:        b.cfg.Now,
	})
}

// logDirs describes the log directories, for DescribeLogDirs. What a directory
// knows of its room is not older than a second; the disk, which may be stalled,
// is asked only before the first look at it.
func (b *Broker) logDirs() []api.LogDir {
	cordoned := b.metadata.Properties().CordonedDirs()
	open := map[string]api.LogDir{}
	for _, dir := range b.dirs.data {
		health := dir.Home.Health()
		d := api.LogDir{Path: dir.Home.Path(), Total: health.Total, Free: health.Free, Err: dir.Home.Failed()}
		d.Cordoned = holdsPath(cordoned, d.Path)
		if d.Total == 0 && d.Err == nil {
			d.Total, d.Free = -1, -1
			if space, err := dir.FS.Space(d.Path); err == nil {
				d.Total, d.Free = space.Total, space.Free
			}
		}
		open[d.Path] = d
	}
	var out []api.LogDir
	for _, name := range b.cfg.Properties.DataDirs() {
		d, ok := open[path.Clean(name)]
		if !ok {
			d = api.LogDir{Path: path.Clean(name), Err: kafka.KafkaStorageError}
		}
		out = append(out, d)
	}
	return out
}
