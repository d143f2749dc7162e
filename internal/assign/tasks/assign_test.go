package tasks

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestAssign checks what every assignment promises, over random histories: each
// task is active once; a stateful one has as many standbys as are wanted and as
// there are other processes for, and never two copies in one process; nobody has more
// than one active task above an even share; and the order of the arguments is of
// no matter.
func TestAssign(t *testing.T) {
	for seed := range uint64(500) {
		h := newHistory(seed)
		for range 6 {
			h.change()
			check(t, h, h.assign())
			again := Assign(h.members, h.topology, h.standbys)
			shuffled := append([]Member(nil), h.members...)
			rand.New(rand.NewPCG(seed, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := Assign(shuffled, h.topology, h.standbys); !reflect.DeepEqual(got, again) {
				t.Fatalf("seed %d: the order of members matters: %v, %v", seed, got, again)
			}
			if t.Failed() {
				t.Fatalf("seed %d: %s", seed, h.question())
			}
		}
	}
}

func check(t *testing.T, h *history, shares map[string]Share) {
	active := map[Task]int{}
	copies := map[Task]int{}
	in := map[string]map[Task]bool{}
	most := 0
	for _, m := range h.members {
		if in[m.Process] == nil {
			in[m.Process] = map[Task]bool{}
		}
		s, ok := shares[m.ID]
		if !ok {
			t.Errorf("%s has no share", m.ID)
		}
		most = max(most, len(s.Active))
		for _, task := range s.Active {
			active[task]++
		}
		for _, task := range append(append([]Task(nil), s.Active...), s.Standby...) {
			if in[m.Process][task] {
				t.Errorf("%s has %v twice", m.Process, task)
			}
			in[m.Process][task] = true
			copies[task]++
		}
	}
	for _, s := range h.topology {
		want := 1
		if s.Stateful {
			want = min(1+h.standbys, len(in))
		}
		for p := range s.Tasks {
			if task := (Task{s.ID, p}); active[task] != 1 || copies[task] != want {
				t.Errorf("%v is active %d times, and has %d copies of %d", task, active[task], copies[task], want)
			}
		}
	}
	if even := (len(active) + len(h.members) - 1) / len(h.members); most > even+1 {
		t.Errorf("%d active tasks, %d would be even", most, even)
	}
}

// TestNobody has nothing to assign to.
func TestNobody(t *testing.T) {
	if got := Assign(nil, []Subtopology{{"0", 3, true}}, 2); len(got) != 0 {
		t.Error(got)
	}
}
