package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/record"
)

// peek says what a broker answers to a fetch at offset: that this is damaged, or
// at which offset what it gave ends; offset itself if there is nothing.
type peek func(offset int64) (next int64, damaged bool, err error)

// closely is how many offsets behind a damaged one are tried one by one; after
// that in steps of a part of what was found damaged already.
const (
	closely  = 2000
	farPart  = 64
	peekSize = 64 << 10
)

// findDamage finds the first damage at or behind offset, below end: offsets
// [from, to) cannot be read, at to something can, or it is end. Without any, from
// and to are equal.
//
// A readable part within a very long damage, shorter than a 64th of what lies
// before it, may count as damaged too.
func findDamage(look peek, offset, end int64) (from, to int64, err error) {
	bad := false
	for from = offset; from < end; {
		next := int64(0)
		if next, bad, err = look(from); err != nil {
			return 0, 0, err
		}
		if bad || next <= from {
			break
		}
		from = next
	}
	if !bad {
		return from, from, nil
	}
	last := from // the last one known to be damaged
	for to = from + 1; to < end; {
		if _, bad, err = look(to); err != nil {
			return 0, 0, err
		}
		if !bad {
			break
		}
		last = to
		step := int64(1)
		if to-from > closely {
			step = (to - from) / farPart
		}
		to = min(to+step, end)
	}
	for to-last > 1 {
		mid := last + (to-last)/2
		if _, bad, err = look(mid); err != nil {
			return 0, 0, err
		}
		if bad {
			last = mid
		} else {
			to = mid
		}
	}
	return from, to, nil
}

// damaged are the offsets of a partition that cannot be read; it ends at end.
type damaged struct {
	place
	from, to, end int64
}

// damageAt asks the leader of a partition what is damaged at or behind offset.
func damageAt(ctx context.Context, cl *kgo.Client, p place, offset int64) (damaged, error) {
	d := damaged{place: p}
	adm := kadm.NewClient(cl)
	ends, err := reachable(adm.ListEndOffsets(ctx, p.topic))
	if err != nil {
		return d, err
	}
	end, ok := ends.Lookup(p.topic, p.partition)
	if !ok || end.Err != nil {
		return d, refusal("topic "+p.topic, cmp.Or[error](end.Err, kerr.LeaderNotAvailable), "")
	}
	details, err := adm.ListTopicsWithInternal(ctx, p.topic)
	if err != nil {
		return d, err
	}
	topic := details[p.topic]
	leader := cl.Broker(int(topic.Partitions[p.partition].Leader))
	d.end = end.Offset
	d.from, d.to, err = findDamage(func(offset int64) (int64, bool, error) {
		return fetchOnce(ctx, leader, p, topic.ID, offset)
	}, offset, d.end)
	return d, err
}

// fetchOnce is the peek of a real partition.
func fetchOnce(ctx context.Context, leader *kgo.Broker, p place, id kadm.TopicID, offset int64) (int64, bool, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.SessionEpoch = -1, peekSize, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes, part.CurrentLeaderEpoch = p.partition, offset, peekSize, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = p.topic, id, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, leader)
	if err != nil {
		return 0, false, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, false, fmt.Errorf("fetch of %s/%d: %w", p.topic, p.partition, errors.Join(kerr.ErrorForCode(resp.ErrorCode), errors.New("no answer for it")))
	}
	got := &resp.Topics[0].Partitions[0]
	switch err := kerr.ErrorForCode(got.ErrorCode); {
	case errors.Is(err, kerr.CorruptMessage):
		return 0, true, nil
	case err != nil:
		return 0, false, refusal("topic "+p.topic, err, "")
	}
	for b := got.RecordBatches; len(b) > 0; {
		h, err := record.ParseHeader(b)
		if err != nil || h.Size() > len(b) {
			break // the last one may be cut off
		}
		offset, b = max(offset, h.NextOffset()), b[h.Size():]
	}
	return offset, false, nil
}

// fault says what cannot be read, and how to read on.
func (d *damaged) fault(group string) error {
	text := fmt.Sprintf("topic %s, partition %d: offsets %d to %d are damaged on the broker's disk and given to nobody (CORRUPT_MESSAGE)",
		d.topic, d.partition, d.from, d.to-1)
	switch {
	case d.to >= d.end:
		text += "; nothing is behind them yet"
	case group != "":
		text += fmt.Sprintf("; go on behind them with: myelin group seek %s --topics %s --partitions %d --to %d --yes, or with --skip-damaged",
			group, d.topic, d.partition, d.to)
	default:
		text += fmt.Sprintf("; read on behind them with: myelin consume %s --partitions %d --from %d, or leave them out with --skip-damaged",
			d.topic, d.partition, d.to)
	}
	return &fault{exitFailed, text}
}
