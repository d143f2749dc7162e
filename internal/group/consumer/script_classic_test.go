package consumer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// classic runs the commands of classic members: MEMBER topics=a,b owned=a:0,1
// protocols=range instance=i epoch=2.
func (w *world) classic(c *script.Cmd) string {
	who := kind.Committer{Epoch: int32(c.IntKey("epoch", -1))}
	if len(c.Args) > 0 && c.Arg(0) != "-" {
		who.Member = c.Arg(0)
	}
	if i := c.Key("instance", ""); i != "" {
		who.Instance = &i
	}
	switch c.Name {
	case "classic-join":
		return w.classicJoin(c, who)
	case "classic-sync":
		b, step, err := w.g.SyncClassic(w.now, who, nil, opt2(c.Key("protocol", "")))
		w.append(step, w.g, false)
		if err != nil {
			return refusal(err)
		}
		return "reads " + assignmentText(c, b)
	case "classic-beat":
		step, err := w.g.HeartbeatClassic(w.now, who)
		w.append(step, w.g, false)
		if err != nil {
			return refusal(err)
		}
		return "ok"
	case "classic-leave":
		errs, step := w.g.LeaveClassic(w.now, []kind.Committer{who})
		w.append(step, w.g, false)
		if errs[0] != nil {
			return refusal(errs[0])
		}
		return "ok" + stored(w.t, step)
	}
	return w.upgrade(c)
}

func opt2(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (w *world) classicJoin(c *script.Cmd, who kind.Committer) string {
	in := &ClassicJoin{
		Member: who.Member, Instance: who.Instance, ProtocolType: c.Key("type", "consumer"),
		Session: 10000, Rebalance: int32(c.IntKey("timeout", 60000)), NeedsID: c.Key("needs-id", "") != "",
	}
	for name := range strings.SplitSeq(c.Key("protocols", "range"), ",") {
		in.Protocols = append(in.Protocols, Protocol{name, subscription(c)})
	}
	out, step, err := w.g.JoinClassic(w.now, Who{ClientID: "old", Host: "/h", NewID: "drawn"}, in)
	if err != nil {
		return out.Member + ": " + refusal(err)
	}
	w.append(step, w.g, false)
	return fmt.Sprintf("%s generation %d by %s%s", out.Member, out.Generation, out.Protocol, stored(w.t, step))
}

// subscription is what topics=a,b owned=a:0,1;b:2 say, version 1.
func subscription(c *script.Cmd) []byte {
	if c.Key("topics", "") == "?" {
		return []byte{0, 1, 0}
	}
	s := state.NewConsumerProtocolSubscription()
	s.Topics = strings.Split(c.Key("topics", ""), ",")
	for topic, parts := range partitions(c, c.Key("owned", "")) {
		s.OwnedPartitions = append(s.OwnedPartitions, state.ConsumerProtocolSubscriptionOwnedPartition{Topic: topic, Partitions: parts})
	}
	return state.MarshalVersioned(&s, 1)
}

// partitions reads a:0,1;b:2.
func partitions(c *script.Cmd, s string) func(yield func(string, []int32) bool) {
	return func(yield func(string, []int32) bool) {
		for part := range strings.SplitSeq(s, ";") {
			topic, list, ok := strings.Cut(part, ":")
			if !ok {
				continue
			}
			var parts []int32
			for p := range strings.SplitSeq(list, ",") {
				n, err := strconv.Atoi(p)
				if err != nil {
					c.Fatalf("%v", err)
				}
				parts = append(parts, int32(n))
			}
			if !yield(topic, parts) {
				return
			}
		}
	}
}

func assignmentText(c *script.Cmd, b []byte) string {
	a := state.NewConsumerProtocolAssignment()
	version, err := state.ParseVersioned(b, &a)
	if err != nil {
		c.Fatalf("%v", err)
	}
	var out []string
	for _, p := range a.AssignedPartitions {
		out = append(out, fmt.Sprint(p.Topic, p.Partitions))
	}
	slices.Sort(out)
	return fmt.Sprintf("v%d %s", version, strings.Join(out, " "))
}

// upgrade makes the group of a classic one, in which each argument is
// MEMBER/TOPICS/ASSIGNMENT.
func (w *world) upgrade(c *script.Cmd) string {
	conv := Converted{Group: "g", Generation: int32(c.IntKey("generation", 7)), Protocol: "range"}
	for _, a := range c.Args {
		part := strings.Split(a, "/")
		if len(part) != 3 {
			continue
		}
		s, assignment := state.NewConsumerProtocolSubscription(), state.NewConsumerProtocolAssignment()
		s.Topics = strings.Split(part[1], ",")
		for topic, parts := range partitions(c, part[2]) {
			assignment.AssignedPartitions = append(assignment.AssignedPartitions,
				state.ConsumerProtocolAssignmentAssignedPartition{Topic: topic, Partitions: parts})
		}
		if c.Key("data", "") != "" {
			assignment.UserData = []byte("x")
		}
		conv.Members = append(conv.Members, ConvertedMember{
			ID: part[0], ClientID: "old", ClientHost: "/h", Rebalance: 60000,
			Classic:    Classic{Session: 10000, Protocols: []Protocol{{"range", state.MarshalVersioned(&s, 1)}}},
			Assignment: state.MarshalVersioned(&assignment, 1),
		})
	}
	records, err := Upgrade(&w.cfg, conv)
	if err != nil {
		return refusal(err)
	}
	step := kind.Step{Records: records}
	w.append(step, nil, false)
	w.wake = w.g.Loaded(w.now).Wake
	return strings.TrimPrefix(stored(w.t, step), "\n")
}

// downgrade shows what the classic group would be.
func (w *world) downgrade(_ time.Time, conv Converted) ([]coordinator.Record, bool) {
	w.t.Logf("downgrade to %+v", conv)
	key := state.MarshalKey(&state.GroupMetadataKey{Group: fmt.Sprintf("%s generation %d, rebalance %v, %d members",
		conv.Group, conv.Generation, conv.Rebalance, len(conv.Members))})
	return []coordinator.Record{{Key: key, Value: []byte("x")}}, true
}

var _ = kafka.None
