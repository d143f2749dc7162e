package share

import (
	"cmp"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// AssignorName is the name of the one assignor that share groups have.
const AssignorName = "simple"

// reader is a member as the assignor sees it.
type reader struct {
	topics []kafka.UUID // in order
	had    assign.Set
}

// simple assigns partitions to readers so that
//
//   - each partition has at least one reader, if somebody subscribes to its topic,
//     and each reader at least one partition, if there is one for it;
//   - with N readers and P partitions each partition has ceil(N/P) of them, and
//     each reader its equal part of all those places, as far as that can be had;
//   - readers keep what they had as far as that allows.
//
// Readers of the same topics share all of these partitions evenly; when
// subscriptions differ, that is done for each topic on its own. It is the simple
// assignor of KIP-932.
func simple(readers []reader, partitions map[kafka.UUID]topicState) []assign.Set {
	s := sharing{readers: readers, has: make([]map[place]bool, len(readers))}
	for i := range s.has {
		s.has[i] = map[place]bool{}
	}
	everybody := make([]int, len(readers))
	for i := range readers {
		everybody[i] = i
	}
	if sameTopics(readers) {
		var all []place
		if len(readers) > 0 {
			for _, id := range readers[0].topics {
				all = appendPlaces(all, id, partitions[id].partitions)
			}
		}
		s.share(everybody, all)
		return s.sets()
	}
	for _, id := range inOrder(partitions) {
		var who []int
		for i := range readers {
			if slices.Contains(readers[i].topics, id) {
				who = append(who, i)
			}
		}
		s.share(who, appendPlaces(nil, id, partitions[id].partitions))
	}
	return s.sets()
}

func sameTopics(readers []reader) bool {
	for i := 1; i < len(readers); i++ {
		if !slices.Equal(readers[i].topics, readers[0].topics) {
			return false
		}
	}
	return true
}

// place is one partition.
type place struct {
	topic     kafka.UUID
	partition int32
}

func appendPlaces(list []place, topic kafka.UUID, partitions []int32) []place {
	for _, p := range partitions {
		list = append(list, place{topic, p})
	}
	return list
}

// sharing is an assignment in the making.
type sharing struct {
	readers []reader
	has     []map[place]bool // by reader
}

// share spreads readers over places.
func (s *sharing) share(who []int, places []place) {
	if len(who) == 0 || len(places) == 0 {
		return
	}
	sharers := (len(who) + len(places) - 1) / len(places)
	room := make(map[int]int, len(who)) // places that a reader may still take
	for n, i := range who {
		room[i] = upTill(n+1, sharers*len(places), len(who)) - upTill(n, sharers*len(places), len(who))
	}
	of := make(map[place]int, len(places)) // readers of each place
	take := func(i int, p place) {
		s.has[i][p] = true
		room[i]--
		of[p]++
	}
	for _, i := range who {
		for _, p := range places {
			if room[i] > 0 && of[p] < sharers && s.had(i, p) {
				take(i, p)
			}
		}
	}
	// Whoever has room takes places in turn, those with the fewest readers first.
	turn := 0
	for level := 1; level <= sharers; level++ {
		for _, p := range places {
			for tries := 0; of[p] < level && tries < len(who); tries++ {
				i := who[turn%len(who)]
				turn++
				if room[i] > 0 && !s.has[i][p] {
					take(i, p)
				}
			}
		}
	}
}

// upTill is how many of total places the first n of all readers get.
func upTill(n, total, all int) int { return (n*total + all - 1) / all }

func (s *sharing) had(i int, p place) bool {
	return slices.Contains(s.readers[i].had.Of(p.topic), p.partition)
}

func (s *sharing) sets() []assign.Set {
	out := make([]assign.Set, len(s.readers))
	for i, has := range s.has {
		var list []place
		for p := range has {
			list = append(list, p)
		}
		slices.SortFunc(list, func(a, b place) int {
			return cmp.Or(assign.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
		})
		for _, p := range list {
			if n := len(out[i]); n == 0 || out[i][n-1].Topic != p.topic {
				out[i] = append(out[i], assign.TopicPartitions{Topic: p.topic})
			}
			last := &out[i][len(out[i])-1]
			last.Partitions = append(last.Partitions, p.partition)
		}
	}
	return out
}
