//go:build compat

package compat

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// TestAssignors takes 1,000 random groups through steps in which members come,
// go, restart and change their subscriptions, and topics come, grow and go, and
// asks Kafka's own classes for every step what they would do.
//
//   - Range gives the same assignment.
//   - Uniform, when the members subscribe to different topics, gives the same
//     assignment if Kafka gets the members in the order of their ids. Its
//     coordinator gives them in the order of a hash table, by which only ties are
//     broken otherwise; ours does not depend on that.
//   - Uniform, when all subscribe to the same topics, gives members the same
//     numbers of partitions and moves as many. Which partitions they are depends
//     on the order of a hash table in Kafka.
//
// At no step does a partition have two members, or none.
func TestAssignors(t *testing.T) {
	var cases []assignCase
	for seed := range uint64(1000) {
		cases = append(cases, assignCases(seed)...)
	}
	var in strings.Builder
	for i := range cases {
		cases[i].write(&in)
	}
	for _, order := range []string{"sorted", "hashed"} {
		out := run(t, 5*time.Minute, in.String(), java(t, "broker", "java/Assignors.java", order)...).stdout
		theirs := strings.Split(strings.TrimSuffix(out, "end\n"), "end\n")
		if len(theirs) != len(cases) {
			t.Fatalf("%d answers to %d questions", len(theirs), len(cases))
		}
		var same, spread, moves, fewer, more, flatter, steeper int
		for i := range cases {
			c := &cases[i]
			their := parseSets(t, theirs[i])
			if err := c.check(c.ours); err != nil {
				t.Fatalf("%v\n%s", err, c)
			}
			if c.equal(their) {
				same++
				continue
			}
			if c.assignor == assign.RangeName || order == "sorted" && !c.homogeneous() {
				t.Fatalf("%s, %s: ours is\n%v\nKafka's is\n%v\nof\n%s", c.assignor, order, c.ours, their, c)
			}
			our, kafkas := c.cost(c.ours), c.cost(their)
			if c.homogeneous() && our != kafkas {
				t.Fatalf("uniform: ours costs %+v, Kafka's %+v\n%s", our, kafkas, c)
			}
			spread, moves = spread+our.spread-kafkas.spread, moves+our.moves-kafkas.moves
			fewer, more = fewer+b2i(our.moves < kafkas.moves), more+b2i(our.moves > kafkas.moves)
			flatter, steeper = flatter+b2i(our.spread < kafkas.spread), steeper+b2i(our.spread > kafkas.spread)
		}
		t.Logf("%s: %d assignments, %d are Kafka's to the partition; of the others %d move fewer, %d more (in sum %+d); %d are flatter, %d steeper (in sum %+d)",
			order, len(cases), same, fewer, more, moves, flatter, steeper, spread)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// assignCase is one question, and our answer.
type assignCase struct {
	assignor string
	topics   map[kafka.UUID]int32
	members  []assign.Member
	racks    []string // of the members
	ours     []assign.Set
}

func (c *assignCase) group() *assign.Group {
	return &assign.Group{Members: c.members, Partitions: func(t kafka.UUID) int32 { return c.topics[t] }}
}

// assignCases is a group in some of its steps.
func assignCases(seed uint64) []assignCase {
	rnd := rand.New(rand.NewPCG(seed, 8))
	assignor := []string{assign.UniformName, assign.UniformName, assign.RangeName}[rnd.IntN(3)]
	assignTo, _ := assign.Named(assignor)
	alike := rnd.IntN(2) == 0 // all subscribe to the same topics
	w := assignWorld{rnd: rnd, alike: alike, topics: map[kafka.UUID]int32{}, members: map[string]*assign.Member{}, racks: map[string]string{}}
	for range 1 + rnd.IntN(6) {
		w.newTopic()
	}
	for range 1 + rnd.IntN(12) {
		w.newMember("", nil)
	}
	var cases []assignCase
	for range 4 + rnd.IntN(5) {
		w.subscribe()
		c := assignCase{assignor: assignor, topics: maps.Clone(w.topics)}
		for _, id := range slices.Sorted(maps.Keys(w.members)) {
			c.members = append(c.members, *w.members[id])
			c.racks = append(c.racks, w.racks[id])
		}
		c.ours = assignTo(c.group())
		for i, m := range c.members {
			w.members[m.ID].Had = c.ours[i]
		}
		cases = append(cases, c)
		for range 1 + rnd.IntN(3) {
			w.churn()
		}
	}
	return cases
}

type assignWorld struct {
	rnd     *rand.Rand
	alike   bool
	topics  map[kafka.UUID]int32
	members map[string]*assign.Member
	racks   map[string]string
	drawn   int // instance ids
}

func (w *assignWorld) newTopic() {
	var id kafka.UUID
	for i := range id {
		id[i] = byte(w.rnd.IntN(256))
	}
	w.topics[id] = int32(1 + w.rnd.IntN([]int{3, 8, 40}[w.rnd.IntN(3)]))
}

func (w *assignWorld) newMember(instance string, had assign.Set) {
	id := fmt.Sprintf("m%08x", w.rnd.Uint32())
	if instance == "" && w.rnd.IntN(3) == 0 {
		w.drawn++
		instance = fmt.Sprintf("i%d", (w.drawn*37)%100)
	}
	w.members[id] = &assign.Member{ID: id, Instance: instance, Had: had}
	w.racks[id] = []string{"", "r0", "r1", "r2"}[w.rnd.IntN(4)]
}

func (w *assignWorld) topicIDs() []kafka.UUID {
	return slices.SortedFunc(maps.Keys(w.topics), assign.Compare)
}

// subscribe sees to it that members subscribe to what there is.
func (w *assignWorld) subscribe() {
	for _, id := range slices.Sorted(maps.Keys(w.members)) {
		m := w.members[id]
		switch {
		case w.alike:
			m.Topics = w.topicIDs()
		case m.Topics == nil || w.rnd.IntN(8) == 0:
			m.Topics = slices.DeleteFunc(w.topicIDs(), func(kafka.UUID) bool { return w.rnd.IntN(2) == 0 })
		default:
			m.Topics = slices.DeleteFunc(slices.Clone(m.Topics), func(t kafka.UUID) bool { return w.topics[t] == 0 })
		}
	}
}

func (w *assignWorld) churn() {
	ids := slices.Sorted(maps.Keys(w.members))
	some := func() string { return ids[w.rnd.IntN(len(ids))] }
	topics := w.topicIDs()
	switch n := w.rnd.IntN(10); {
	case n < 3:
		w.newMember("", nil)
	case n < 5 && len(ids) > 1:
		id := some()
		delete(w.members, id)
	case n < 7:
		if id := some(); w.members[id].Instance != "" { // it restarts
			old := w.members[id]
			delete(w.members, id)
			w.newMember(old.Instance, old.Had)
		}
	case n < 8:
		w.newTopic()
	case n < 9:
		w.topics[topics[w.rnd.IntN(len(topics))]] += int32(1 + w.rnd.IntN(4))
	case len(topics) > 1:
		delete(w.topics, topics[w.rnd.IntN(len(topics))])
	}
}

func (c *assignCase) homogeneous() bool {
	for _, m := range c.members {
		if !slices.Equal(m.Topics, c.members[0].Topics) {
			return false
		}
	}
	return true
}

// write asks the question of Assignors.java:
//
//	group ASSIGNOR
//	topic ID PARTITIONS
//	member ID INSTANCE RACK TOPIC,TOPIC TOPIC:0,1;TOPIC:2
//	end
func (c *assignCase) write(b *strings.Builder) {
	fmt.Fprintf(b, "group %s\n", c.assignor)
	for _, id := range slices.SortedFunc(maps.Keys(c.topics), assign.Compare) {
		fmt.Fprintf(b, "topic %x %d\n", id[:], c.topics[id])
	}
	for i, m := range c.members {
		var topics, had []string
		for _, t := range m.Topics {
			topics = append(topics, hex.EncodeToString(t[:]))
		}
		for _, tp := range m.Had {
			parts := strings.ReplaceAll(strings.Trim(fmt.Sprint(tp.Partitions), "[]"), " ", ",")
			had = append(had, hex.EncodeToString(tp.Topic[:])+":"+parts)
		}
		fmt.Fprintf(b, "member %s %s %s %s %s\n", m.ID, m.Instance, c.racks[i], strings.Join(topics, ","), strings.Join(had, ";"))
	}
	b.WriteString("end\n")
}

func (c *assignCase) String() string {
	var b strings.Builder
	c.write(&b)
	return b.String()
}

// owned is who has which partition, as "topic:partition".
type owned map[string]map[string]bool

func parseSets(t *testing.T, s string) owned {
	o := owned{}
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		o[f[0]] = map[string]bool{}
		for _, p := range f[1:] {
			if o[f[0]][p] {
				t.Fatalf("%s twice in %q", p, line)
			}
			o[f[0]][p] = true
		}
	}
	return o
}

func partitionsOf(s assign.Set) []string {
	var out []string
	for _, tp := range s {
		for _, p := range tp.Partitions {
			out = append(out, hex.EncodeToString(tp.Topic[:])+":"+strconv.Itoa(int(p)))
		}
	}
	return out
}

func (c *assignCase) equal(their owned) bool {
	for i, m := range c.members {
		ours := partitionsOf(c.ours[i])
		if len(ours) != len(their[m.ID]) || slices.ContainsFunc(ours, func(p string) bool { return !their[m.ID][p] }) {
			return false
		}
	}
	return true
}

// check says whether each partition that somebody subscribes to has exactly one
// member, which subscribes to it.
func (c *assignCase) check(sets []assign.Set) error {
	want, got := map[string]bool{}, map[string]string{}
	for i, m := range c.members {
		for _, t := range m.Topics {
			for p := range c.topics[t] {
				want[hex.EncodeToString(t[:])+":"+strconv.Itoa(int(p))] = true
			}
		}
		for _, tp := range sets[i] {
			if !slices.Contains(m.Topics, tp.Topic) {
				return fmt.Errorf("%s does not subscribe to %x", m.ID, tp.Topic)
			}
		}
		for _, p := range partitionsOf(sets[i]) {
			if other, ok := got[p]; ok {
				return fmt.Errorf("%s is given to %s and to %s", p, other, m.ID)
			}
			got[p] = m.ID
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d of %d partitions are given out", len(got), len(want))
	}
	return nil
}

// cost is what an assignment is judged by.
type cost struct {
	spread int // sum of the squares of the members' numbers of partitions
	moves  int // partitions that were with another member
}

func (c *assignCase) cost(of any) cost {
	var k cost
	for i, m := range c.members {
		var has map[string]bool
		switch of := of.(type) {
		case owned:
			has = of[m.ID]
		case []assign.Set:
			has = map[string]bool{}
			for _, p := range partitionsOf(of[i]) {
				has[p] = true
			}
		}
		k.spread += len(has) * len(has)
		for _, p := range partitionsOf(m.Had) {
			if !has[p] {
				k.moves++ // it went elsewhere, or the topic is read no more: the same for all
			}
		}
	}
	return k
}
