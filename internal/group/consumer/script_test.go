package consumer

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/script"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestScripts drives a group. Topics are shown by the order in which they were
// made, partitions behind a colon, and behind @ the epoch they were given at.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Settings = func(string) Settings {
				return Settings{Session: 45 * time.Second, Heartbeat: 5 * time.Second}
			}
			script.Run(t, f, w.do)
		})
	}
}

func (w *world) do(c *script.Cmd) string {
	switch c.Name {
	case "topic":
		w.topic(c.Arg(0), int32(c.Int(1)))
	case "max-size":
		w.cfg.MaxSize = int(c.Int(0))
	case "interval":
		d, err := time.ParseDuration(c.Arg(0))
		if err != nil {
			c.Fatalf("%v", err)
		}
		w.cfg.Settings = func(string) Settings {
			return Settings{Session: 45 * time.Second, Heartbeat: 5 * time.Second, Assignment: d}
		}
	case "join":
		req := request(c)
		req.MemberEpoch, req.RebalanceTimeoutMs = joining, int32(c.IntKey("timeout", 60000))
		req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		if req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil {
			req.SubscribedTopicNames = []string{}
		}
		return w.beat(c, req)
	case "beat":
		return w.beat(c, request(c))
	case "leave":
		req := request(c)
		req.MemberEpoch = int32(c.IntKey("epoch", -1))
		return w.beat(c, req)
	case "classic-join", "classic-sync", "classic-beat", "classic-leave", "upgrade":
		return w.classic(c)
	case "may-downgrade":
		w.cfg.Downgrade = w.downgrade
	case "pass":
		return w.pass(c)
	case "reload":
		w.reload(len(c.Args) > 0 && c.Arg(0) == "compacted")
	case "dump":
		return dump(w.g)
	case "commit", "fetch":
		return w.committer(c)
	default:
		c.Fatalf("no such command")
	}
	return ""
}

// request reads a heartbeat: MEMBER epoch=2 topics=a,b regex=x instance=i rack=r
// assignor=range owned=1:0,1;2:3.
func request(c *script.Cmd) *msg.ConsumerGroupHeartbeatRequest {
	req := msg.NewConsumerGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", c.Arg(0), int32(c.IntKey("epoch", 0))
	if req.MemberID == "-" {
		req.MemberID = ""
	}
	req.RebalanceTimeoutMs = int32(c.IntKey("timeout", -1))
	for _, a := range c.Args {
		key, v, _ := strings.Cut(a, "=")
		switch key {
		case "topics":
			req.SubscribedTopicNames = []string{}
			if v != "" {
				req.SubscribedTopicNames = strings.Split(v, ",")
			}
		case "regex":
			req.SubscribedTopicRegex = &v
		case "instance":
			req.InstanceID = &v
		case "rack":
			req.RackID = &v
		case "assignor":
			req.ServerAssignor = &v
		case "owned":
			req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
			for part := range strings.SplitSeq(v, ";") {
				if part == "" {
					continue
				}
				topic, list, _ := strings.Cut(part, ":")
				tp := msg.ConsumerGroupHeartbeatRequestTopicPartition{}
				n, _ := strconv.Atoi(topic)
				tp.TopicID[15] = byte(n)
				for p := range strings.SplitSeq(list, ",") {
					n, err := strconv.Atoi(p)
					if err != nil {
						c.Fatalf("%v", err)
					}
					tp.Partitions = append(tp.Partitions, int32(n))
				}
				req.TopicPartitions = append(req.TopicPartitions, tp)
			}
		}
	}
	return &req
}

// beat gives the answer and what was stored.
func (w *world) beat(c *script.Cmd, req *msg.ConsumerGroupHeartbeatRequest) string {
	version := int16(c.IntKey("version", 1))
	if err := w.cfg.Check(version, req); err != nil {
		return refusal(err)
	}
	g := w.g
	if g == nil {
		if req.MemberEpoch != joining {
			return "no group"
		}
		g = New("g", &w.cfg)
	}
	who := Who{ClientID: "client", Host: "/127.0.0.1", Version: version, NewID: "drawn"}
	if secret := c.Key("secret", ""); secret != "" {
		who.Describer = func() func(string) bool { return func(topic string) bool { return topic != secret } }
	}
	resp, step, err := g.Heartbeat(w.now, who, req)
	if err != nil {
		return refusal(err)
	}
	w.append(step, g, false)
	out := fmt.Sprintf("%s epoch %d", *resp.MemberID, resp.MemberEpoch)
	if resp.Assignment != nil {
		var s assign.Set
		for _, t := range resp.Assignment.TopicPartitions {
			s = append(s, assign.TopicPartitions{Topic: t.TopicID, Partitions: t.Partitions})
		}
		out += ", reads " + setText(s)
	}
	return out + stored(w.t, step)
}

func refusal(err error) string { return kafka.CodeOf(err).Name() + ": " + err.Error() }

// stored names the records of a step.
func stored(t testing.TB, step kind.Step) string {
	var out strings.Builder
	for _, m := range step.Gone {
		fmt.Fprintf(&out, "\n%s is out: %s", m.Member, m.Why)
	}
	var names []string
	for _, r := range step.Records {
		key, err := state.ParseKey(state.Group, r.Key)
		if err != nil {
			t.Fatal(err)
		}
		var name string
		switch k := key.(type) {
		case *state.ConsumerGroupMetadataKey:
			name = "epoch"
		case *state.ConsumerGroupPartitionMetadataKey:
			name = "topics"
		case *state.ConsumerGroupMemberMetadataKey:
			name = "member " + k.MemberID
		case *state.ConsumerGroupTargetAssignmentMetadataKey:
			name = "assignment"
		case *state.ConsumerGroupTargetAssignmentMemberKey:
			name = "target " + k.MemberID
		case *state.ConsumerGroupCurrentMemberAssignmentKey:
			name = "place " + k.MemberID
		case *state.ConsumerGroupRegularExpressionKey:
			name = "matches " + k.RegularExpression
		default:
			name = fmt.Sprintf("%T", key)
		}
		if r.Value == nil {
			name = "no " + name
		}
		names = append(names, name)
	}
	if len(names) > 0 {
		fmt.Fprintf(&out, "\nstored: %s", strings.Join(names, ", "))
	}
	return out.String()
}

// pass lets time pass and the alarm ring when it is due.
func (w *world) pass(c *script.Cmd) string {
	d, err := time.ParseDuration(c.Arg(0))
	if err != nil {
		c.Fatalf("%v", err)
	}
	end := w.now.Add(d)
	var out strings.Builder
	for range 100 {
		if w.g == nil || w.wake.IsZero() || w.wake.After(end) {
			break
		}
		if w.wake.After(w.now) {
			w.now = w.wake
		}
		step := w.g.Tick(w.now)
		w.append(step, w.g, false)
		out.WriteString(strings.TrimPrefix(stored(w.t, step), "\n"))
		if out.Len() > 0 {
			out.WriteString("\n")
		}
	}
	w.now = end
	return out.String()
}

// committer asks whether MEMBER may commit or fetch: epoch=2 version=9
// at=topic:partition.
func (w *world) committer(c *script.Cmd) string {
	who := kind.Committer{
		Member: c.Arg(0), Epoch: int32(c.IntKey("epoch", -1)), Version: int16(c.IntKey("version", 9)), Txn: c.Key("txn", "") != "",
	}
	if who.Named = who.Member != "-"; !who.Named {
		who.Member = ""
	}
	if c.Name == "fetch" {
		return w.g.CheckFetch(who).Name()
	}
	code := w.g.CheckCommit(who)
	topic, n, ok := strings.Cut(c.Key("at", ""), ":")
	if code == kafka.None && ok {
		p, err := strconv.Atoi(n)
		if err != nil {
			c.Fatalf("%v", err)
		}
		code = w.g.CheckPartition(who, topic, int32(p))
	}
	return code.Name()
}
