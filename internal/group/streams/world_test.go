package streams

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// world is a group with what lies around it: topics, a clock, and the log of its
// records.
type world struct {
	now     time.Time
	cfg     Config
	topics  map[string]int32
	version int64
	g       *Group
	log     []coordinator.Record
	wake    time.Time
	wrong   string // what a check found
}

func newWorld() *world {
	w := &world{now: time.UnixMilli(1_700_000_000_000), cfg: DefaultConfig(), topics: map[string]int32{}}
	w.g = w.fresh()
	return w
}

func (w *world) fresh() *Group { return New("app", func() Config { return w.cfg }) }

func (w *world) Version() int64 { return w.version }
func (w *world) Names() []string {
	return slices.Sorted(maps.Keys(w.topics))
}
func (w *world) ByID(kafka.UUID) (kind.Topic, bool) { return kind.Topic{}, false }
func (w *world) Named(name string) (kind.Topic, bool) {
	n, ok := w.topics[name]
	return kind.Topic{Name: name, Partitions: n, ID: kafka.UUID{15: byte(n)}}, ok
}

func (w *world) setTopic(name string, partitions int32) {
	w.topics[name] = partitions
	w.version++
}

// create makes the internal topics that a heartbeat found missing.
func (w *world) create(missing []Topic) {
	for _, t := range missing {
		w.setTopic(t.Name, t.Partitions)
	}
}

// beat sends a heartbeat.
func (w *world) beat(req *msg.StreamsGroupHeartbeatRequest) (Beat, error) {
	b, step, err := w.g.Heartbeat(w.now, Who{ClientID: "c", Host: "/h", Version: 1}, req, w)
	if err == nil {
		w.append(step)
	}
	return b, err
}

// append replays a step's records, and sees to it that who loads the log comes to
// the same.
func (w *world) append(step kind.Step) {
	w.wake = step.Wake
	for _, r := range step.Records {
		w.log = append(w.log, r)
		if err := replay(w.g, r); err != nil {
			w.fail("replay: %v", err)
		}
	}
	if len(step.Records) == 0 {
		return
	}
	live := dump(w.g)
	if again := dump(w.load(false)); again != live {
		w.fail("live\n%s\nloaded\n%s", live, again)
	}
	if again := dump(w.load(true)); again != live {
		w.fail("live\n%s\nloaded from a compacted log\n%s", live, again)
	}
	w.check()
}

func (w *world) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

// load makes a group of the log, of the last record of each key only if compacted.
func (w *world) load(compacted bool) *Group {
	g := w.fresh()
	last := map[string]int{}
	for i, r := range w.log {
		last[string(r.Key)] = i
	}
	for i, r := range w.log {
		if compacted && last[string(r.Key)] != i {
			continue
		}
		if err := replay(g, r); err != nil {
			w.fail("load: %v", err)
		}
	}
	return g
}

// reload is a coordinator that moved.
func (w *world) reload() {
	w.g = w.load(true)
	w.append(w.g.Loaded(w.now))
}

// pass lets time pass, with a tick whenever the group wants one.
func (w *world) pass(d time.Duration) {
	until := w.now.Add(d)
	for range 1000 {
		if w.wake.IsZero() || w.wake.After(until) {
			break
		}
		w.now = w.wake
		w.append(w.g.Tick(w.now))
	}
	w.now = until
}

func replay(g *Group, r coordinator.Record) error {
	key, err := state.ParseKey(state.Group, r.Key)
	if err != nil {
		return err
	}
	return g.Replay(key, r.Value)
}

// check looks for what must never be: see the package comment.
func (w *world) check() {
	for t, ids := range w.g.holders.active {
		if len(ids) > 1 {
			w.fail("%v is active at %v", t, ids)
		}
	}
	in := map[string]map[tasks.Task]string{}
	for _, id := range w.g.order() {
		m := w.g.members[id]
		if m.epoch > w.g.assignment || w.g.assignment > w.g.epoch {
			w.fail("%s is in epoch %d, the target in %d, the group in %d", id, m.epoch, w.g.assignment, w.g.epoch)
		}
		if in[m.process] == nil {
			in[m.process] = map[tasks.Task]string{}
		}
		own := slices.Concat(m.assigned.active, m.assigned.standby, m.assigned.warmup, m.revoking.active, m.revoking.standby, m.revoking.warmup)
		for _, t := range newSet(own) { // a member may have the one it gives up for the other
			if other := in[m.process][t]; other != "" {
				w.fail("%s and %s of process %s both have %v", other, id, m.process, t)
			}
			in[m.process][t] = id
		}
	}
}

// dump is all of a group that is in its records.
func dump(g *Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%+v assignment=%d at=%d kept=%v\n", g.header, g.assignment, g.assigned, g.kept)
	if g.topology != nil {
		fmt.Fprintf(&b, "topology %+v %+v\n", g.topology.epoch, g.topology.subtopologies)
	}
	for _, id := range g.order() {
		m := *g.members[id]
		fmt.Fprintf(&b, "%s\n", show(&m))
		if m.instance != nil && g.statics[*m.instance] != id {
			fmt.Fprintf(&b, "%s is not the holder of its instance\n", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(g.targets)) {
		fmt.Fprintf(&b, "target %s %s\n", id, showRoles(g.targets[id]))
	}
	for _, h := range []map[tasks.Task][]string{g.holders.active, g.holders.standby, g.holders.warmup} {
		for _, t := range slices.SortedFunc(maps.Keys(h), tasks.Task.Compare) {
			fmt.Fprintf(&b, "%s:%v ", showSet(set{t}), slices.Sorted(slices.Values(h[t])))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// show is one member in a line.
func show(m *member) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch=%d/%d state=%d process=%s topology=%d rebalance=%d client=%s%s", m.id, m.epoch, m.previous, m.state, m.process, m.topologyEpoch, m.rebalance, m.clientID, m.clientHost)
	if m.instance != nil {
		fmt.Fprintf(&b, " instance=%s", *m.instance)
	}
	if m.endpoint != nil {
		fmt.Fprintf(&b, " at=%s:%d", m.endpoint.host, m.endpoint.port)
	}
	if m.tags != nil {
		fmt.Fprintf(&b, " tags=%v", m.tags)
	}
	fmt.Fprintf(&b, " has %s", showRoles(&m.assigned))
	if !m.revoking.empty() {
		fmt.Fprintf(&b, ", to give up %s", showRoles(&m.revoking))
	}
	for _, t := range slices.Concat(m.assigned.active, m.revoking.active) {
		fmt.Fprintf(&b, " %s@%d", showSet(set{t}), m.since[t])
	}
	return b.String()
}

func showRoles(r *roles) string {
	return fmt.Sprintf("active=[%s] standby=[%s] warmup=[%s]", showSet(r.active), showSet(r.standby), showSet(r.warmup))
}

func showSet(s set) string {
	var all []string
	for _, t := range s {
		all = append(all, fmt.Sprintf("%s_%d", t.Subtopology, t.Partition))
	}
	return strings.Join(all, ",")
}
