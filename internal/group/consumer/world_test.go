package consumer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// world is a group with its log, and the cluster around it.
type world struct {
	t      testing.TB
	now    time.Time
	topics *fakeTopics
	made   int // topics, for their ids
	cfg    Config
	log    []coordinator.Record
	g      *Group // nil before the first record and after the last tombstone
	wake   time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.UnixMilli(1_000_000), topics: &fakeTopics{version: 1, byName: map[string]kind.Topic{}}}
	w.cfg = Config{Topics: func() kind.Topics { return w.topics }}
	return w
}

// fakeTopics is a picture of topics. A change makes a new one.
type fakeTopics struct {
	version int64
	byName  map[string]kind.Topic
}

func (f *fakeTopics) Version() int64 { return f.version }

func (f *fakeTopics) Named(name string) (kind.Topic, bool) { t, ok := f.byName[name]; return t, ok }

func (f *fakeTopics) ByID(id kafka.UUID) (kind.Topic, bool) {
	for _, t := range f.byName {
		if t.ID == id {
			return t, true
		}
	}
	return kind.Topic{}, false
}

func (f *fakeTopics) Names() []string { return slices.Sorted(maps.Keys(f.byName)) }

// topic makes a topic, gives it more partitions, or with none deletes it.
func (w *world) topic(name string, partitions int32) {
	n := &fakeTopics{version: w.topics.version + 1, byName: maps.Clone(w.topics.byName)}
	old, ok := n.byName[name]
	switch {
	case partitions == 0:
		delete(n.byName, name)
	case ok:
		old.Partitions = partitions
		n.byName[name] = old
	default:
		w.made++
		t := kind.Topic{Name: name, Partitions: partitions, Internal: strings.HasPrefix(name, "__")}
		binary.BigEndian.PutUint32(t.ID[12:], uint32(w.made))
		t.Racks = func(int32) []string { return nil }
		n.byName[name] = t
	}
	w.topics = n
}

// append stores what a step wants stored, unless it is lost on the way: then the
// group is loaded anew.
func (w *world) append(step kind.Step, g *Group, lost bool) {
	w.t.Helper()
	w.wake = step.Wake
	if lost {
		w.reload(false)
		return
	}
	if len(step.Records) > 0 && w.g == nil {
		w.g = g
	}
	w.log = append(w.log, step.Records...)
	for _, r := range step.Records {
		w.replay(r)
	}
	w.check()
}

func (w *world) replay(r coordinator.Record) {
	w.t.Helper()
	key, err := state.ParseKey(state.Group, r.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, classic := key.(*state.GroupMetadataKey); classic {
		return // of the classic group that comes after
	}
	if w.g == nil {
		if r.Value == nil {
			return
		}
		w.g = New("g", &w.cfg)
	}
	if err := w.g.Replay(key, r.Value); err != nil {
		w.t.Fatal(err)
	}
	if _, ok := key.(*state.ConsumerGroupMetadataKey); ok && r.Value == nil {
		w.g = nil
	}
}

// reload makes the group from its log, as a coordinator that takes over; with
// compact, from what the cleaner leaves of it.
func (w *world) reload(compact bool) {
	w.t.Helper()
	log := w.log
	if compact {
		last := map[string]int{}
		for i, r := range log {
			last[string(r.Key)] = i
		}
		log = nil
		for i, r := range w.log {
			if last[string(r.Key)] == i && r.Value != nil {
				log = append(log, r)
			}
		}
	}
	w.g = nil
	for _, r := range log {
		w.replay(r)
	}
	if w.g != nil {
		w.wake = w.g.Loaded(w.now).Wake
	}
}

// check looks at the invariants of the package comment.
func (w *world) check() {
	w.t.Helper()
	if w.g == nil {
		return
	}
	owner := map[string]string{}
	for _, m := range w.g.members {
		for _, t := range union(m.assigned, m.revoking) {
			for i, p := range t.partitions {
				at := fmt.Sprintf("%x-%d", t.topic[12:], p)
				if other, ok := owner[at]; ok {
					w.t.Fatalf("%s is held by %s and by %s\n%s", at, other, m.id, dump(w.g))
				}
				owner[at] = m.id
				if t.epochs[i] > m.epoch && m.epoch >= 0 {
					w.t.Fatalf("%s was given at epoch %d to %s, which is at %d", at, t.epochs[i], m.id, m.epoch)
				}
			}
		}
	}
	live := dump(w.g)
	for _, compact := range []bool{false, true} {
		copied := *w
		copied.reload(compact)
		if got := dump(copied.g); got != live {
			w.t.Fatalf("a replay (compacted: %v) is\n%s\nlive is\n%s", compact, got, live)
		}
	}
}

// dump is all that a group knows from its records.
func dump(g *Group) string {
	if g == nil {
		return "none"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch %d, assignment %d at %d, hash %x, classic %d\n", g.State(), g.epoch, g.assigned, g.assignedAt, g.hash, g.classics)
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id]
		fmt.Fprintf(&b, "%s%s epoch %d<%d %s has %s", id, opt(" static ", m.instance), m.epoch, m.previous, stateNames[m.state], m.assigned)
		if len(m.revoking) > 0 {
			fmt.Fprintf(&b, " revokes %s", m.revoking)
		}
		fmt.Fprintf(&b, " target %s", setText(g.target[id]))
		fmt.Fprintf(&b, " reads %s%s%s\n", strings.Join(m.topics, ","), opt(" like ", m.regex), opt(" by ", m.assignor))
	}
	for _, p := range slices.Sorted(maps.Keys(g.regexes)) {
		fmt.Fprintf(&b, "%s matches %s\n", p, strings.Join(g.regexes[p].topics, ","))
	}
	for _, t := range slices.Sorted(maps.Keys(g.topics)) {
		fmt.Fprintf(&b, "topic %s %v\n", t, g.topics[t])
	}
	fmt.Fprintf(&b, "statics %v patterns %v chosen %v protocols %v owned %d\n", g.statics, g.patterns, g.chosen, g.protocols, owned(g))
	return b.String()
}

var stateNames = map[memberState]string{stable: "stable", unrevoked: "unrevoked", unreleased: "unreleased", unknown: "unknown"}

func owned(g *Group) int {
	n := 0
	for _, parts := range g.owners {
		n += len(parts)
	}
	return n
}

func opt(before string, s *string) string {
	if s == nil || *s == "" {
		return ""
	}
	return before + *s
}

// String shows partitions as topic number:partitions@epochs.
func (h held) String() string {
	var out []string
	for _, t := range h {
		parts := make([]string, len(t.partitions))
		for i, p := range t.partitions {
			parts[i] = fmt.Sprintf("%d@%d", p, t.epochs[i])
		}
		out = append(out, fmt.Sprintf("%d:%s", t.topic[15], strings.Join(parts, ",")))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func setText(s assign.Set) string {
	var out []string
	for _, t := range s {
		out = append(out, fmt.Sprintf("%d:%s", t.Topic[15], strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Partitions), "[]"), " ", ",")))
	}
	return "[" + strings.Join(out, " ") + "]"
}
