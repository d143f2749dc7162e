package share

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// TestHistories lets members come, change their minds and go while topics come,
// grow and go and the share coordinator answers or does not. After every append
// the group is loaded anew and must be the same (see rig.apply); what the package
// doc says always holds is checked after every step.
func TestHistories(t *testing.T) {
	histories := 300
	if testing.Short() {
		histories = 80
	}
	for seed := range uint64(histories) {
		h := &history{rig: newRig(t), r: rand.New(rand.NewPCG(seed, 11)), epochs: map[string]int32{}}
		h.rig.cfg.MaxSize = 5
		for step := range 200 {
			h.step()
			h.check(fmt.Sprintf("seed %d step %d", seed, step))
		}
		h.calm(fmt.Sprintf("seed %d", seed))
	}
}

// history is a random one.
type history struct {
	rig    *rig
	r      *rand.Rand
	epochs map[string]int32 // what each member knows
	ids    byte             // of topics, so far
	last   [2]int32         // group and assignment epoch, as they were
}

func (h *history) member() string { return fmt.Sprintf("m%d", h.r.IntN(7)) }
func (h *history) topic() string  { return fmt.Sprintf("t%d", h.r.IntN(3)) }

func (h *history) step() {
	r := h.rig
	switch n := h.r.IntN(100); {
	case n < 60:
		h.beat(h.member())
	case n < 70:
		h.settle()
	case n < 80:
		r.now = r.now.Add(time.Duration(h.r.IntN(20_000)) * time.Millisecond)
		r.apply(r.g.Tick(r.now))
	case n < 88:
		name := h.topic()
		was := r.world.topics[name]
		r.world.set(name, byte(was.ID[15]), max(1, was.Partitions)+int32(h.r.IntN(2)))
		if was.Name == "" {
			h.ids++
			r.world.set(name, h.ids, int32(1+h.r.IntN(3)))
		}
	case n < 91:
		name := h.topic()
		if t, ok := r.world.topics[name]; ok {
			r.world.drop(name)
			r.apply(kind.Step{Records: r.g.TopicsGone([]kafka.UUID{t.ID})})
		}
	case n < 94:
		r.g = r.reload()
	case n < 97:
		req := msg.NewAlterShareGroupOffsetsRequest()
		req.Topics = []msg.AlterShareGroupOffsetsRequestTopic{{TopicName: h.topic(),
			Partitions: []msg.AlterShareGroupOffsetsRequestTopicPartition{{PartitionIndex: int32(h.r.IntN(3))}}}}
		if a, err := r.g.Alter(r.now, &req, r.world); err == nil {
			r.open = append(r.open, a.Wishes...)
			r.apply(a.Step)
		}
	default:
		req := msg.NewDeleteShareGroupOffsetsRequest()
		req.Topics = []msg.DeleteShareGroupOffsetsRequestTopic{{TopicName: h.topic()}}
		if d, err := r.g.Drop(&req, r.world); err == nil {
			r.apply(d.Step)
			for _, t := range d.Delete {
				r.apply(r.g.Forget([]kafka.UUID{t.Topic}))
			}
		}
	}
}

func (h *history) beat(id string) {
	r := h.rig
	req := msg.NewShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", id, h.epochs[id]
	if req.MemberEpoch == Joining || h.r.IntN(8) == 0 {
		req.SubscribedTopicNames = []string{h.topic(), h.topic()}
	}
	if h.r.IntN(15) == 0 {
		req.MemberEpoch = leaving
	}
	b, err := r.g.Heartbeat(r.now, Who{"c", "/h"}, &req, r.world)
	if err != nil {
		h.epochs[id] = 0
		return
	}
	r.open = append(r.open, b.Wishes...)
	r.apply(b.Step)
	h.epochs[id] = max(0, b.Response.MemberEpoch)
	if h.r.IntN(10) == 0 {
		h.epochs[id] = max(0, req.MemberEpoch) // the answer was lost
	}
}

// settle lets some wishes come true, some fail, and leaves some unanswered.
func (h *history) settle() {
	var done, failed []Wish
	for _, w := range h.rig.open {
		switch h.r.IntN(4) {
		case 0:
			failed = append(failed, w)
		case 1:
		default:
			done = append(done, w)
		}
	}
	h.rig.open = nil
	h.rig.apply(h.rig.g.Settle(done, failed))
}

func (h *history) check(at string) {
	t, g := h.rig.t, h.rig.g
	if g.epoch < h.last[0] || g.assignmentEpoch < h.last[1] || g.assignmentEpoch > g.epoch {
		t.Fatalf("%s: epochs %d and %d, after %v", at, g.epoch, g.assignmentEpoch, h.last)
	}
	h.last = [2]int32{g.epoch, g.assignmentEpoch}
	if len(g.members) > h.rig.cfg.MaxSize {
		t.Fatalf("%s: %d members", at, len(g.members))
	}
	for id, m := range g.members {
		if m.epoch < 0 || m.epoch > g.assignmentEpoch || m.previous > m.epoch {
			t.Fatalf("%s: member %s has epoch %d, before %d, of %d", at, id, m.epoch, m.previous, g.assignmentEpoch)
		}
		for _, set := range m.assigned {
			info, ok := h.rig.world.ByID(set.Topic)
			if ok && g.epoch == g.assignmentEpoch && m.epoch == g.epoch && !slices.Contains(m.topics, info.Name) {
				t.Fatalf("%s: member %s reads %s, and subscribes to %v", at, id, info.Name, m.topics)
			}
		}
	}
	for id := range g.target {
		if g.members[id] == nil {
			t.Fatalf("%s: there is a target of %s, who is no member", at, id)
		}
	}
}

// calm lets the world come to rest: then everybody reads what it should.
func (h *history) calm(at string) {
	r := h.rig
	for range 6 {
		r.now = r.now.Add(40 * time.Second)
		for id, m := range r.g.members { // nobody's session ends
			r.g.sessions[id] = r.now.Add(time.Minute)
			req := msg.NewShareGroupHeartbeatRequest()
			req.GroupID, req.MemberID, req.MemberEpoch = "g", id, m.epoch
			if m.epoch == Joining {
				req.SubscribedTopicNames = m.topics
			}
			b, err := r.g.Heartbeat(r.now, Who{"c", "/h"}, &req, r.world)
			if err != nil {
				r.t.Fatal(at, err)
			}
			r.open = append(r.open, b.Wishes...)
			r.apply(b.Step)
			r.now = r.now.Add(2 * time.Second)
		}
		r.apply(r.g.Settle(r.open, nil))
		r.open = nil
	}
	read := map[place]bool{}
	for id, m := range r.g.members {
		if m.epoch != r.g.epoch {
			r.t.Fatalf("%s: member %s is at epoch %d, the group at %d", at, id, m.epoch, r.g.epoch)
		}
		for _, set := range m.assigned {
			for _, p := range set.Partitions {
				if !slices.Contains(r.g.states.initialized[set.Topic].partitions, p) {
					r.t.Fatalf("%s: member %s reads %v-%d, which is not initialized", at, id, set.Topic, p)
				}
				read[place{set.Topic, p}] = true
			}
		}
	}
	for name, topic := range r.world.topics {
		for p := range topic.Partitions {
			if r.g.Subscribed(name) != read[place{topic.ID, p}] {
				r.t.Fatalf("%s: %s-%d is subscribed: %v, read: %v", at, name, p, r.g.Subscribed(name), read[place{topic.ID, p}])
			}
		}
	}
}
