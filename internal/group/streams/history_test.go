package streams

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestHistories lets applications come and go, answers get lost, coordinators move
// and topics grow. At every append who loads the log comes to the same group, and
// nobody has what another one has. What members really run, as far as they are
// members, is never run twice. In the end, when nothing happens any more, all
// tasks run.
func TestHistories(t *testing.T) {
	histories := uint64(150)
	if testing.Short() {
		histories = 30
	}
	for seed := range histories {
		h := &history{world: newWorld(), rand: rand.New(rand.NewPCG(seed, 3))}
		h.cfg.Standbys = h.rand.IntN(3)
		h.cfg.InitialDelay = time.Duration(h.rand.IntN(2)) * 3 * time.Second
		h.setTopic("in", 1+h.rand.Int32N(6))
		for i := range 150 {
			h.event()
			if h.wrong != "" {
				t.Fatalf("seed %d, event %d: %s", seed, i, h.wrong)
			}
		}
		h.settle()
		if h.wrong != "" {
			t.Fatalf("seed %d, at the end: %s", seed, h.wrong)
		}
	}
}

type history struct {
	*world
	rand  *rand.Rand
	apps  []*app
	drawn int
}

// app is one member's process, which runs tasks.
type app struct {
	id, process string
	instance    *string
	epoch       int32
	runs, want  roles
	endpoint    bool
}

func (h *history) event() {
	var a *app
	if len(h.apps) > 0 {
		a = h.apps[h.rand.IntN(len(h.apps))]
	}
	switch n := h.rand.IntN(100); {
	case a == nil || n < 6 && len(h.apps) < 7:
		h.begin()
	case n < 75:
		h.heartbeat(a, h.rand.IntN(15) == 0)
	case n < 80:
		h.pass(time.Duration(h.rand.IntN(20000)) * time.Millisecond)
	case n < 90:
		h.reconcile(a)
	case n < 93: // it dies
		h.drop(a)
	case n < 96:
		h.leave(a)
	case n < 97 && h.topics["in"] < 9: // Streams itself would stop here
		h.setTopic("other", int32(h.rand.IntN(9)+1))
	case n < 98:
		h.cfg.Standbys = h.rand.IntN(3)
	default:
		h.reload()
	}
	h.running()
}

func (h *history) begin() {
	a := &app{id: fmt.Sprintf("m%03d", h.drawn), process: fmt.Sprintf("p%d", h.rand.IntN(4)), endpoint: h.rand.IntN(3) == 0}
	if h.rand.IntN(4) == 0 {
		a.instance = new(fmt.Sprintf("i%d", h.rand.IntN(3)))
	}
	h.drawn++
	h.apps = append(h.apps, a)
	h.heartbeat(a, false)
}

func (h *history) drop(a *app) {
	h.apps = slices.DeleteFunc(h.apps, func(o *app) bool { return o == a })
}

// heartbeat sends one; lost loses the answer.
func (h *history) heartbeat(a *app, lost bool) {
	req := &msg.StreamsGroupHeartbeatRequest{GroupID: "app", MemberID: a.id, MemberEpoch: a.epoch, InstanceID: a.instance, RebalanceTimeoutMs: -1}
	if a.epoch == joins {
		req.RebalanceTimeoutMs = 30000
		req.Topology = h.topologyOf()
		req.ProcessID = &a.process
		if a.endpoint {
			req.UserEndpoint = &msg.StreamsGroupHeartbeatRequestEndpoint{Host: a.id, Port: 1}
		}
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = owned(nil), owned(nil), owned(nil)
	} else if !a.runs.equal(&a.want) || h.rand.IntN(2) == 0 {
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = owned(a.runs.active), owned(a.runs.standby), owned(a.runs.warmup)
	}
	b, err := h.beat(req)
	switch kafka.CodeOf(err) {
	case kafka.None:
	case kafka.UnknownMemberID, kafka.FencedMemberEpoch, kafka.GroupIDNotFound:
		a.epoch, a.runs, a.want = joins, roles{}, roles{}
		return
	case kafka.UnreleasedInstanceID, kafka.FencedInstanceID: // another one has the name
		h.drop(a)
		return
	default:
		h.fail("heartbeat: %v", err)
		return
	}
	if lost {
		return
	}
	h.create(b.Create)
	a.epoch = b.Response.MemberEpoch
	if b.Response.ActiveTasks != nil {
		read := func(list []msg.StreamsGroupHeartbeatResponseTaskID) (s set) {
			for _, t := range list {
				s = appendTasks(s, t.SubtopologyID, t.Partitions)
			}
			return newSet(s)
		}
		a.want = roles{read(b.Response.ActiveTasks), read(b.Response.StandbyTasks), read(b.Response.WarmupTasks)}
		if h.rand.IntN(2) == 0 {
			h.reconcile(a)
		}
	}
}

// reconcile is a member that does what it was told.
func (h *history) reconcile(a *app) { a.runs = a.want }

func (h *history) leave(a *app) {
	if a.epoch == joins {
		return
	}
	epoch := leaves
	if a.instance != nil && h.rand.IntN(2) == 0 {
		epoch = leavesAWhile
	}
	h.drop(a)
	req := &msg.StreamsGroupHeartbeatRequest{GroupID: "app", MemberID: a.id, MemberEpoch: epoch, InstanceID: a.instance, RebalanceTimeoutMs: -1}
	if _, err := h.beat(req); err != nil && kafka.CodeOf(err) != kafka.UnknownMemberID && kafka.CodeOf(err) != kafka.FencedInstanceID {
		h.fail("leave: %v", err)
	}
}

// running says that no task is run by two members, of those that are members.
func (h *history) running() {
	at := map[string]string{}
	for _, a := range h.apps {
		m := h.g.members[a.id]
		if m == nil {
			continue
		}
		for _, t := range a.runs.active {
			key := showSet(set{t})
			if other := at[key]; other != "" {
				h.fail("%s is run by %s and %s", key, other, a.id)
			}
			at[key] = a.id
		}
	}
}

// settle lets everybody do what it is told until nothing changes.
func (h *history) settle() {
	if len(h.apps) == 0 {
		h.begin()
	}
	for range 60 {
		for _, a := range slices.Clone(h.apps) {
			h.heartbeat(a, false)
			h.reconcile(a)
		}
		if len(h.apps) == 0 {
			h.begin()
		}
		h.pass(5 * time.Second)
		h.running()
	}
	if state := h.g.State(); state != "Stable" {
		h.fail("the group is %s:\n%s", state, dump(h.g))
	}
	runs := 0
	for _, a := range h.apps {
		runs += len(a.runs.active)
		if m := h.g.members[a.id]; m == nil || !m.assigned.equal(&a.runs) {
			h.fail("%s does not run what the group says:\n%s", a.id, dump(h.g))
		}
	}
	if want := 2 * int(h.topics["in"]); runs != want {
		h.fail("%d tasks run of %d:\n%s", runs, want, dump(h.g))
	}
}

// topologyOf is a word count's.
func (h *history) topologyOf() *msg.StreamsGroupHeartbeatRequestTopology {
	return &msg.StreamsGroupHeartbeatRequestTopology{Subtopologies: []msg.StreamsGroupHeartbeatRequestTopologySubtopology{
		{SubtopologyID: "0", SourceTopics: []string{"in"}, RepartitionSinkTopics: []string{"by-word"}},
		{
			SubtopologyID: "1", RepartitionSourceTopics: []msg.StreamsGroupHeartbeatRequestTopicInfo{{Name: "by-word"}},
			StateChangelogTopics: []msg.StreamsGroupHeartbeatRequestTopicInfo{{Name: "words"}},
		},
	}}
}

func owned(s set) []msg.StreamsGroupHeartbeatRequestTaskID {
	out := []msg.StreamsGroupHeartbeatRequestTaskID{}
	s.groups(func(id string, partitions []int32) {
		out = append(out, msg.StreamsGroupHeartbeatRequestTaskID{SubtopologyID: id, Partitions: partitions})
	})
	return out
}
