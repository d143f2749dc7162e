package share

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// world is the topics of a test.
type world struct {
	version int64
	topics  map[string]kind.Topic
}

func (w *world) Version() int64                       { return w.version }
func (w *world) Named(name string) (kind.Topic, bool) { t, ok := w.topics[name]; return t, ok }
func (w *world) Names() []string                      { return nil }

func (w *world) ByID(id kafka.UUID) (kind.Topic, bool) {
	for _, t := range w.topics {
		if t.ID == id {
			return t, true
		}
	}
	return kind.Topic{}, false
}

func (w *world) set(name string, id byte, partitions int32) {
	w.version++
	w.topics[name] = kind.Topic{Name: name, ID: kafka.UUID{15: id}, Partitions: partitions}
}

func (w *world) drop(name string) {
	w.version++
	delete(w.topics, name)
}

// rig is a group whose records are a list.
type rig struct {
	t     *testing.T
	world *world
	cfg   Config
	g     *Group
	log   []coordinator.Record
	now   time.Time
	open  []Wish // that nobody has settled
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, world: &world{topics: map[string]kind.Topic{}}, now: time.UnixMilli(1_000_000)}
	r.cfg = DefaultConfig()
	r.cfg.Topics = func() kind.Topics { return r.world }
	r.g = New("g", &r.cfg)
	return r
}

// apply appends and replays what a step wants, and loads the log anew.
func (r *rig) apply(step kind.Step) string {
	r.t.Helper()
	var out strings.Builder
	for _, rec := range step.Records {
		r.log = append(r.log, rec)
		replay(r.t, r.g, rec)
		fmt.Fprintln(&out, recordText(r.t, rec))
	}
	if again := r.reload(); !reflect.DeepEqual(solid(r.g), solid(again)) {
		r.t.Fatalf("live   %+v\nloaded %+v", solid(r.g), solid(again))
	}
	return out.String()
}

func replay(t *testing.T, g *Group, rec coordinator.Record) {
	t.Helper()
	key, err := state.ParseKey(state.Group, rec.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Replay(key, rec.Value); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) reload() *Group {
	g := New("g", &r.cfg)
	for _, rec := range r.log {
		replay(r.t, g, rec)
	}
	g.Loaded(r.now)
	return g
}

// solid is what of a group is in its records.
func solid(g *Group) Group {
	s := *g
	s.sessions, s.asked, s.seen, s.looked = nil, nil, 0, false
	return s
}

// TestScripts plays heartbeats and what else comes to a share group. Records are
// shown as they are appended.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			r := newRig(t)
			script.Run(t, f, r.do)
		})
	}
}

func (r *rig) do(c *script.Cmd) string {
	switch c.Name {
	case "topic":
		r.world.set(c.Arg(0), byte(c.IntKey("id", 1)), int32(c.IntKey("partitions", 1)))
	case "topic-gone":
		id := r.world.topics[c.Arg(0)].ID
		r.world.drop(c.Arg(0))
		return r.apply(kind.Step{Records: r.g.TopicsGone([]kafka.UUID{id})})
	case "max-size":
		r.cfg.MaxSize = int(c.Int(0))
	case "pass":
		d, _ := time.ParseDuration(c.Arg(0))
		r.now = r.now.Add(d)
		step := r.g.Tick(r.now)
		var out string
		for _, m := range step.Gone {
			out += m.Member + ": " + m.Why + "\n"
		}
		return out + r.apply(step)
	case "beat":
		return r.beat(c)
	case "settle":
		return r.settle(c)
	case "alter", "drop", "forget", "dissolve":
		return r.offsets(c)
	case "reload":
		r.g = r.reload()
	case "describe":
		return r.describe()
	case "delete":
		return r.apply(kind.Step{Records: r.g.Tombstones()})
	default:
		c.Fatalf("no such command")
	}
	return ""
}

// beat NAME epoch=N topics=a,b rack=R client=C
func (r *rig) beat(c *script.Cmd) string {
	req := msg.NewShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", c.Arg(0), int32(c.IntKey("epoch", 0))
	if names := c.Key("topics", ""); names != "" {
		req.SubscribedTopicNames = strings.Split(names, ",")
	}
	if rack := c.Key("rack", ""); rack != "" {
		req.RackID = &rack
	}
	if err := CheckHeartbeat(&req); err != nil {
		return fails(err)
	}
	b, err := r.g.Heartbeat(r.now, Who{c.Key("client", "c"), "/h"}, &req, r.world)
	if err != nil {
		return fails(err)
	}
	r.open = append(r.open, b.Wishes...)
	out := fmt.Sprintf("epoch %d", b.Response.MemberEpoch)
	if a := b.Response.Assignment; a != nil {
		out += " assigned"
		for _, t := range a.TopicPartitions {
			out += " " + r.partitions(t.TopicID, t.Partitions)
		}
	}
	return out + "\n" + wishText(b.Wishes) + r.apply(b.Step)
}

// settle settles all wishes; "fail=N" lets the partition N fail.
func (r *rig) settle(c *script.Cmd) string {
	var done, failed []Wish
	for _, w := range r.open {
		if int64(w.Partition) == c.IntKey("fail", -1) {
			failed = append(failed, w)
		} else {
			done = append(done, w)
		}
	}
	r.open = nil
	return r.apply(r.g.Settle(done, failed))
}

func (r *rig) offsets(c *script.Cmd) string {
	switch c.Name {
	case "forget":
		return r.apply(r.g.Forget([]kafka.UUID{{15: byte(c.Int(0))}}))
	case "alter":
		req := msg.NewAlterShareGroupOffsetsRequest()
		t := msg.AlterShareGroupOffsetsRequestTopic{TopicName: c.Arg(0), Partitions: []msg.AlterShareGroupOffsetsRequestTopicPartition{
			{PartitionIndex: int32(c.IntKey("partition", 0)), StartOffset: c.IntKey("start", 0)}}}
		req.Topics = append(req.Topics, t)
		a, err := r.g.Alter(r.now, &req, r.world)
		if err != nil {
			return fails(err)
		}
		r.open = append(r.open, a.Wishes...)
		var out string
		for _, t := range a.Responses {
			for _, p := range t.Partitions {
				out += fmt.Sprintf("%s-%d %s\n", t.TopicName, p.PartitionIndex, kafka.Code(p.ErrorCode).Name())
			}
		}
		return out + wishText(a.Wishes) + r.apply(a.Step)
	}
	req := msg.NewDeleteShareGroupOffsetsRequest()
	for _, name := range c.Args {
		req.Topics = append(req.Topics, msg.DeleteShareGroupOffsetsRequestTopic{TopicName: name})
	}
	d, err := r.g.Drop(&req, r.world)
	if c.Name == "dissolve" {
		d, err = r.g.Dissolve(r.world)
	}
	if err != nil {
		return fails(err)
	}
	var out string
	for _, t := range d.Delete {
		out += "delete " + r.partitions(t.Topic, t.Partitions) + "\n"
	}
	for _, t := range d.Refused {
		out += fmt.Sprintf("%s: %s: %s\n", t.TopicName, kafka.Code(t.ErrorCode).Name(), *t.ErrorMessage)
	}
	return out + r.apply(d.Step)
}

func (r *rig) describe() string {
	d := r.g.Describe(r.world)
	out := fmt.Sprintf("%s epoch %d assignment %d by %s\n", d.GroupState, d.GroupEpoch, d.AssignmentEpoch, d.AssignorName)
	for _, m := range d.Members {
		out += fmt.Sprintf("%s epoch %d client %s%s topics %v", m.MemberID, m.MemberEpoch, m.ClientID, m.ClientHost, m.SubscribedTopicNames)
		for _, t := range m.Assignment.TopicPartitions {
			out += fmt.Sprintf(" %s%v", t.TopicName, t.Partitions)
		}
		out += "\n"
	}
	return out
}

func fails(err error) string { return kafka.CodeOf(err).Name() + ": " + err.Error() + "\n" }

func (r *rig) partitions(id kafka.UUID, partitions []int32) string {
	name := fmt.Sprintf("#%d", id[15])
	if t, ok := r.world.ByID(id); ok {
		name = t.Name
	}
	return fmt.Sprintf("%s%v", name, partitions)
}

func wishText(wishes []Wish) string {
	var out strings.Builder
	for _, w := range wishes {
		fmt.Fprintf(&out, "initialize #%d-%d state %d start %d\n", w.Topic[15], w.Partition, w.StateEpoch, w.Start)
	}
	return out.String()
}

// recordText is a record as people read it.
func recordText(t *testing.T, rec coordinator.Record) string {
	t.Helper()
	key, err := state.ParseKey(state.Group, rec.Key)
	if err != nil {
		t.Fatal(err)
	}
	value := func(v state.Message) {
		if rec.Value == nil {
			return
		}
		if _, err := state.ParseValue(rec.Value, v); err != nil {
			t.Fatal(err)
		}
	}
	gone := map[bool]string{true: " is no more"}[rec.Value == nil]
	switch k := key.(type) {
	case *state.ShareGroupMetadataKey:
		v := state.NewShareGroupMetadataValue()
		value(&v)
		return strings.TrimSpace(fmt.Sprintf("~ group epoch %d%s", v.Epoch, gone))
	case *state.ShareGroupMemberMetadataKey:
		v := state.NewShareGroupMemberMetadataValue()
		value(&v)
		return fmt.Sprintf("~ member %s%s %s%s %v", k.MemberID, gone, v.ClientID, v.ClientHost, v.SubscribedTopicNames)
	case *state.ShareGroupTargetAssignmentMetadataKey:
		v := state.NewShareGroupTargetAssignmentMetadataValue()
		value(&v)
		return fmt.Sprintf("~ assignment%s epoch %d at %d", gone, v.AssignmentEpoch, v.AssignmentTimestamp)
	case *state.ShareGroupTargetAssignmentMemberKey:
		v := state.ShareGroupTargetAssignmentMemberValue{}
		value(&v)
		out := fmt.Sprintf("~ target %s%s", k.MemberID, gone)
		for _, p := range v.TopicPartitions {
			out += fmt.Sprintf(" #%d%v", p.TopicID[15], p.Partitions)
		}
		return out
	case *state.ShareGroupCurrentMemberAssignmentKey:
		v := state.NewShareGroupCurrentMemberAssignmentValue()
		value(&v)
		out := fmt.Sprintf("~ current %s%s epoch %d before %d", k.MemberID, gone, v.MemberEpoch, v.PreviousMemberEpoch)
		for _, p := range v.AssignedPartitions {
			out += fmt.Sprintf(" #%d%v", p.TopicID[15], p.Partitions)
		}
		return out
	case *state.ShareGroupStatePartitionMetadataKey:
		v := state.NewShareGroupStatePartitionMetadataValue()
		value(&v)
		return "~ states" + gone + statesText(&v)
	}
	t.Fatalf("a record with a key %T", key)
	return ""
}

func statesText(v *state.ShareGroupStatePartitionMetadataValue) string {
	out := " initializing"
	for _, t := range v.InitializingTopics {
		out += fmt.Sprintf(" %s%v", t.TopicName, t.Partitions)
	}
	out += " initialized"
	for _, t := range v.InitializedTopics {
		out += fmt.Sprintf(" %s%v", t.TopicName, t.Partitions)
	}
	out += " deleting"
	for _, t := range v.DeletingTopics {
		out += " " + t.TopicName
	}
	return out
}

// readersOf counts the readers of each partition.
func readersOf(sets []assign.Set) map[place]int {
	out := map[place]int{}
	for _, set := range sets {
		for _, t := range set {
			for _, p := range t.Partitions {
				out[place{t.Topic, p}]++
			}
		}
	}
	return out
}

func has(set assign.Set, p place) bool { return slices.Contains(set.Of(p.topic), p.partition) }
