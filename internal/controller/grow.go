package controller

import (
	"slices"

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
	var placer *placer
	for _, name := range []string{kafka.OffsetsTopic, kafka.ShareStateTopic, kafka.TxnTopic} {
		t := s.Image.Topic(name)
		factor := s.factor(internalTopics[name].factor)
		if t == nil || s.Config.IsSet(internalTopics[name].factor) {
			continue
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Reassigning() || len(p.Replicas) >= factor {
				continue
			}
			if placer == nil {
				placer = newPlacer(s.Image, s.Rand)
			}
			if len(placer.ring) < factor { // cordoned brokers take nothing new
				break
			}
			if len(recs) == maxGrown {
				return recs, true
			}
			target := slices.Clone(p.Replicas)
			for _, b := range placer.replicas(i, len(placer.ring)) {
				if len(target) < factor && !slices.Contains(target, b.ID) {
					target = append(target, b.ID)
				}
			}
			if r := s.change(t, p).to(target).record(); r != nil {
				recs = append(recs, r)
			}
		}
	}
	return recs, false
}
