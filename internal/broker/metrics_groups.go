package broker

import (
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/share/persist"
)

// coordinatorFigures are what the metrics say of the coordinators of a broker.
type coordinatorFigures struct{ *Broker }

func (b coordinatorFigures) groupCounts() metrics.GroupCoordinator {
	s := b.groups.Stats()
	out := metrics.GroupCoordinator{Commits: s.Commits.Load(), Expired: s.Expired.Load(), Deleted: s.Deleted.Load()}
	for _, k := range []struct {
		kind kind.Type
		of   *group.KindStats
	}{{kind.Classic, &s.Classic}, {kind.Consumer, &s.Consumer}, {kind.Share, &s.Share}, {kind.Streams, &s.Streams}} {
		one := metrics.GroupStats{Kind: string(k.kind), Rebalances: k.of.Rebalances.Load(), Sessions: k.of.Sessions.Load()}
		if ms := k.of.LastRebalance.Load(); ms > 0 {
			one.LastRebalance = time.UnixMilli(ms)
		}
		out.Kinds = append(out.Kinds, one)
	}
	return out
}

func (b coordinatorFigures) coordinators() []metrics.Coordinator {
	shown := func(name string, f coordinator.Figures) metrics.Coordinator {
		return metrics.Coordinator{Name: name, Active: f.Active, Loading: f.Loading, Waiting: f.Waiting, Loads: f.Loads,
			Failures: f.Failures, LoadTime: f.LoadTime, LongestLoad: f.LongestLoad, Batches: f.Batches, Records: f.Records, LeftOut: f.LeftOut}
	}
	return []metrics.Coordinator{shown("group", b.groups.Coordinator()), shown("transaction", b.txns.Coordinator()),
		shown("share", b.shareState.Coordinator())}
}

func (b coordinatorFigures) transactions() metrics.Transactions {
	s, now := b.txns.Stats(), b.txns.Standing()
	out := metrics.Transactions{IDs: now.IDs, Open: now.Open, Ending: now.Ending,
		Started: s.Started.Load(), Committed: s.Committed.Load(), Aborted: s.Aborted.Load(), TimedOut: s.TimedOut.Load(), Expired: s.Expired.Load()}
	if !now.Oldest.IsZero() {
		out.Oldest = max(0, b.cfg.Now().Sub(now.Oldest).Truncate(time.Millisecond))
	}
	return out
}

func (b coordinatorFigures) shares() metrics.Share {
	s, states := &b.share.Stats, b.shareState.Stats()
	out := metrics.Share{Held: s.Held.Load(), Requests: s.Requests.Load(), Timeouts: s.Timeouts.Load(), Failed: s.Failures.Load(),
		Loads: s.Loads.Load(), LoadTime: time.Duration(s.LoadTime.Load()),
		Letters: s.Letters.Load(), LettersLost: s.LettersLost.Load(),
		Writes: states.Writes.Load(), Refused: states.Refused.Load(), WriteTime: time.Duration(states.WriteTime.Load())}
	for i := range out.Acks {
		out.Acks[i] = s.Acks[i].Load()
	}
	out.Sessions, out.SessionPartitions, out.Evicted = b.share.Sessions.Stats()
	out.States = b.shareState.Len()
	return out
}

// census takes in all groups that this broker coordinates, with how far they are
// behind. It asks coordinators for a few groups at a time, and the logs only in
// the background, see ages.
func (l *lags) census() *metrics.Census {
	c := metrics.NewCensus(l.bounds())
	ends := partitionEnds{replicas: l.replicas, image: l.image(), self: l.self, known: map[kafka.TopicPartition]int64{}}
	shares := l.shareOffsets(&ends)
	l.groups.Walk(func(g *group.Seen) {
		m := metrics.Group{Name: g.ID, Kind: string(g.Kind), State: g.State, Members: g.Members}
		if g.Kind == kind.Share {
			m.Offsets = shares[g.ID]
		}
		for _, o := range g.Offsets {
			m.Offsets = append(m.Offsets, metrics.GroupOffset{Topic: o.Topic, Partition: o.Partition, Committed: o.Offset,
				Lag: ends.lag(o.TopicPartition, o.Offset, 0)})
		}
		c.Add(&m)
	})
	c.Bound()
	l.ages.fill(c.Whole())
	return c
}

// shareOffsets are the share partitions by group.
func (l *lags) shareOffsets(ends *partitionEnds) map[string][]metrics.GroupOffset {
	out := map[string][]metrics.GroupOffset{}
	img := l.image()
	l.states.Walk(func(s *persist.Seen) {
		t := img.TopicByID(s.TopicID)
		if t == nil || s.StartOffset < 0 {
			return
		}
		out[s.Group] = append(out[s.Group], metrics.GroupOffset{Topic: t.Name, Partition: s.Partition, Committed: s.StartOffset,
			Lag: ends.lag(kafka.TopicPartition{Topic: t.Name, Partition: s.Partition}, s.StartOffset, int64(max(0, s.DeliveryComplete)))})
	})
	return out
}
