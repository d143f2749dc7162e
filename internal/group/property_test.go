package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Random members do random things, at random times, with commits that are held
// back or lost, and coordinators that die at an append. Whatever they do:
//
//   - nothing panics, and every request is answered in the end;
//   - no member sees a generation go back, and who leads a group is a member;
//   - what somebody is told is durable by then, see [crowd.acked];
//   - at every append the coordinator has what the log says, see [crowd.appended],
//     and so has the one that loads it next;
//   - the offsets are those that the log alone says, see [offsetsByLog].
func TestRandomRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var thrown any // by rapid, which must not leave the bubble with a panic
		c := newCrowd(rt)
		synctest.Test(t, func(t *testing.T) { thrown = c.run(t) })
		if why, ok := thrown.(failure); ok {
			rt.Fatal(string(why))
		}
		if thrown != nil {
			panic(thrown)
		}
	})
}

// failure is thrown out of the bubble, which must end in order before rapid is
// told.
type failure string

func (c *crowd) Fatalf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// crowd are the members of a few groups, of which the test knows what they were
// told.
type crowd struct {
	*rapid.T
	t       *testing.T
	log     *slicelog.Log
	s       *Service
	ctx     context.Context
	waiting []<-chan msg.Response
	ids     []string
	members map[string]member
	eager   []string         // who may sync next
	gens    map[string]int32 // highest generation told, by group, and by group and member
	epochs  map[string]int32 // of the members of the consumer protocol, and what they were given
	owned   map[string][]msg.ConsumerGroupHeartbeatRequestTopicPartition
	delay   time.Duration
	mixes   bool // both protocols; a group that was empty in between begins anew
	forgets bool // groups may be deleted, or lost before they are stored

	live    atomic.Pointer[shard]
	follow  follower
	steps   int                   // 0: drawn
	death   func(l *slicelog.Log) // the first; nil: drawn
	appends int

	said struct {
		sync.Mutex
		wrong string // by those who must not panic
	}
}

// wrong notes what cannot be; it may be called from any goroutine.
func (c *crowd) wrong(format string, args ...any) {
	c.said.Lock()
	defer c.said.Unlock()
	if c.said.wrong == "" {
		c.said.wrong = fmt.Sprintf(format, args...)
	}
}

func newCrowd(rt *rapid.T) *crowd {
	return &crowd{
		T: rt, ids: []string{"", "nobody"}, gens: map[string]int32{}, members: map[string]member{},
		epochs: map[string]int32{}, owned: map[string][]msg.ConsumerGroupHeartbeatRequestTopicPartition{},
		mixes:   rapid.Bool().Draw(rt, "mixes"),
		forgets: rapid.Bool().Draw(rt, "forgets"),
		delay:   rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(rt, "initial delay"),
	}
}

func (c *crowd) run(t *testing.T) (thrown any) {
	c.t, c.log = t, slicelog.New(1)
	ctx, cancel := context.WithCancel(context.Background())
	s, wait := openSeen(ctx, c.t, c.log, func(cfg *Config) {
		cfg.Limits.MaxSize = 3
		cfg.Limits.InitialDelay = c.delay
		cfg.Retention, cfg.CheckEvery = 2*time.Hour, time.Minute
	}, &c.live)
	defer func() {
		thrown = recover()
		cancel()
		wait()
	}()
	c.s, c.ctx = s, ctx
	c.follow.cfg = &s.cfg
	c.log.Watch(c.appended)
	if c.death != nil {
		c.forgets = true
		c.death(c.log)
	}
	s.Elect(0, 1)
	synctest.Wait()
	if c.steps == 0 {
		c.steps = rapid.SampledFrom([]int{5, 20, 80}).Draw(c.T, "steps")
	}
	for range c.steps {
		c.step()
		c.collect()
	}
	c.log.Refuse(nil)
	c.log.DieAt(0, 0)
	c.log.Commit()
	c.collect()
	c.reload()            // in the midst of it
	time.Sleep(time.Hour) // all sessions end, all waits are over
	c.collect()
	if n := len(c.waiting); n > 0 {
		c.Fatalf("%d requests are never answered", n)
	}
	c.reload()
	c.compareOffsets()
	c.endAll()
	return nil
}

// reload has the coordinator load the log again. Groups that were between two
// generations come back as they were stored; the others must be the same.
func (c *crowd) reload() {
	c.log.Refuse(nil)
	c.log.Commit()
	c.collect()
	before := map[string]string{}
	for _, g := range groups {
		before[g] = c.picture(g)
	}
	c.s.Resign(0, kafka.NoEpoch)
	synctest.Wait()
	c.s.Elect(0, c.log.Leads())
	synctest.Wait()
	for _, g := range groups {
		after := c.picture(g)
		// An end of a group that the log refuses to hear of is a group that comes
		// back, until its sessions end.
		if !c.forgets && !strings.Contains(before[g], "Rebalance") && after != before[g] {
			c.Fatalf("loaded again, %s is\n%s\nbefore it was\n%s", g, after, before[g])
		}
	}
}

// picture is all that can be asked of a group.
func (c *crowd) picture(group string) string {
	d := msg.NewDescribeGroupsRequest()
	d.Groups = []string{group}
	f := msg.OffsetFetchRequestGroup{GroupID: group, MemberEpoch: -1}
	offsets := c.s.Fetch(c.ctx, Client{Version: 9}, &f, false)
	stable := c.s.Fetch(c.ctx, Client{Version: 9}, &f, true)
	d2 := msg.ConsumerGroupDescribeResponse{Groups: c.s.ConsumerGroupDescribe(c.ctx, []string{group})}
	text := show(&d2) + "\n" + show(&stable) + "\n" + show(c.s.Describe(c.ctx, Client{Version: 6}, &d)) + "\n" + show(&offsets)
	return strings.ReplaceAll(text, "MemberAssignment=null", `MemberAssignment=""`) // the same on the wire
}

var groups = []string{"g1", "g2"}

func (c *crowd) step() {
	what := rapid.IntRange(0, 23).Draw(c.T, "what")
	if len(c.eager) > 0 && rapid.IntRange(0, 2).Draw(c.T, "eager") > 0 {
		what = 7
	}
	switch what {
	case 0:
		time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 50, 1000, 4000, 7000, 20000}).Draw(c.T, "ms")) * time.Millisecond)
	case 1, 2, 21:
		c.trouble(what)
	case 3, 4, 5, 6:
		c.join()
	case 7, 8:
		c.sync()
	case 9:
		r := msg.NewHeartbeatRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID, r.GenerationID = c.who()
		c.send(&r, 4)
	case 10:
		r := msg.NewLeaveGroupRequest()
		m := msg.LeaveGroupRequestMember{}
		r.GroupID, m.MemberID, m.GroupInstanceID, _ = c.who()
		r.Members = []msg.LeaveGroupRequestMember{m, {MemberID: m.MemberID}, {GroupInstanceID: c.instance()}}
		c.send(&r, 5)
	case 11:
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.MemberID, r.GroupInstanceID, r.GenerationIDOrMemberEpoch = c.who()
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: []msg.OffsetCommitRequestTopicPartition{{
			PartitionIndex: rapid.Int32Range(0, 2).Draw(c.T, "partition"), CommittedOffset: rapid.Int64Range(0, 9).Draw(c.T, "offset"),
		}}}}
		c.send(&r, 9)
	case 13, 14:
		c.txnCommit()
	case 15:
		c.mark()
	case 16:
		c.reload()
	case 17, 18, 19, 20:
		if c.mixes {
			c.consumerBeat()
		}
	case 22:
		c.wane()
	case 23:
		c.compareOffsets()
	case 12:
		if c.forgets && rapid.Bool().Draw(c.T, "delete group") {
			r := msg.NewDeleteGroupsRequest()
			r.GroupsNames = []string{rapid.SampledFrom(groups).Draw(c.T, "group")}
			c.send(&r, 2)
			return
		}
		r := msg.NewOffsetDeleteRequest()
		r.GroupID, _, _, _ = c.who()
		r.Topics = []msg.OffsetDeleteRequestTopic{{Name: "t", Partitions: []msg.OffsetDeleteRequestTopicPartition{{}}}}
		c.send(&r, 0)
	}
}

// trouble is what may happen to a log and its leader.
func (c *crowd) trouble(what int) {
	switch {
	case what == 1:
		hold := rapid.Bool().Draw(c.T, "hold")
		c.log.Commit()
		if hold {
			c.log.Hold()
		}
	case !c.forgets:
	case what == 21:
		at, fate := rapid.IntRange(1, 3).Draw(c.T, "at"), rapid.SampledFrom(slicelog.Fates()).Draw(c.T, "fate")
		if rapid.Bool().Draw(c.T, "stumbles") {
			c.log.StumbleAt(at, fate)
		} else {
			c.log.DieAt(at, fate)
		}
	case rapid.IntRange(0, 3).Draw(c.T, "lose") == 0:
		c.log.Lose()
	case rapid.Bool().Draw(c.T, "refuse"):
		c.log.Refuse(rapid.SampledFrom([]error{kafka.NotEnoughReplicas, kafka.KafkaStorageError}).Draw(c.T, "refusal"))
	}
}

// wane lets offsets expire, or their topic be deleted.
func (c *crowd) wane() {
	if rapid.Bool().Draw(c.T, "expire") {
		time.Sleep(3 * time.Hour)
		return
	}
	ch := make(chan msg.Response, 1)
	go func() {
		_ = c.s.TopicsDeleted(c.ctx, []string{"t"})
		ch <- nil
	}()
	c.waiting = append(c.waiting, ch)
}

// who is by what a request speaks: most often a member as it should.
func (c *crowd) who() (group, id string, instance *string, gen int32) {
	group = rapid.SampledFrom(groups).Draw(c.T, "group")
	id = rapid.SampledFrom(c.ids).Draw(c.T, "id")
	if m, ok := c.members[id]; ok && rapid.IntRange(0, 9).Draw(c.T, "honest") > 0 {
		return m.group, id, m.instance, c.gens[m.group]
	}
	return group, id, c.instance(), rapid.Int32Range(-1, 6).Draw(c.T, "generation")
}

func (c *crowd) instance() *string {
	return rapid.SampledFrom([]*string{nil, nil, new("i"), new("k")}).Draw(c.T, "instance")
}

func (c *crowd) join() {
	r := msg.NewJoinGroupRequest()
	r.GroupID, r.MemberID, r.GroupInstanceID, _ = c.who()
	if rapid.IntRange(0, 3).Draw(c.T, "restarted") == 0 {
		r.MemberID = ""
	}
	r.SessionTimeoutMs, r.RebalanceTimeoutMs = 6000, rapid.SampledFrom([]int32{1000, 10000}).Draw(c.T, "rebalance")
	r.ProtocolType = "consumer"
	for _, name := range rapid.SampledFrom([][]string{{"a"}, {"a", "b"}, {"b", "a"}, {"b"}}).Draw(c.T, "protocols") {
		r.Protocols = append(r.Protocols, msg.JoinGroupRequestProtocol{Name: name, Metadata: metadata(rapid.SampledFrom([]string{"@t", "@t+u", "@u", "x"}).Draw(c.T, "metadata"))})
	}
	c.send(&r, rapid.SampledFrom([]int16{0, 3, 4, 8, 9}).Draw(c.T, "version"))
}

func (c *crowd) sync() {
	r := msg.NewSyncGroupRequest()
	r.GroupID, r.MemberID, r.GroupInstanceID, r.GenerationID = c.who()
	if len(c.eager) > 0 { // one that has just heard of the generation
		r.MemberID = c.eager[0]
		m := c.members[r.MemberID]
		r.GroupID, r.GroupInstanceID, r.GenerationID = m.group, m.instance, c.gens[m.group+" "+r.MemberID]
		c.eager = c.eager[1:]
	}
	for _, id := range c.ids {
		r.Assignments = append(r.Assignments, msg.SyncGroupRequestAssignment{MemberID: id, Assignment: metadata(rapid.SampledFrom([]string{"", "@t/0+1", "x"}).Draw(c.T, "assignment"))})
	}
	c.send(&r, 3)
}

func (c *crowd) send(req msg.Request, version int16) {
	c.Logf("%T v%d %s", req, version, show(req))
	p := &local{t: c.t, s: c.s, ctx: c.ctx}
	ch := c.told(req, p.send(req, version))
	if j, ok := req.(*msg.JoinGroupRequest); ok {
		ch = c.watch(j, ch)
	}
	c.waiting = append(c.waiting, ch)
}

// joined carries the answer to a join with who asked.
type joined struct {
	msg.Response
	member
}

type member struct {
	group    string
	instance *string
}

func (c *crowd) watch(req *msg.JoinGroupRequest, ch <-chan msg.Response) <-chan msg.Response {
	out := make(chan msg.Response, 1)
	m := member{req.GroupID, req.GroupInstanceID}
	go func() { out <- joined{<-ch, m} }()
	return out
}

// collect takes the answers that are there and checks them. If the coordinator has
// died, the next one begins.
func (c *crowd) collect() {
	synctest.Wait()
	for c.log.Died() {
		c.s.Elect(0, c.log.Leads())
		synctest.Wait()
	}
	c.waiting = slices.DeleteFunc(c.waiting, func(ch <-chan msg.Response) bool {
		select {
		case resp := <-ch:
			switch r := resp.(type) {
			case joined:
				c.check(r.member, r.Response.(*msg.JoinGroupResponse))
			case beaten:
				c.beaten(r)
			}
			return true
		default:
			return false
		}
	})
	c.said.Lock()
	defer c.said.Unlock()
	if c.said.wrong != "" {
		c.Fatalf("%s", c.said.wrong)
	}
}

func (c *crowd) check(m member, j *msg.JoinGroupResponse) {
	group := m.group
	if _, known := c.members[j.MemberID]; j.MemberID != "" && !known {
		c.ids = append(c.ids, j.MemberID)
		if len(c.ids) > 6 { // those that are long gone are of little use
			c.ids = c.ids[1:]
		}
		c.members[j.MemberID] = m
	}
	if j.ErrorCode != 0 {
		return
	}
	// Another member's answer may be on its way for longer than this one's.
	for _, whose := range []string{group, group + " " + j.MemberID} {
		if j.GenerationID < c.gens[whose] && !c.forgets && !c.mixes && whose != group {
			c.Fatalf("%s: generation %d after %d", whose, j.GenerationID, c.gens[whose])
		}
		c.gens[whose] = max(c.gens[whose], j.GenerationID)
	}
	c.eager = append(c.eager, j.MemberID)
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
