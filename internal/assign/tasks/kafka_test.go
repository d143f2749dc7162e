package tasks

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestKafka asks Kafka's own assignor about the groups of random histories, and
// gets the same assignment, task by task: the ids that it is asked with stand in
// Java's hash tables in their order. It needs java and, in
// MYELIN_KAFKA_CLASSPATH, the jars of a Kafka 4.4 broker.
func TestKafka(t *testing.T) {
	classpath := os.Getenv("MYELIN_KAFKA_CLASSPATH")
	if classpath == "" {
		t.Skip("MYELIN_KAFKA_CLASSPATH is not set")
	}
	var questions bytes.Buffer
	var want []string
	for seed := range uint64(400) {
		h := newHistory(seed)
		for range 5 {
			h.change()
			fmt.Fprintln(&questions, h.question())
			want = append(want, h.answer(h.assign()))
		}
	}
	asked := strings.Split(questions.String(), "\n")
	cmd := exec.Command("java", "-cp", classpath, "testdata/Oracle.java")
	cmd.Stdin, cmd.Stderr = &questions, os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 1<<20)
	wrong := 0
	for i := range want {
		if !lines.Scan() {
			t.Fatalf("%d answers to %d questions", i, len(want))
		}
		if got := lines.Text(); got != want[i] && wrong < 3 {
			wrong++
			t.Errorf("asked %s\nKafka %s\nours  %s", asked[i], got, want[i])
		}
	}
	t.Logf("%d groups", len(want))
}

// history is a group as its members come and go, and its topology and what
// members say of their disks change.
type history struct {
	rand     *rand.Rand
	members  []Member
	topology []Subtopology
	standbys int
	wide     bool // many members, one to a process
	drawn    int
}

func newHistory(seed uint64) *history {
	h := &history{rand: rand.New(rand.NewPCG(seed, 17))}
	h.wide = h.rand.IntN(4) == 0
	for i := range 1 + h.rand.IntN(4) {
		h.topology = append(h.topology, Subtopology{fmt.Sprint(i), 1 + h.rand.Int32N(12), h.rand.IntN(3) > 0})
	}
	h.standbys = h.rand.IntN(4)
	for range 1 + h.rand.IntN(6) {
		h.join()
	}
	return h
}

func (h *history) join() {
	limit, process := 16, fmt.Sprintf("p%02d", h.rand.IntN(6))
	if h.wide {
		limit, process = 60, fmt.Sprintf("p%03d", h.drawn)
	}
	if len(h.members) < limit {
		h.members = append(h.members, Member{ID: fmt.Sprintf("m%03d", h.drawn), Process: process})
		h.drawn++
	}
}

// change lets something happen between two assignments.
func (h *history) change() {
	for range h.rand.IntN(3) {
		h.join()
	}
	if len(h.members) > 1 && h.rand.IntN(2) == 0 {
		i := h.rand.IntN(len(h.members))
		h.members = slices.Delete(h.members, i, i+1)
	}
	if h.rand.IntN(8) == 0 {
		h.standbys = h.rand.IntN(4)
	}
	for i := range h.members {
		m := &h.members[i]
		if h.rand.IntN(5) == 0 { // it began anew
			m.Active, m.Standby = nil, nil
		}
		if h.rand.IntN(3) == 0 {
			m.Offsets = map[Task]int64{}
			for _, s := range h.topology {
				for p := range s.Tasks {
					if h.rand.IntN(6) == 0 {
						m.Offsets[Task{s.ID, p}] = h.rand.Int64N(4)
					}
				}
			}
		}
	}
}

// assign assigns, and lets all members take what they are given.
func (h *history) assign() map[string]Share {
	shares := Assign(h.members, h.topology, h.standbys)
	for i := range h.members {
		s := shares[h.members[i].ID]
		h.members[i].Active, h.members[i].Standby = s.Active, s.Standby
	}
	return shares
}

func (h *history) question() string {
	var processes []string
	for _, m := range h.members {
		processes = append(processes, m.Process)
	}
	processes = slices.Compact(slices.Sorted(slices.Values(processes)))
	var b strings.Builder
	fmt.Fprintf(&b, "%d;", h.standbys)
	for i, s := range h.topology {
		stateful := 0
		if s.Stateful {
			stateful = 1
		}
		fmt.Fprintf(&b, "%s%s:%d:%d", []string{"", ","}[min(i, 1)], s.ID, s.Tasks, stateful)
	}
	for i, m := range h.members { // in the order of their ids
		var offsets []string
		for t, o := range m.Offsets {
			offsets = append(offsets, fmt.Sprintf("%s_%d=%d", t.Subtopology, t.Partition, o))
		}
		fmt.Fprintf(&b, ";%d|%d|%s|%s|%s", i, slices.Index(processes, m.Process), list(m.Active), list(m.Standby), strings.Join(offsets, ","))
	}
	return b.String()
}

func (h *history) answer(shares map[string]Share) string {
	var all []string
	for i, m := range h.members {
		s := shares[m.ID]
		all = append(all, fmt.Sprintf("%d|%s|%s", i, list(s.Active), list(s.Standby)))
	}
	return strings.Join(all, ";")
}

func list(tasks []Task) string {
	var all []string
	for _, t := range tasks {
		all = append(all, fmt.Sprintf("%s_%d", t.Subtopology, t.Partition))
	}
	return strings.Join(all, ",")
}
