package cli

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// The end of a partition of __consumer_offsets tells what no API does: when a
// group committed, how fast it reads, how often it rebalances.
const (
	offsetsTopic = "__consumer_offsets"
	tailRecords  = 5000            // that are looked at, of all groups in the partition
	tailWait     = 2 * time.Second // at most
	lately       = 10 * time.Minute
)

// commitTail is what a group did of late. It is empty if the topic may not be
// read.
type commitTail struct {
	commits map[place][]commitPoint // in their order
	changes []time.Time             // when its generation or epoch changed
}

type commitPoint struct {
	offset int64
	at     time.Time
}

// tailOf reads the newest records of the partition that keeps a group. That it
// cannot be read is no error: the answer has less to tell then.
func (a *app) tailOf(ctx context.Context, adm *kadm.Client, group string) commitTail {
	t := commitTail{commits: map[place][]commitPoint{}}
	ctx, cancel := context.WithTimeout(ctx, tailWait)
	defer cancel()
	details, err := adm.ListTopicsWithInternal(ctx, offsetsTopic)
	if err != nil || len(details[offsetsTopic].Partitions) == 0 {
		return t
	}
	p := place{offsetsTopic, kafka.CoordinatorPartition(group, int32(len(details[offsetsTopic].Partitions)))}
	f, err := factsOf(ctx, adm, []string{offsetsTopic}, time.Now())
	if err != nil || f.stable[p] <= f.start[p] {
		return t
	}
	from := map[string]map[int32]kgo.Offset{offsetsTopic: {p.partition: kgo.NewOffset().At(max(f.start[p], f.stable[p]-tailRecords))}}
	cl, err := a.connect(ctx, kgo.ConsumePartitions(from), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return t
	}
	defer cl.Close()
	for next := int64(0); next < f.stable[p]; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return t
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				t.add(group, r)
			}
		}
		if fetches.Err() != nil {
			return t
		}
	}
	return t
}

// add takes note of a record if it is the group's.
func (t *commitTail) add(group string, r *kgo.Record) {
	key, err := state.ParseKey(state.Group, r.Key)
	if err != nil {
		return
	}
	switch k := key.(type) {
	case *state.OffsetCommitKey:
		if k.Group != group {
			return
		}
		p := place{k.Topic, k.Partition}
		v := state.NewOffsetCommitValue()
		if r.Value == nil {
			delete(t.commits, p)
		} else if _, err := state.ParseValue(r.Value, &v); err == nil {
			t.commits[p] = append(t.commits[p], commitPoint{v.Offset, time.UnixMilli(v.CommitTimestamp)})
		}
	case *state.GroupMetadataKey:
		t.change(k.Group == group, r)
	case *state.ConsumerGroupMetadataKey:
		t.change(k.GroupID == group, r)
	case *state.ShareGroupMetadataKey:
		t.change(k.GroupID == group, r)
	case *state.StreamsGroupMetadataKey:
		t.change(k.GroupID == group, r)
	}
}

func (t *commitTail) change(mine bool, r *kgo.Record) {
	if mine && r.Value != nil {
		t.changes = append(t.changes, r.Timestamp)
	}
}

// recent counts how often the group changed lately.
func (t *commitTail) recent(now time.Time) (n int) {
	for _, at := range t.changes {
		if now.Sub(at) < lately {
			n++
		}
	}
	return n
}

// stands is since when a partition has the offset it has, as far back as was
// looked at, and when that was last committed.
func stands(points []commitPoint) (since, last time.Time) {
	newest := points[len(points)-1]
	since = newest.at
	for i := len(points) - 1; i >= 0 && points[i].offset == newest.offset; i-- {
		since = points[i].at
	}
	return since, newest.at
}

// speed is how many records per second were committed lately, -1 if that cannot
// be said.
func speed(points []commitPoint, now time.Time) float64 {
	for _, first := range points {
		last := points[len(points)-1]
		if now.Sub(first.at) < lately {
			if took := last.at.Sub(first.at).Seconds(); took >= 1 {
				return max(float64(last.offset-first.offset), 0) / took
			}
			break
		}
	}
	return -1
}
