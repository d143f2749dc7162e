package broker

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// talk is a client's connection to one node, on which it may wait for an answer
// later than it asks.
type talk struct {
	c *cohort
	net.Conn
}

// talk connects from a host of its own, so that faults can be for it alone.
func (c *cohort) talk(host string, n *peerNode) *talk {
	c.t.Helper()
	conn, err := c.net.Host(host).Dial(c.t.Context(), "tcp", fmt.Sprintf("node%d:9092", n.id))
	if err != nil {
		c.t.Fatal(err)
	}
	return &talk{c, conn}
}

// ask sends a request; the function it gives waits for the answer and says whether
// one came.
func (l *talk) ask(req msg.Request, resp msg.Response, version int16) (answer func() bool) {
	if err := sendTo(l.Conn, req, version); err != nil {
		return func() bool { return false }
	}
	return func() bool { return l.hear(resp, req.Key(), version) }
}

// hear waits for an answer and says whether one came.
func (l *talk) hear(resp msg.Response, key, version int16) bool {
	body, err := receiveFrom(l.Conn)
	if err != nil {
		return false
	}
	var r wire.Reader
	r.Reset(body)
	if r.Int32(); msg.ResponseHeaderVersion(key, version) >= 1 {
		r.SkipTags()
	}
	resp.Decode(&r, version)
	if r.Failed() {
		l.c.t.Error(r.Err())
	}
	return true
}

// coordinates is the node that others name as the coordinator of a key, once it is not
// the one that died.
func (c *cohort) coordinates(kind int8, key string, dead ...*peerNode) *peerNode {
	c.t.Helper()
	by := c.others(dead...)[0]
	var found *peerNode
	c.until("a coordinator of "+key, func() bool {
		req, resp := msg.NewFindCoordinatorRequest(), msg.NewFindCoordinatorResponse()
		req.KeyType, req.CoordinatorKeys = kind, []string{key}
		c.call(by, &req, &resp, 6)
		row := resp.Coordinators[0]
		if row.ErrorCode != 0 {
			return false
		}
		found = c.node(row.NodeID)
		return !slices.Contains(dead, found)
	})
	return found
}

// others are the nodes but for some.
func (c *cohort) others(but ...*peerNode) []*peerNode {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *peerNode) bool { return slices.Contains(but, n) })
}

// again asks until the answer is not one that clients wait out: a coordinator that
// moves or loads.
func (c *cohort) again(what string, ask func() kafka.Code) kafka.Code {
	c.t.Helper()
	var code kafka.Code
	c.until(what, func() bool {
		code = ask()
		return !slices.Contains([]kafka.Code{kafka.NotCoordinator, kafka.CoordinatorLoadInProgress, kafka.CoordinatorNotAvailable,
			kafka.ConcurrentTransactions, kafka.NotLeaderOrFollower, kafka.NotEnoughReplicas}, code)
	})
	return code
}

// inSync waits until every replica of a topic is in sync.
func (c *cohort) inSync(topic string, replicas int) {
	c.t.Helper()
	c.until("all replicas of "+topic, func() bool {
		for _, n := range c.nodes {
			t := n.metadata.Image().Topic(topic)
			if t == nil {
				return false
			}
			for _, p := range t.Partitions {
				if len(p.ISR) != replicas {
					return false
				}
			}
		}
		return true
	})
}

// commit is a commit of offset at for partition 0 of topic t, by no member.
func commitOf(group string, at int64) *msg.OffsetCommitRequest {
	req := msg.NewOffsetCommitRequest()
	req.GroupID, req.GenerationIDOrMemberEpoch = group, -1
	req.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{CommittedOffset: at}}}}
	return &req
}

// offset is what a node says is committed for partition 0 of topic t.
func (c *cohort) offset(n *peerNode, group string) (int64, kafka.Code) {
	c.t.Helper()
	req, resp := msg.NewOffsetFetchRequest(), msg.NewOffsetFetchResponse()
	req.Groups = []msg.OffsetFetchRequestGroup{{GroupID: group, MemberEpoch: -1,
		Topics: []msg.OffsetFetchRequestGroupTopic{{Name: "t", PartitionIndexes: []int32{0}}}}}
	c.call(n, &req, &resp, 8)
	g := resp.Groups[0]
	if g.ErrorCode != 0 {
		return -1, kafka.Code(g.ErrorCode)
	}
	return g.Topics[0].Partitions[0].CommittedOffset, kafka.None
}

// wantOffset asks a node until it serves the group.
func (c *cohort) wantOffset(n *peerNode, group string, want int64) {
	c.t.Helper()
	var got int64
	code := c.again("the offset", func() (code kafka.Code) { got, code = c.offset(n, group); return code })
	if code != kafka.None || got != want {
		c.t.Errorf("node %d says %d, %v of group %s, want %d", n.id, got, code, group, want)
	}
}

// coordinated gives the coordinator of a group, which serves, and whose log is on
// all three.
func (c *cohort) coordinated(group string) *peerNode {
	n := c.coordinates(0, group)
	c.inSync(kafka.OffsetsTopic, 3)
	c.wantOffset(n, group, -1)
	return n
}

// A group coordinator dies after a commit is durable and before its client hears of
// it: the next coordinator has it.
func TestCommitOutlivesItsCoordinator(t *testing.T) {
	onThree(t, nil, func(c *cohort) {
		t := c.t
		c.topic("t", 1, 3)
		was := c.coordinated("g")
		deaf := c.talk("deaf", was)
		c.net.Hold(fmt.Sprintf("node%d", was.id), "deaf")
		resp := msg.NewOffsetCommitResponse()
		answer := deaf.ask(commitOf("g", 5), &resp, 8)
		c.until("the commit", func() bool { at, _ := c.offset(was, "g"); return at == 5 })
		c.slay(was)
		if answer() {
			t.Error("the client was answered: this shows nothing")
		}
		is := c.coordinates(0, "g", was)
		c.wantOffset(is, "g", 5)
		c.start(was)
		c.ready(was)
	})
}

// A group coordinator that is cut off from the others takes a commit that nobody
// else hears of. Its client is not told that it is durable; the next coordinator
// goes on without it, and so does the old one when it is back.
func TestCommitOfALonelyCoordinator(t *testing.T) {
	onThree(t, nil, func(c *cohort) {
		t := c.t
		c.topic("t", 1, 3)
		was := c.coordinated("g")
		first := msg.NewOffsetCommitResponse()
		if !c.talk("client", was).ask(commitOf("g", 5), &first, 8)() || first.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatal("the first commit")
		}
		c.alone(was, true)
		lonely, resp := c.talk("client", was), msg.NewOffsetCommitResponse()
		answer := lonely.ask(commitOf("g", 6), &resp, 8)
		is := c.coordinates(0, "g", was)
		c.wantOffset(is, "g", 5)
		second := msg.NewOffsetCommitResponse()
		if !c.talk("client", is).ask(commitOf("g", 7), &second, 8)() || second.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Error("a commit at the new coordinator", second)
		}
		if at, code := c.offset(was, "g"); code == kafka.None && at != 5 { // as Kafka's: it does not know yet that it was deposed
			t.Errorf("who is cut off says %d", at)
		}
		c.alone(was, false)
		if answer() && resp.Topics[0].Partitions[0].ErrorCode == 0 {
			t.Error("a commit that nobody else has is acknowledged")
		}
		c.inSync(kafka.OffsetsTopic, 3)
		c.wantOffset(c.coordinates(0, "g"), "g", 7)
		_, code := c.offset(c.others(c.coordinates(0, "g"))[0], "g")
		if code != kafka.NotCoordinator {
			t.Errorf("who does not coordinate says %v", code)
		}
	})
}

// alone cuts a node off from all other nodes, not from clients, or ends that.
func (c *cohort) alone(n *peerNode, alone bool) {
	for _, o := range c.others(n) {
		a, b := fmt.Sprintf("node%d", n.id), fmt.Sprintf("node%d", o.id)
		if alone {
			c.net.CutBoth(a, b)
		} else {
			c.net.HealBoth(a, b)
		}
	}
}

// joinOf and syncOf are what a consumer asks of a classic group.
func joinOf(member string) *msg.JoinGroupRequest {
	req := msg.NewJoinGroupRequest()
	req.GroupID, req.MemberID, req.ProtocolType = "g", member, "consumer"
	req.SessionTimeoutMs, req.RebalanceTimeoutMs = 30_000, 60_000
	req.Protocols = []msg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("x")}}
	return &req
}

func syncOf(member string, generation int32, assignments ...string) *msg.SyncGroupRequest {
	req := msg.NewSyncGroupRequest()
	req.GroupID, req.MemberID, req.GenerationID = "g", member, generation
	for _, id := range assignments {
		req.Assignments = append(req.Assignments, msg.SyncGroupRequestAssignment{MemberID: id, Assignment: []byte("of " + id)})
	}
	return &req
}

// beat is the code that a member's heartbeat is answered.
func (c *cohort) beat(n *peerNode, member string, generation int32) kafka.Code {
	c.t.Helper()
	return c.again("a heartbeat", func() kafka.Code {
		req, resp := msg.NewHeartbeatRequest(), msg.NewHeartbeatResponse()
		req.GroupID, req.MemberID, req.GenerationID = "g", member, generation
		c.call(n, &req, &resp, 3)
		return kafka.Code(resp.ErrorCode)
	})
}

// A group coordinator dies while a rebalance is open: one member waits in JoinGroup,
// another has not joined again. The next coordinator goes on with the generation that
// is in the log, the first comes once more, and both get a new generation.
func TestCoordinatorDiesInARebalance(t *testing.T) {
	onThree(t, nil, func(c *cohort) {
		t := c.t
		was := c.coordinated("g")
		a := msg.NewJoinGroupResponse()
		c.call(was, joinOf(""), &a, 3)
		synced := msg.NewSyncGroupResponse()
		c.call(was, syncOf(a.MemberID, a.GenerationID, a.MemberID), &synced, 2)
		if a.ErrorCode != 0 || synced.ErrorCode != 0 || string(synced.Assignment) != "of "+a.MemberID {
			t.Fatal(a, synced)
		}
		b := msg.NewJoinGroupResponse()
		waits := c.talk("client", was).ask(joinOf(""), &b, 3)
		c.until("a rebalance", func() bool { return c.beat(was, a.MemberID, a.GenerationID) == kafka.RebalanceInProgress })
		c.slay(was)
		if waits() {
			t.Fatal("who joined was answered: this shows nothing")
		}
		is := c.coordinates(0, "g", was)
		if code := c.beat(is, a.MemberID, a.GenerationID); code != kafka.None {
			t.Errorf("the member of the stored generation is told %v", code)
		}
		waits = c.talk("client", is).ask(joinOf(""), &b, 3)
		c.until("another rebalance", func() bool { return c.beat(is, a.MemberID, a.GenerationID) == kafka.RebalanceInProgress })
		a2 := msg.NewJoinGroupResponse()
		c.call(is, joinOf(a.MemberID), &a2, 3)
		if !waits() || a2.ErrorCode != 0 || b.ErrorCode != 0 || a2.GenerationID != a.GenerationID+1 || b.GenerationID != a2.GenerationID {
			t.Fatal(a2, b)
		}
		sa, sb := msg.NewSyncGroupResponse(), msg.NewSyncGroupResponse()
		waits = c.talk("client", is).ask(syncOf(b.MemberID, b.GenerationID), &sb, 2)
		c.call(is, syncOf(a.MemberID, a2.GenerationID, a.MemberID, b.MemberID), &sa, 2)
		if !waits() || string(sa.Assignment) != "of "+a.MemberID || string(sb.Assignment) != "of "+b.MemberID {
			t.Error(sa, sb)
		}
		c.start(was)
		c.ready(was)
		c.inSync(kafka.OffsetsTopic, 3)
		if code := c.beat(c.coordinates(0, "g"), b.MemberID, b.GenerationID); code != kafka.None {
			t.Errorf("with all nodes back: %v", code)
		}
	})
}
