package broker

import (
	"fmt"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/share"
)

// newShare makes the leader side of share groups.
func newShare(b *Broker, props *config.Broker) (*share.Service, error) {
	world := groupWorld{metadata: b.metadata}
	mail, err := newLetters(b)
	if err != nil {
		return nil, err
	}
	return share.New(share.Config{
		Persister: wherever{b}.states(),
		Open: func(topicID kafka.UUID, partition int32) (share.Log, error) {
			r, err := b.replicas.GetID(topicID, partition)
			if err != nil {
				return nil, err
			}
			p := b.metadata.Image().TopicByID(topicID).Partition(partition)
			if !r.Leads() || p == nil || p.Leader != b.self {
				return nil, fmt.Errorf("%s: %w", r.TopicPartition(), kafka.NotLeaderOrFollower)
			}
			return shareLog{r}, nil
		},
		Settings: func(group string) share.Settings {
			set := shareSettings(world.settings(group))
			set.Letters = set.Letters && b.metadata.Image().Feature(controller.FeatureShare) >= lettersFrom
			return set
		},
		Letters:     mail,
		MaxSessions: props.Int("group.share.max.share.sessions"),
		Now:         b.cfg.Now,
		Logger:      b.logger.With("component", "share"),
	})
}

// settingsOf is what shareSettings needs of a group's settings.
type settingsOf interface {
	Int(name string) int
	Millis(name string) time.Duration
	Bool(name string) bool
	String(name string) string
}

func shareSettings(s settingsOf) share.Settings {
	return share.Settings{
		Locks:      s.Int("share.partition.max.record.locks"),
		Deliveries: int16(s.Int("share.delivery.count.limit")),
		Lock:       s.Millis("share.record.lock.duration.ms"),
		Renews:     s.Bool("share.renew.acknowledge.enable"),
		Committed:  s.String("share.isolation.level") == "read_committed",
		Reset:      shareReset(s.String("share.auto.offset.reset")),
		Letters:    s.String(letterTopic) != "",
	}
}

// shareReset reads share.auto.offset.reset.
func shareReset(s string) share.Reset {
	if d, ok := strings.CutPrefix(s, "by_duration:"); ok {
		back, _ := config.ISODuration(d)
		return share.Reset{Duration: back}
	}
	if s == "earliest" {
		return share.Reset{Timestamp: kafka.EarliestTimestamp}
	}
	return share.Reset{Timestamp: kafka.LatestTimestamp}
}

// shareLog is a replica as the start of a share partition sees it.
type shareLog struct{ r *replica.Replica }

func (l shareLog) Epoch() int32 {
	_, epoch := l.r.Leader()
	return epoch
}

func (l shareLog) Start() int64 { return l.r.LogStart() }

func (l shareLog) OffsetFor(timestamp int64) (int64, error) {
	q := replica.OffsetQuery{Timestamp: timestamp, CurrentEpoch: kafka.NoEpoch, FromLeader: true}
	found, err := l.r.OffsetFor(q)
	if err != nil || found.Offset != kafka.NoOffset {
		return found.Offset, err
	}
	q.Timestamp = kafka.LatestTimestamp // no record is as young
	found, err = l.r.OffsetFor(q)
	return found.Offset, err
}
