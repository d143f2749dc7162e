package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader is one consume under way.
type reader struct {
	*app
	cl     *kgo.Client
	write  func(*kgo.Record)
	number int64           // stop after so many records; 0: never
	until  map[place]int64 // partitions that have not reached their end, nil: there is none
	at     map[place]int64 // the next offset of each partition that was read
	group  string
	skip   bool // damage

	written int64
	skipped int64 // offsets
	unknown int   // how often in a row a topic's id was not known
}

// newReader reads with cl, which reads from some places; until may be nil.
func newReader(a *app, cl *kgo.Client, from map[string]map[int32]kgo.Offset, until map[place]int64) *reader {
	r := &reader{app: a, cl: cl, until: until, at: map[place]int64{}}
	for topic, parts := range from {
		for n, o := range parts {
			r.at[place{topic, n}] = o.EpochOffset().Offset
		}
	}
	return r
}

// again is how long a partition that cannot be read now is left alone.
const again = 250 * time.Millisecond

// poll writes records until number were written, every partition has reached
// its place in until (if not nil), or ctx ends.
func (r *reader) poll(ctx context.Context) error {
	out := bufio.NewWriterSize(r.Out, 64<<10)
	defer out.Flush()
	stdout := r.Out
	r.Out = out
	defer func() { r.Out = stdout }()
	for r.until == nil || len(r.until) > 0 {
		fetches := r.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			break // the user stopped it
		}
		if r.take(fetches) {
			break
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if err := r.refused(ctx, fetches); err != nil {
			return err
		}
	}
	if r.skipped > 0 {
		return errors.Join(out.Flush(), &fault{exitPartial, fmt.Sprintf("%d damaged offsets were left out", r.skipped)})
	}
	return out.Flush()
}

// take writes what came; true when it was enough.
func (r *reader) take(fetches kgo.Fetches) bool {
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		p := place{rec.Topic, rec.Partition}
		end, bounded := r.until[p]
		if r.until != nil && !bounded || bounded && rec.Offset >= end {
			delete(r.until, p)
			continue
		}
		r.at[p] = rec.Offset + 1
		if !rec.Attrs.IsControl() {
			r.write(rec)
			if r.written++; r.number > 0 && r.written >= r.number {
				return true
			}
		}
		if bounded && rec.Offset+1 >= end {
			delete(r.until, p)
		}
	}
	return false
}

// refused looks at the errors among what came. The client goes on by itself after
// those that pass; damage does not.
func (r *reader) refused(ctx context.Context, fetches kgo.Fetches) error {
	var failed error
	var bad []place
	waiting, unknown := false, false
	fetches.EachError(func(topic string, partition int32, err error) {
		p := place{topic, partition}
		_, open := r.until[p]
		switch {
		case errors.Is(err, context.Canceled), r.until != nil && !open && partition >= 0:
		case errors.Is(err, kerr.CorruptMessage):
			bad = append(bad, p)
		case errors.Is(err, kerr.UnknownTopicID) && r.unknown < 5:
			unknown, waiting = true, true
		case kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicID):
			waiting = true
		case failed == nil && topic == "" && r.group != "":
			failed = r.notJoined(ctx, err)
		case failed == nil:
			failed = refusal("topic "+topic, err, "")
		}
	})
	if r.unknown++; !unknown {
		r.unknown = 0
	}
	for _, p := range bad {
		if err := r.damaged(ctx, p); err != nil && failed == nil {
			failed = err
		}
	}
	if failed == nil && waiting {
		timer := time.NewTimer(again)
		defer timer.Stop()
		//house:select the loop looks at ctx after either
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return failed
}

// notJoined is the fault of a group that does not take this member.
func (r *reader) notJoined(ctx context.Context, err error) error {
	if isAny(err, kerr.InconsistentGroupProtocol, kerr.GroupIDNotFound) {
		if g, found := (groups{r.app, ""}).find(ctx, r.cl, r.group); found == nil && g.Type != classicGroup && g.Type != consumerGroup {
			return &fault{exitFailed, fmt.Sprintf("group %s is a %s group, and -g reads as a consumer; see: myelin group describe %s", r.group, g.Type, r.group)}
		}
	}
	return refusal("group "+r.group, err, "")
}

// damaged goes on behind damage, or says what is damaged.
func (r *reader) damaged(ctx context.Context, p place) error {
	offset, err := r.position(ctx, p)
	if err != nil {
		return err
	}
	d, err := damageAt(ctx, r.cl, p, offset)
	if err != nil || d.from == d.to {
		return err
	}
	if !r.skip {
		return d.fault(r.group)
	}
	r.hint("topic %s, partition %d: offsets %d to %d are damaged and left out", p.topic, p.partition, d.from, d.to-1)
	r.skipped += d.to - d.from
	r.at[p] = d.to
	if end, bounded := r.until[p]; bounded && d.to >= end {
		delete(r.until, p)
		return nil
	}
	r.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{p.topic: {p.partition: {Epoch: -1, Offset: d.to}}})
	return nil
}

// position is where a partition was read to, or at least not beyond.
func (r *reader) position(ctx context.Context, p place) (int64, error) {
	if at, ok := r.at[p]; ok {
		return at, nil
	}
	if o, ok := r.cl.CommittedOffsets()[p.topic][p.partition]; ok && o.Offset >= 0 {
		return o.Offset, nil
	}
	starts, err := reachable(kadm.NewClient(r.cl).ListStartOffsets(ctx, p.topic))
	if err != nil {
		return 0, err
	}
	start, _ := starts.Lookup(p.topic, p.partition)
	return max(start.Offset, 0), start.Err
}
