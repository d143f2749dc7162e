package assign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
)

func topic(n int) kafka.UUID { return kafka.UUID{0: byte(n * 83), 1: byte(n >> 8), 15: byte(n)} }

// randomGroup is a group whose members had what an earlier assignment gave them.
func randomGroup(rnd *rand.Rand) *Group {
	sizes := map[kafka.UUID]int32{}
	var topics []kafka.UUID
	for i := range rnd.IntN(6) {
		topics = append(topics, topic(i))
		sizes[topic(i)] = int32(rnd.IntN(12))
	}
	slices.SortFunc(topics, Compare)
	g := &Group{Partitions: func(t kafka.UUID) int32 { return sizes[t] }}
	alike := rnd.IntN(2) == 0
	for i := range 1 + rnd.IntN(9) {
		m := Member{ID: fmt.Sprintf("m%d", i), Topics: topics}
		if rnd.IntN(2) == 0 {
			m.Instance = fmt.Sprintf("i%d", 9-i)
		}
		if !alike {
			m.Topics = slices.DeleteFunc(slices.Clone(topics), func(kafka.UUID) bool { return rnd.IntN(3) == 0 })
		}
		g.Members = append(g.Members, m)
	}
	had := map[kafka.UUID]map[int32]bool{}
	for i := range g.Members { // anything at all, but nothing twice
		for _, t := range append(slices.Clone(topics), topic(200)) {
			tp := TopicPartitions{Topic: t}
			for p := range int32(14) {
				if rnd.IntN(4) == 0 && !had[t][p] {
					if had[t] == nil {
						had[t] = map[int32]bool{}
					}
					had[t][p] = true
					tp.Partitions = append(tp.Partitions, p)
				}
			}
			if len(tp.Partitions) > 0 {
				g.Members[i].Had = append(g.Members[i].Had, tp)
			}
		}
		slices.SortFunc(g.Members[i].Had, func(a, b TopicPartitions) int { return Compare(a.Topic, b.Topic) })
	}
	return g
}

// The promises of the package comment, on random groups.
func TestPromises(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		g := randomGroup(rnd)
		for _, name := range []string{UniformName, RangeName} {
			assignor, _ := Named(name)
			sets := assignor(g)
			check(t, g, sets)
			if again := assignor(g); !slices.EqualFunc(sets, again, Set.Equal) {
				t.Fatalf("%s gives %v, then %v", name, sets, again)
			}
			if name == UniformName && g.homogeneous() {
				checkUniform(t, g, sets)
			}
			for i := range g.Members { // what is good once is good again
				g.Members[i].Had = sets[i]
			}
			if again := assignor(g); !slices.EqualFunc(sets, again, Set.Equal) {
				t.Fatalf("%s gives %v, then from there %v", name, sets, again)
			}
		}
	}
}

func check(t *testing.T, g *Group, sets []Set) {
	t.Helper()
	type place struct {
		topic     kafka.UUID
		partition int32
	}
	owner := map[place]string{}
	for i, m := range g.Members {
		for _, tp := range sets[i] {
			if !slices.Contains(m.Topics, tp.Topic) || len(tp.Partitions) == 0 || !slices.IsSorted(tp.Partitions) {
				t.Fatalf("%s, which reads %v, is given %v", m.ID, m.Topics, sets[i])
			}
			for _, p := range tp.Partitions {
				at := place{tp.Topic, p}
				if other, ok := owner[at]; ok || p >= g.Partitions(tp.Topic) {
					t.Fatalf("%v is given to %s, and to %q", at, m.ID, other)
				}
				owner[at] = m.ID
			}
		}
	}
	want := 0
	for n := range 7 {
		if slices.ContainsFunc(g.Members, func(m Member) bool { return slices.Contains(m.Topics, topic(n)) }) {
			want += int(g.Partitions(topic(n)))
		}
	}
	if len(owner) != want {
		t.Fatalf("%d of %d partitions are given out", len(owner), want)
	}
}

// checkUniform says whether the numbers differ by one at most, and whether no
// more partitions moved than such numbers need.
func checkUniform(t *testing.T, g *Group, sets []Set) {
	t.Helper()
	total, least, most := 0, 1<<30, 0
	for _, s := range sets {
		total, least, most = total+s.Len(), min(least, s.Len()), max(most, s.Len())
	}
	if most-least > 1 {
		t.Fatalf("from %d to %d partitions: %v", least, most, sets)
	}
	share, more := total/len(sets), total%len(sets)
	stay, kept := 0, 0 // the most that can stay, and what did
	for i, m := range g.Members {
		b := newBoard(g, m.Topics)
		had := 0
		b.had(i, func(int, int32) { had++ })
		stay += min(had, share)
		if had > share && more > 0 {
			stay, more = stay+1, more-1
		}
		for _, tp := range sets[i] {
			for _, p := range tp.Partitions {
				if slices.Contains(m.Had.Of(tp.Topic), p) {
					kept++
				}
			}
		}
	}
	if kept != stay {
		t.Fatalf("%d partitions stay, %d could", kept, stay)
	}
}

// Two topics with the same partitions meet at the same members, and a static
// member that returns under another id has its old place.
func TestRange(t *testing.T) {
	a, b := topic(1), topic(2)
	topics := []kafka.UUID{a, b}
	slices.SortFunc(topics, Compare)
	g := &Group{Partitions: func(kafka.UUID) int32 { return 5 }, Members: []Member{
		{ID: "m1", Topics: topics}, {ID: "m2", Instance: "z", Topics: topics}, {ID: "m3", Instance: "b", Topics: topics},
	}}
	want := [][]int32{{4}, {2, 3}, {0, 1}}
	for round := range 2 {
		for i, s := range Range(g) {
			for _, id := range topics {
				if !slices.Equal(s.Of(id), want[i]) {
					t.Fatalf("round %d: %s is given %v, not %v", round, g.Members[i].ID, s, want[i])
				}
			}
		}
		g.Members[2].ID = "m9" // it restarted
	}
}

func BenchmarkUniform(b *testing.B) {
	for _, alike := range []bool{true, false} {
		b.Run(fmt.Sprintf("1000 members, 10000 partitions, alike=%v", alike), func(b *testing.B) {
			var topics []kafka.UUID
			for i := range 100 {
				topics = append(topics, topic(i))
			}
			slices.SortFunc(topics, Compare)
			g := &Group{Partitions: func(kafka.UUID) int32 { return 100 }}
			for i := range 1000 {
				m := Member{ID: fmt.Sprintf("m%04d", i), Topics: topics}
				if !alike && i%2 == 0 {
					m.Topics = topics[:50]
				}
				g.Members = append(g.Members, m)
			}
			for b.Loop() {
				Uniform(g)
			}
		})
	}
}
