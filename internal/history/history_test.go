package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parse reads an operation from a line such as
//
//	p1 ok send a@3=30 poll a@1=10,b@0=5 moved a group
//
// where @? is an offset that nobody knows.
func parse(t *testing.T, line string) Op {
	t.Helper()
	f := strings.Fields(line)
	op := Op{}
	var err error
	if op.Process, err = strconv.Atoi(strings.TrimPrefix(f[0], "p")); err != nil {
		t.Fatal(line, err)
	}
	op.Outcome = map[string]Outcome{"ok": OK, "fail": Fail, "info": Info}[f[1]]
	for i := 2; i < len(f); i++ {
		switch f[i] {
		case "send":
			i++
			for _, r := range strings.Split(f[i], ",") {
				op.Steps = append(op.Steps, Step{Send: true, Sent: parseRecord(t, r)})
			}
		case "poll":
			i++
			s := Step{}
			for _, r := range strings.Split(f[i], ",") {
				s.Polled = append(s.Polled, parseRecord(t, r))
			}
			op.Steps = append(op.Steps, s)
		case "moved":
			i++
			op.Moved = strings.Split(f[i], ",")
		case "group":
			op.Group = true
		default:
			t.Fatalf("%q in %q", f[i], line)
		}
	}
	return op
}

func parseRecord(t *testing.T, s string) Record {
	t.Helper()
	key, rest, _ := strings.Cut(s, "@")
	at, v, _ := strings.Cut(rest, "=")
	r := Record{Key: key, Offset: Unknown}
	var err error
	if at != "?" {
		if r.Offset, err = strconv.ParseInt(at, 10, 64); err != nil {
			t.Fatal(s, err)
		}
	}
	if r.Value, err = strconv.ParseInt(v, 10, 64); err != nil {
		t.Fatal(s, err)
	}
	return r
}

// TestAnomalies: a smallest history of each class, and what is allowed although
// it looks like one.
func TestAnomalies(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  string
		o    Options
		want string // classes
	}{
		{"nothing wrong", `
			p1 ok send a@0=1,b@0=2
			p1 ok send a@2=3
			p2 ok poll a@0=1,b@0=2
			p2 ok poll a@2=3`, Options{Final: true}, ""},
		{"two values at one offset", `
			p1 ok send a@0=1
			p2 ok send a@?=2
			p3 ok poll a@0=1
			p4 ok poll a@0=2`, Options{}, "inconsistent-offsets"},
		{"a send and a read disagree", `
			p1 ok send a@0=1
			p1 ok send a@1=2
			p3 ok poll a@0=2`, Options{}, "duplicate inconsistent-offsets lost-write"},
		{"one value twice", `
			p1 ok send a@0=1
			p2 ok poll a@0=1,a@1=1`, Options{}, "duplicate int-nonmonotonic-poll"},
		{"an aborted read", `
			p1 fail send a@?=1
			p2 ok poll a@0=1`, Options{}, "G1a"},
		{"of an uncommitted reader", `
			p1 fail send a@?=1
			p2 ok poll a@0=1`, Options{Uncommitted: true}, ""},
		{"nobody sent it", `
			p2 ok poll a@0=1`, Options{}, "unknown-writer"},
		{"readers went past", `
			p1 ok send a@0=1
			p1 ok send a@1=2
			p2 ok poll a@1=2 moved a`, Options{}, "lost-write"},
		{"nobody knows whether it was written", `
			p1 info send a@?=1
			p1 ok send a@1=2
			p2 ok poll a@1=2 moved a`, Options{Final: true}, ""},
		{"somebody of the same operation was seen", `
			p1 info send a@0=1,b@0=5
			p1 ok send a@1=2
			p2 ok poll a@1=2,b@0=5 moved a`, Options{}, "lost-write"},
		{"acknowledged, never found", `
			p1 ok send a@0=1
			p1 ok send a@1=2
			p2 ok poll a@0=1`, Options{Final: true}, "unseen"},
		{"not read yet", `
			p1 ok send a@0=1
			p1 ok send a@1=2
			p2 ok poll a@0=1`, Options{}, ""},
		{"half of a transaction", `
			p1 info send a@?=1,b@?=2
			p2 ok poll a@0=1`, Options{Final: true}, "torn-transaction"},
		{"a jump between two reads", `
			p1 ok send a@0=1,a@1=2,a@2=3
			p2 ok poll a@0=1
			p3 ok poll a@1=2
			p2 ok poll a@2=3`, Options{}, "poll-skip"},
		{"a jump that a rebalance explains", `
			p1 ok send a@0=1,a@1=2,a@2=3
			p2 ok poll a@0=1
			p3 ok poll a@1=2
			p2 ok poll a@2=3 moved a
			p2 ok poll a@0=1 group`, Options{}, ""},
		{"a step back", `
			p1 ok send a@0=1,a@1=2
			p2 ok poll a@0=1,a@1=2
			p2 ok poll a@1=2`, Options{}, "nonmonotonic-poll"},
		{"reads of failed operations do not move the position", `
			p1 ok send a@0=1,a@1=2
			p2 fail poll a@0=1,a@1=2
			p2 ok poll a@0=1,a@1=2`, Options{}, ""},
		{"a jump within a read", `
			p1 ok send a@0=1,a@1=2,a@2=3
			p3 ok poll a@1=2
			p2 ok poll a@0=1,a@2=3`, Options{}, "int-poll-skip"},
		{"a step back within a read", `
			p1 ok send a@0=1,a@1=2
			p2 ok poll a@1=2,a@0=1`, Options{}, "int-nonmonotonic-poll"},
		{"sends out of order", `
			p1 ok send a@1=1
			p1 ok send a@0=2
			p2 ok poll a@0=2,a@1=1`, Options{}, "nonmonotonic-send"},
		{"sends out of order within a transaction", `
			p1 ok send a@1=1,a@0=2
			p2 ok poll a@0=2,a@1=1`, Options{}, "int-nonmonotonic-send"},
		{"sends of two between each other", `
			p1 ok send a@0=1,a@2=3
			p2 ok send a@1=2
			p3 ok poll a@0=1,a@1=2,a@2=3`, Options{}, ""},
		{"read before it is committed", `
			p1 ok send a@0=1 poll a@0=1`, Options{}, "precommitted-read"},
		{"a circle of reads", `
			p1 ok send a@0=1 poll b@0=2
			p2 ok send b@0=2 poll a@0=1`, Options{}, "G1c"},
		{"a circle of three", `
			p1 ok send a@0=1 poll c@0=3
			p2 ok send b@0=2 poll a@0=1
			p3 ok send c@0=3 poll b@0=2`, Options{}, "G1c"},
		{"a circle of writes is allowed", `
			p1 ok send a@0=1,b@1=3
			p2 ok send a@1=2,b@0=4
			p3 ok poll a@0=1,a@1=2,b@0=4,b@1=3`, Options{}, ""},
	} {
		var ops []Op
		for _, line := range strings.Split(strings.TrimSpace(c.ops), "\n") {
			ops = append(ops, parse(t, strings.TrimSpace(line)))
		}
		found := Check(ops, c.o)
		var classes []string
		for _, a := range found {
			classes = append(classes, string(a.Class))
		}
		slices.Sort(classes)
		if got := strings.Join(slices.Compact(classes), " "); got != c.want {
			t.Errorf("%s: %q, want %q\n%v", c.name, got, c.want, found)
		}
	}
}

// world is a log that works, with transactional writers and readers, and the
// history they make.
type world struct {
	dice *rand.Rand
	logs map[string][]Record // committed records; gaps are aborted ones and markers
	next map[string]int64
	ops  []Op
	v    int64
}

func (w *world) transact(process int) {
	op := Op{Process: process}
	switch n := w.dice.IntN(10); {
	case n == 0:
		op.Outcome = Fail
	case n == 1:
		op.Outcome = Info
	}
	lands := op.Outcome == OK || op.Outcome == Info && w.dice.IntN(2) == 0
	keys := map[string]bool{}
	for range 1 + w.dice.IntN(4) {
		key := "k" + strconv.Itoa(w.dice.IntN(3))
		w.v++
		r := Record{Key: key, Offset: w.next[key], Value: w.v}
		w.next[key]++
		keys[key] = true
		if lands {
			w.logs[key] = append(w.logs[key], r)
		}
		if w.dice.IntN(3) == 0 || op.Outcome != OK {
			r.Offset = Unknown
		}
		op.Steps = append(op.Steps, Step{Send: true, Sent: r})
	}
	for key := range keys {
		w.next[key]++ // the marker
	}
	w.ops = append(w.ops, op)
}

func (w *world) poll(process int, at map[string]int) {
	op := Op{Process: process}
	s := Step{}
	for _, key := range []string{"k0", "k1", "k2"} {
		n := min(w.dice.IntN(4), len(w.logs[key])-at[key])
		s.Polled = append(s.Polled, w.logs[key][at[key]:at[key]+n]...)
		at[key] += n
	}
	op.Steps = append(op.Steps, s)
	w.ops = append(w.ops, op)
}

func play(seed uint64) *world {
	w := &world{dice: rand.New(rand.NewPCG(seed, 1)), logs: map[string][]Record{}, next: map[string]int64{}}
	at := []map[string]int{{}, {}}
	for range 60 {
		if w.dice.IntN(3) == 0 {
			r := w.dice.IntN(2)
			w.poll(10+r, at[r])
		} else {
			w.transact(w.dice.IntN(3))
		}
	}
	last := Op{Process: 20}
	for _, key := range []string{"k0", "k1", "k2"} {
		last.Steps = append(last.Steps, Step{Polled: slices.Clone(w.logs[key])})
	}
	w.ops = append(w.ops, last)
	return w
}

// TestHistories: what a log that works gives is found faultless, and each wrong
// that is done to it is found.
func TestHistories(t *testing.T) {
	wrongs := map[string]func(w *world) (want []Class, done bool){
		"a record is dropped": func(w *world) ([]Class, bool) {
			polled := w.ops[len(w.ops)-1].Steps[0].Polled
			if len(polled) < 3 {
				return nil, false
			}
			gone := polled[len(polled)/2]
			for i := range w.ops {
				for j := range w.ops[i].Steps {
					s := &w.ops[i].Steps[j]
					s.Polled = slices.DeleteFunc(s.Polled, func(r Record) bool { return r == gone })
				}
			}
			return []Class{LostWrite, Unseen, TornTransaction}, !w.infoWriter(gone)
		},
		"an aborted record is shown": func(w *world) ([]Class, bool) {
			for _, op := range w.ops {
				if op.Outcome == Fail {
					r := op.Steps[0].Sent
					r.Offset = 1 << 40
					last := &w.ops[len(w.ops)-1]
					last.Steps = append(last.Steps, Step{Polled: []Record{r}})
					return []Class{AbortedRead}, true
				}
			}
			return nil, false
		},
		"a record is doubled": func(w *world) ([]Class, bool) {
			last := &w.ops[len(w.ops)-1]
			if len(last.Steps[0].Polled) == 0 {
				return nil, false
			}
			r := last.Steps[0].Polled[0]
			r.Offset = 1 << 40
			last.Steps = append(last.Steps, Step{Polled: []Record{r}})
			return []Class{Duplicate}, true
		},
		"two records change places": func(w *world) ([]Class, bool) {
			p := w.ops[len(w.ops)-1].Steps[0].Polled
			if len(p) < 2 {
				return nil, false
			}
			p[0], p[1] = p[1], p[0]
			return []Class{InnerNonmonotonicPoll}, true
		},
	}
	for seed := range uint64(300) {
		if found := Check(play(seed).ops, Options{Final: true}); len(found) > 0 {
			t.Fatalf("seed %d: %v", seed, found)
		}
		for name, wrong := range wrongs {
			w := play(seed)
			want, done := wrong(w)
			if !done {
				continue
			}
			found := Check(w.ops, Options{Final: true})
			if !slices.ContainsFunc(found, func(a Anomaly) bool { return slices.Contains(want, a.Class) }) {
				t.Errorf("seed %d: %s and nothing of %v is found: %v", seed, name, want, found)
			}
		}
	}
}

// infoWriter says that nobody would miss a record: its writer does not know
// whether it was written, and nothing else of it is there.
func (w *world) infoWriter(r Record) bool {
	for _, op := range w.ops {
		for _, s := range op.Steps {
			if s.Send && s.Sent.Key == r.Key && s.Sent.Value == r.Value {
				return op.Outcome == Info && len(op.Steps) == 1
			}
		}
	}
	return false
}

// TestChain: a long history in which each reads of the one before is no circle,
// and costs no stack.
func TestChain(t *testing.T) {
	var ops []Op
	for i := range 20_000 {
		op := Op{Process: i, Steps: []Step{{Send: true, Sent: Record{Key: fmt.Sprint(i), Offset: 0, Value: 1}}}}
		if i > 0 {
			op.Steps = append(op.Steps, Step{Polled: []Record{{Key: fmt.Sprint(i - 1), Offset: 0, Value: 1}}})
		}
		ops = append(ops, op)
	}
	if found := Check(ops, Options{}); len(found) > 0 {
		t.Error(found[:1])
	}
}
