package group

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Random members do random things, at random times, with commits that are held
// back or lost. Whatever they do:
//
//   - nothing panics, and every request is answered in the end;
//   - no member sees a generation go back, and who leads a group is a member;
//   - what a coordinator loads from the log is what the last one had.
func TestRandomRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var thrown any // by rapid, which must not leave the bubble with a panic
		c := newCrowd(rt)
		synctest.Test(t, func(t *testing.T) { thrown = c.run(t) })
		if thrown != nil {
			panic(thrown)
		}
	})
}

// crowd are the members of a few groups, of which the test knows what they were
// told.
type crowd struct {
	*rapid.T
	t       *testing.T
	log     *sliceLog
	s       *Service
	ctx     context.Context
	waiting []<-chan msg.Response
	ids     []string
	gens    map[string]int32 // highest generation told, by group, and by group and member
	delay   time.Duration
	forgets bool // groups may be deleted, or lost before they are stored
}

func newCrowd(rt *rapid.T) *crowd {
	return &crowd{
		T: rt, ids: []string{"", "nobody"}, gens: map[string]int32{},
		forgets: rapid.Bool().Draw(rt, "forgets"),
		delay:   rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(rt, "initial delay"),
	}
}

func (c *crowd) run(t *testing.T) (thrown any) {
	c.t, c.log = t, &sliceLog{epoch: 1}
	ctx, cancel := context.WithCancel(context.Background())
	s, wait := open(ctx, c.t, c.log, func(cfg *Config) {
		cfg.Limits.MaxSize = 3
		cfg.Limits.InitialDelay = c.delay
	})
	defer func() {
		thrown = recover()
		cancel()
		wait()
	}()
	c.s, c.ctx = s, ctx
	s.Elect(0, 1)
	synctest.Wait()
	for range rapid.IntRange(1, 60).Draw(c.T, "steps") {
		c.step()
		c.collect()
	}
	c.log.hold = false
	c.log.commit()
	c.collect()
	c.reload()            // in the midst of it
	time.Sleep(time.Hour) // all sessions end, all waits are over
	c.collect()
	if n := len(c.waiting); n > 0 {
		c.Fatalf("%d requests are never answered", n)
	}
	c.reload()
	return nil
}

// reload has the coordinator load the log again. Groups that were between two
// generations come back as they were stored; the others must be the same.
func (c *crowd) reload() {
	before := map[string]string{}
	for _, g := range groups {
		before[g] = c.picture(g)
	}
	c.s.Resign(0, kafka.NoEpoch)
	synctest.Wait()
	c.s.Elect(0, 1)
	synctest.Wait()
	for _, g := range groups {
		after := c.picture(g)
		if !strings.Contains(before[g], "Rebalance") && after != before[g] {
			c.Fatalf("loaded again, %s is\n%s\nbefore it was\n%s", g, after, before[g])
		}
	}
}

// picture is all that can be asked of a group.
func (c *crowd) picture(group string) string {
	d := msg.NewDescribeGroupsRequest()
	d.Groups = []string{group}
	f := msg.OffsetFetchRequestGroup{GroupID: group}
	offsets := c.s.Fetch(Client{Version: 9}, &f)
	return show(c.s.Describe(c.ctx, Client{Version: 6}, &d)) + "\n" + show(&offsets)
}

var groups = []string{"g1", "g2"}

func (c *crowd) step() {
	switch rapid.IntRange(0, 12).Draw(c.T, "what") {
	case 0:
		time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 50, 1000, 4000, 7000, 20000}).Draw(c.T, "ms")) * time.Millisecond)
	case 1:
		c.log.hold = rapid.Bool().Draw(c.T, "hold")
		c.log.commit()
	case 2:
		if c.forgets && rapid.IntRange(0, 3).Draw(c.T, "lose") == 0 {
			c.log.lose(1)
		}
	case 3, 4, 5, 6:
		c.join()
	case 7, 8:
		c.sync()
	case 9:
		r := msg.NewHeartbeatRequest()
		r.GroupID, r.MemberID, r.GenerationID, r.GroupInstanceID = c.group(), c.id(), c.gen(), c.instance()
		c.send(&r, 4)
	case 10:
		r := msg.NewLeaveGroupRequest()
		r.GroupID = c.group()
		r.Members = []msg.LeaveGroupRequestMember{{MemberID: c.id(), GroupInstanceID: c.instance()}, {MemberID: c.id()}}
		c.send(&r, 5)
	case 11:
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.MemberID, r.GenerationIDOrMemberEpoch = c.group(), c.id(), c.gen()
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{
			PartitionIndex: rapid.Int32Range(0, 2).Draw(c.T, "partition"), CommittedOffset: rapid.Int64Range(0, 9).Draw(c.T, "offset"),
		}}}}
		c.send(&r, 9)
	case 12:
		if c.forgets && rapid.Bool().Draw(c.T, "delete group") {
			r := msg.NewDeleteGroupsRequest()
			r.GroupsNames = []string{c.group()}
			c.send(&r, 2)
			return
		}
		r := msg.NewOffsetDeleteRequest()
		r.GroupID = c.group()
		r.Topics = []msg.OffsetDeleteRequestTopic{{Name: "t", Partitions: []msg.OffsetDeleteRequestTopicPartition{{}}}}
		c.send(&r, 0)
	}
}

func (c *crowd) group() string { return rapid.SampledFrom(groups).Draw(c.T, "group") }
func (c *crowd) id() string    { return rapid.SampledFrom(c.ids).Draw(c.T, "id") }

// gen is some generation, most often the last of some group.
func (c *crowd) gen() int32 {
	if rapid.Bool().Draw(c.T, "last generation") {
		return c.gens[groups[0]]
	}
	return rapid.Int32Range(-1, 6).Draw(c.T, "generation")
}

func (c *crowd) instance() *string {
	return rapid.SampledFrom([]*string{nil, nil, new("i"), new("k")}).Draw(c.T, "instance")
}

func (c *crowd) join() {
	r := msg.NewJoinGroupRequest()
	r.GroupID, r.MemberID, r.GroupInstanceID = c.group(), c.id(), c.instance()
	r.SessionTimeoutMs, r.RebalanceTimeoutMs = 6000, rapid.SampledFrom([]int32{1000, 10000}).Draw(c.T, "rebalance")
	r.ProtocolType = "consumer"
	for _, name := range rapid.SampledFrom([][]string{{"a"}, {"a", "b"}, {"b", "a"}, {"b"}}).Draw(c.T, "protocols") {
		r.Protocols = append(r.Protocols, msg.JoinGroupRequestProtocol{Name: name, Metadata: []byte{rapid.Byte().Draw(c.T, "metadata")}})
	}
	c.send(&r, rapid.SampledFrom([]int16{0, 3, 4, 8, 9}).Draw(c.T, "version"))
}

func (c *crowd) sync() {
	r := msg.NewSyncGroupRequest()
	r.GroupID, r.MemberID, r.GenerationID, r.GroupInstanceID = c.group(), c.id(), c.gen(), c.instance()
	for _, id := range c.ids {
		r.Assignments = append(r.Assignments, msg.SyncGroupRequestAssignment{MemberID: id, Assignment: []byte(id)})
	}
	c.send(&r, 3)
}

func (c *crowd) send(req msg.Request, version int16) {
	p := &local{t: c.t, s: c.s, ctx: c.ctx}
	ch := p.send(req, version)
	if j, ok := req.(*msg.JoinGroupRequest); ok {
		ch = c.watch(j.GroupID, ch)
	}
	c.waiting = append(c.waiting, ch)
}

// joined carries the answer to a join with its group.
type joined struct {
	msg.Response
	group string
}

func (c *crowd) watch(group string, ch <-chan msg.Response) <-chan msg.Response {
	out := make(chan msg.Response, 1)
	go func() { out <- joined{<-ch, group} }()
	return out
}

// collect takes the answers that are there and checks them.
func (c *crowd) collect() {
	synctest.Wait()
	c.waiting = slices.DeleteFunc(c.waiting, func(ch <-chan msg.Response) bool {
		select {
		case resp := <-ch:
			if j, ok := resp.(joined); ok {
				c.check(j.group, j.Response.(*msg.JoinGroupResponse))
			}
			return true
		default:
			return false
		}
	})
}

func (c *crowd) check(group string, j *msg.JoinGroupResponse) {
	if j.MemberID != "" && !slices.Contains(c.ids, j.MemberID) {
		c.ids = append(c.ids, j.MemberID)
	}
	if j.ErrorCode != 0 {
		return
	}
	// Another member's answer may be on its way for longer than this one's.
	for _, whose := range []string{group, group + " " + j.MemberID} {
		if j.GenerationID < c.gens[whose] && !c.forgets && whose != group {
			c.Fatalf("%s: generation %d after %d", whose, j.GenerationID, c.gens[whose])
		}
		c.gens[whose] = max(c.gens[whose], j.GenerationID)
	}
	if len(j.Members) == 0 {
		return
	}
	if j.MemberID != j.Leader {
		c.Fatalf("%s: %s learns the members, %s leads", group, j.MemberID, j.Leader)
	}
	if !slices.ContainsFunc(j.Members, func(m msg.JoinGroupResponseMember) bool { return m.MemberID == j.Leader }) {
		c.Fatalf("%s: the leader is no member: %s", group, show(j))
	}
}
