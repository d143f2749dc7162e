package broker

import (
	"context"
	"errors"
	"time"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
)

// coordinators are what this broker is for partitions of internal topics that it
// leads.
type coordinators struct{ *Broker }

// role is a coordinator that this broker may be for partitions of an internal topic.
type role interface {
	Elect(partition, epoch int32)
	Resign(partition, epoch int32)
}

// of is the role that goes with a topic, nil if none does.
func (b coordinators) of(topic string) role {
	switch topic {
	case kafka.OffsetsTopic:
		return b.groups
	case kafka.ShareStateTopic:
		return b.shareState
	case kafka.TxnTopic:
		return b.txns
	}
	return nil
}

// resign ends the work for partitions that this broker does not lead any more,
// before its replicas hear of it: who waits for a commit then hears of the move and
// not of a failure. Of a topic that is gone all goes: one of the same name counts its
// epochs anew.
func (b coordinators) resign(c *cluster.TopicChange) {
	if c.New == nil {
		if role := b.of(c.Old.Name); role != nil {
			for id := range int32(len(c.Old.Partitions)) {
				role.Resign(id, kafka.NoEpoch)
			}
		}
		return
	}
	role := b.of(c.New.Name)
	if role == nil {
		return
	}
	for _, id := range c.Partitions() {
		if p := c.New.Partition(id); p.Leader != b.self {
			role.Resign(id, p.LeaderEpoch)
		}
	}
}

// elect begins the work for partitions that this broker leads now, anew where its
// leader epoch is new.
func (b coordinators) elect(c *cluster.TopicChange) {
	if c.New == nil {
		return
	}
	role := b.of(c.New.Name)
	if role == nil {
		return
	}
	for _, id := range c.Partitions() {
		if p := c.New.Partition(id); p.Leader == b.self {
			role.Elect(id, p.LeaderEpoch)
		}
	}
}

// shares ends the share partitions of what this broker led and does not, or leads
// anew.
func (b coordinators) shares(d *cluster.Delta) {
	moved := map[share.TopicPartition]bool{}
	for _, c := range d.Topics() {
		if c.Old == nil {
			continue
		}
		for id := range c.Old.Partitions {
			was, is := &c.Old.Partitions[id], c.New.Partition(int32(id))
			if was.Leader == b.self && (is == nil || is.Leader != b.self || is.LeaderEpoch != was.LeaderEpoch) {
				moved[share.TopicPartition{TopicID: c.Old.ID, Partition: int32(id)}] = true
			}
		}
	}
	if len(moved) > 0 {
		b.share.Moved(moved)
	}
}

// patience is for how long a request may wait for a commit of a partition of an
// internal topic. Where there are no other replicas only the disk is waited for, as
// long as it takes.
func (b coordinators) patience(topic string, most time.Duration) func(partition int32) time.Duration {
	return func(partition int32) time.Duration {
		if p := b.metadata.Image().Topic(topic).Partition(partition); p == nil || len(p.Replicas) < 2 {
			return 0
		}
		return most
	}
}

// forget drops what coordinators keep of a deleted topic. It waits for commits, so
// it must not run on the goroutine that applies the log.
func (b coordinators) forget(topic *cluster.Topic) {
	select { //house:select two cases, one of them default
	case b.deleted <- topic:
	default:
		b.logger.Warn("too many topics deleted at once: offsets committed to one stay until they expire", "topic", topic.Name)
	}
}

// forgetting is a topic that was deleted, and how often coordinators were told.
type forgetting struct {
	*cluster.Topic
	told int
}

// A coordinator that is being loaded, or cannot commit, is told again for a while.
const (
	forgetEvery = time.Second
	forgetTries = 60
)

// forgetDeleted is the activity behind forget.
func (b coordinators) forgetDeleted(ctx context.Context) error {
	var again []forgetting
	timer := time.NewTimer(forgetEvery)
	defer timer.Stop()
	timer.Stop()
	for {
		select { //house:select ending, one more topic and another try may come in any order
		case <-ctx.Done():
			return nil
		case topic := <-b.deleted:
			again = b.tell(ctx, again, forgetting{Topic: topic})
		case <-timer.C:
			all := again
			again = nil
			for _, f := range all {
				again = b.tell(ctx, again, f)
			}
		}
		if len(again) > 0 {
			timer.Reset(forgetEvery)
		}
	}
}

// tell has coordinators forget a topic, and adds it to those that they have to be
// told of again.
func (b coordinators) tell(ctx context.Context, again []forgetting, f forgetting) []forgetting {
	err := errors.Join(b.groups.TopicsDeleted(ctx, []string{f.Name}),
		b.groups.Shares().TopicsDeleted(ctx, []kafka.UUID{f.ID}), b.shareState.TopicsDeleted(ctx, []kafka.UUID{f.ID}))
	f.told++
	switch {
	case err == nil || ctx.Err() != nil:
		return again
	case f.told < forgetTries:
		return append(again, f)
	}
	b.logger.Warn("what groups keep of a deleted topic stays until it expires", "topic", f.Name, "err", err)
	return again
}
