package controller

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// maxGrown is how many partitions of internal topics one decision grows.
const maxGrown = 100

// GrowInternal gives the internal topics that were created when there were fewer
// brokers the replicas that they would get now: as many as the settings say or,
// if they say nothing, three where there are so many brokers in service. Each
// partition keeps those that it has. It is for whoever watches brokers come;
// more says that there was more to do than one decision should hold.
//
// A partition on which a reassignment is under way is left alone, so that asking
// often does no harm.
func GrowInternal(s *State) (recs Records, more bool) {
	placer := newPlacer(s.Image, s.Rand)
	for _, name := range []string{kafka.OffsetsTopic, kafka.ShareStateTopic, kafka.TxnTopic} {
		t := s.Image.Topic(name)
		factor := s.factor(internalTopics[name].factor)
		if t == nil || s.Config.IsSet(internalTopics[name].factor) || len(placer.ring) < factor {
			continue
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Reassigning() || len(p.Replicas) >= factor {
				continue
			}
			if len(recs) == maxGrown {
				return recs, true
			}
			if r := s.change(t, p).to(grown(p.Replicas, placer.replicas(i, len(placer.ring)), factor)).record(); r != nil {
				recs = append(recs, r)
			}
		}
	}
	return recs, false
}

// grown adds brokers to replicas, in the order in which a new partition would
// take them, which is also that of preference from then on: so leaders spread.
func grown(replicas []int32, order []*cluster.Broker, factor int) []int32 {
	chosen := slices.Clone(replicas)
	for _, b := range order {
		if len(chosen) < factor && !slices.Contains(chosen, b.ID) {
			chosen = append(chosen, b.ID)
		}
	}
	rank := func(id int32) int {
		if i := slices.IndexFunc(order, func(b *cluster.Broker) bool { return b.ID == id }); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(chosen, func(a, b int32) int { return rank(a) - rank(b) })
	return chosen
}
