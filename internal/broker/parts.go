package broker

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/consumer"
	"github.com/myelin-stream/myelin/internal/group/share"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/listen"
)

// dice are a part's own: they are drawn from the node's, so that one seed
// decides all, and nobody shares them.
func (b *Broker) dice() *rand.Rand {
	return rand.New(rand.NewPCG(b.cfg.Rand.Uint64(), b.cfg.Rand.Uint64()))
}

// newFlusher makes a flusher, which each directory has for itself.
func newFlusher(cfg *Config) *commitlog.Flusher {
	return commitlog.NewFlusher(commitlog.FlusherConfig{
		LazyBytes: cfg.Properties.Int64("log.flush.lazy.bytes"),
		LazyDelay: cfg.Properties.Millis("log.flush.lazy.ms"),
		Now:       cfg.Now,
		Logger:    cfg.Logger.With("component", "flusher"),
	})
}

func (b *Broker) newGroups(props *config.Broker) (*group.Service, error) {
	c := group.DefaultConfig()
	c.Partitions = func() int32 {
		if t := b.metadata.Image().Topic(kafka.OffsetsTopic); t != nil {
			return int32(len(t.Partitions))
		}
		return 0
	}
	c.Open = b.openGroupLog
	c.CommitPatience = coordinators{b}.patience(kafka.OffsetsTopic, props.Millis("offsets.commit.timeout.ms"))
	c.TopicID = func(name string) kafka.UUID {
		if t := b.metadata.Image().Topic(name); t != nil {
			return t.ID
		}
		return kafka.UUID{}
	}
	c.Topics = group.TopicsOf(b.metadata.Image)
	world := groupWorld{b.metadata, new(atomic.Pointer[groupSettings])}
	c.Settings, c.CreateTopics = world.settings, world.createTopics
	c.Verify = offsetsVerifier(b)
	c.Now, c.Rand, c.Logger = b.cfg.Now, b.dice(), b.logger.With("component", "groups")
	c.Limits = classic.Limits{
		MinSession:   props.Millis("group.min.session.timeout.ms"),
		MaxSession:   props.Millis("group.max.session.timeout.ms"),
		InitialDelay: props.Millis("group.initial.rebalance.delay.ms"),
		MaxSize:      props.Int("group.max.size"),
	}
	c.Consumer = consumer.Config{
		Assignors:    props.List("group.consumer.assignors"),
		MaxSize:      props.Int("group.consumer.max.size"),
		RegexRefresh: props.Millis("group.consumer.regex.refresh.interval.ms"),
	}
	c.Streams.MaxSize = props.Int("group.streams.max.size")
	c.Streams.KeepTopologies = props.Bool("group.streams.topology.description.enable")
	c.Share = share.Config{MaxSize: props.Int("group.share.max.size"), Retry: props.Millis("group.share.initialize.retry.interval.ms")}
	c.ShareState = shareStates{wherever{b}.states()}
	c.EndOffset = wherever{b}.endOffset
	c.Migration = group.ParseMigration(props.String("group.consumer.migration.policy"))
	c.MetadataMax = props.Int("offset.metadata.max.bytes")
	c.Retention = time.Duration(props.Int64("offsets.retention.minutes")) * time.Minute
	c.Safe = b.dirs.metadata.Safe
	c.CheckEvery = props.Millis("offsets.retention.check.interval.ms")
	return group.New(c)
}

// newServer makes the dispatch table and the sockets' server.
func (b *Broker) newServer(props *config.Broker) (*listen.Server, error) {
	table, err := b.newTable(props)
	if err != nil {
		return nil, err
	}
	return listen.New(listen.Config{
		Listeners:  b.sockets.all,
		Table:      table,
		MaxRequest: props.Int("socket.request.max.bytes"),
		MaxPending: props.Int("sasl.server.max.receive.size"),
		MaxQueued:  props.Int64("queued.max.request.bytes"),
		MaxIdle:    props.Millis("connections.max.idle.ms"),
		Limits:     connectionLimits(props),
		Now:        b.cfg.Now,
		Logger:     b.logger.With("component", "listen"),
		Metrics:    b.counted,
	})
}

// connectionLimits are what the properties say of the number of connections.
func connectionLimits(props *config.Broker) listen.Limits {
	l := listen.Limits{Conns: props.Int("max.connections"), PerIP: props.Int("max.connections.per.ip"), Overrides: map[string]int{}}
	for _, pair := range strings.Split(props.String("max.connections.per.ip.overrides"), ",") {
		host, count, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if n, err := strconv.Atoi(count); ok && err == nil {
			l.Overrides[host] = n
		}
	}
	return l
}
