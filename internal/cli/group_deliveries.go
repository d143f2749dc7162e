package cli

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// delivery is what became of the records of a share partition that lie behind its
// start, as the share coordinator keeps it. Records that a member holds count as
// what they were before.
type delivery struct {
	Waiting  int64 `json:"waiting"`  // given out before, and to be given out again
	Accepted int64 `json:"accepted"` // though older ones are not dealt with
	Archived int64 `json:"archived"` // rejected, or given out too often
	Most     int16 `json:"most_deliveries"`
	First    int64 `json:"first_with_most"` // the offset of the first record that was given out so often, -1 if none was
}

// The delivery states of KIP-932, in the state of share partitions.
const (
	deliverAvailable = 0
	deliverDone      = 2
	deliverArchiving = 3 // given up, on the way to the dead-letter topic (KIP-1191)
	deliverArchived  = 4
)

// deliveries asks the share coordinators what became of records, with the epoch of
// each partition's leader as the leader does. Partitions of which nothing is known
// are left out.
func deliveries(ctx context.Context, cl *kgo.Client, g *describedGroup, f *lagFacts) map[place]delivery {
	found := map[place]delivery{}
	keys := map[string]place{}
	for _, o := range g.Offsets {
		if p := o.place(); o.Committed >= 0 && f.epochs[p] >= 0 && !f.offline[p] {
			keys[fmt.Sprintf("%s:%s:%d", g.Group, kafka.UUID(f.ids[p.topic]), p.partition)] = p
		}
	}
	names := make([]string, 0, len(keys))
	for key := range keys {
		names = append(names, key)
	}
	at := map[int32][]place{}
	for key, c := range kadm.NewClient(cl).FindShareCoordinators(ctx, names...) {
		if c.Err == nil {
			at[c.NodeID] = append(at[c.NodeID], keys[key])
		}
	}
	topics := map[[16]byte]string{}
	for name, id := range f.ids {
		topics[id] = name
	}
	for node, places := range at {
		resp, err := readState(g.Group, places, f).RequestWith(ctx, cl.Broker(int(node)))
		if err != nil {
			continue
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if kerr.ErrorForCode(p.ErrorCode) == nil {
					found[place{topics[t.TopicID], p.Partition}] = deliveryOf(p)
				}
			}
		}
	}
	return found
}

func readState(group string, places []place, f *lagFacts) *kmsg.ReadShareGroupStateRequest {
	req := kmsg.NewPtrReadShareGroupStateRequest()
	req.GroupID = group
	for _, p := range places {
		t := kmsg.NewReadShareGroupStateRequestTopic()
		t.TopicID = f.ids[p.topic]
		part := kmsg.NewReadShareGroupStateRequestTopicPartition()
		part.Partition, part.LeaderEpoch = p.partition, f.epochs[p]
		t.Partitions = append(t.Partitions, part)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func deliveryOf(p kmsg.ReadShareGroupStateResponseTopicPartition) delivery {
	d := delivery{First: -1}
	for _, b := range p.StateBatches {
		n := b.LastOffset - b.FirstOffset + 1
		switch b.DeliveryState {
		case deliverDone:
			d.Accepted += n
			continue
		case deliverArchiving, deliverArchived:
			d.Archived += n
			continue
		case deliverAvailable:
			d.Waiting += n
		}
		if b.DeliveryCount > d.Most {
			d.Most, d.First = b.DeliveryCount, b.FirstOffset
		}
	}
	return d
}
