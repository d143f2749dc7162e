package share

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// TestSimple assigns random groups again and again, as members and partitions
// come and go, and checks what package doc and simple promise.
func TestSimple(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		same := r.IntN(2) == 0
		topics := []kafka.UUID{{15: 1}, {15: 2}, {15: 3}}[:1+r.IntN(3)]
		var readers []reader
		for range 12 {
			readers = churn(r, readers, topics, same)
			partitions := map[kafka.UUID]topicState{}
			for _, id := range topics {
				if n := int32(r.IntN(7)); n > 0 {
					partitions[id] = topicState{"t", upTo(n)}
				}
			}
			sets := simple(readers, partitions)
			checkSimple(t, seed, readers, partitions, sets)
			if again := simple(with(readers, sets), partitions); !slices.EqualFunc(again, sets, assign.Set.Equal) {
				t.Fatalf("seed %d: %v had %v, and with nothing changed has %v", seed, readers, sets, again)
			}
			readers = with(readers, sets)
		}
	}
}

func with(readers []reader, sets []assign.Set) []reader {
	out := slices.Clone(readers)
	for i := range out {
		out[i].had = sets[i]
	}
	return out
}

func churn(r *rand.Rand, readers []reader, topics []kafka.UUID, same bool) []reader {
	if len(readers) > 0 && r.IntN(3) == 0 {
		i := r.IntN(len(readers))
		readers = slices.Delete(slices.Clone(readers), i, i+1)
	}
	for range r.IntN(4) {
		mine := slices.Clone(topics)
		if !same {
			mine = slices.DeleteFunc(mine, func(kafka.UUID) bool { return r.IntN(3) == 0 })
		}
		readers = append(readers, reader{topics: mine})
	}
	return readers
}

func checkSimple(t *testing.T, seed uint64, readers []reader, partitions map[kafka.UUID]topicState, sets []assign.Set) {
	t.Helper()
	count := readersOf(sets)
	for p := range count {
		if !slices.Contains(partitions[p.topic].partitions, p.partition) {
			t.Fatalf("seed %d: %v is assigned and is not there", seed, p)
		}
	}
	for i, set := range sets {
		for _, tp := range set {
			if !slices.Contains(readers[i].topics, tp.Topic) {
				t.Fatalf("seed %d: reader %d got topic %v, which it does not read", seed, i, tp.Topic)
			}
		}
	}
	for id, ts := range partitions {
		var who []int
		for i := range readers {
			if slices.Contains(readers[i].topics, id) {
				who = append(who, i)
			}
		}
		for _, n := range ts.partitions {
			if p := (place{id, n}); len(who) > 0 && count[p] == 0 {
				t.Fatalf("seed %d: nobody reads %v: %v", seed, p, sets)
			}
		}
		if !sameTopics(readers) {
			checkEven(t, seed, who, appendPlaces(nil, id, ts.partitions), sets)
		}
	}
	if sameTopics(readers) && len(readers) > 0 {
		var all []place
		var who []int
		for _, id := range readers[0].topics {
			all = appendPlaces(all, id, partitions[id].partitions)
		}
		for i := range readers {
			who = append(who, i)
		}
		checkEven(t, seed, who, all, sets)
	}
}

// checkEven says whether readers share places evenly: nobody has more than its
// part, nobody nothing, and no place more readers than its part.
func checkEven(t *testing.T, seed uint64, who []int, places []place, sets []assign.Set) {
	t.Helper()
	if len(who) == 0 || len(places) == 0 {
		return
	}
	most := (len(who) + len(places) - 1) / len(places)
	part := (most*len(places) + len(who) - 1) / len(who)
	of := map[place]int{}
	for _, i := range who {
		n := 0
		for _, p := range places {
			if has(sets[i], p) {
				n++
				of[p]++
			}
		}
		if n == 0 || n > part {
			t.Fatalf("seed %d: reader %d has %d of %d places, with %d readers: %v", seed, i, n, len(places), len(who), sets)
		}
	}
	for p, n := range of {
		if n > most {
			t.Fatalf("seed %d: %v has %d readers of %d, over %d places", seed, p, n, len(who), len(places))
		}
	}
}

// TestSimpleKeeps keeps what readers had when one comes or goes.
func TestSimpleKeeps(t *testing.T) {
	topic := kafka.UUID{15: 1}
	partitions := map[kafka.UUID]topicState{topic: {"t", upTo(12)}}
	moved := func(before, after []reader) int {
		sets := simple(with(before, simple(before, partitions)), partitions)
		had := with(before, sets)
		next := make([]reader, len(after))
		for i := range after {
			next[i] = reader{topics: after[i].topics}
			if i < len(had) {
				next[i].had = had[i].had
			}
		}
		n := 0
		for i, set := range simple(next, partitions) {
			for _, tp := range set {
				for _, p := range tp.Partitions {
					if !has(next[i].had, place{tp.Topic, p}) {
						n++
					}
				}
			}
		}
		return n
	}
	of := func(n int) []reader {
		out := make([]reader, n)
		for i := range out {
			out[i].topics = []kafka.UUID{topic}
		}
		return out
	}
	if n := moved(of(3), of(4)); n != 3 {
		t.Errorf("a fourth reader of 12 partitions moves %d, not 3", n)
	}
	if n := moved(of(4), of(3)); n != 3 {
		t.Errorf("without the last of four readers %d of 12 partitions move, not 3", n)
	}
}
