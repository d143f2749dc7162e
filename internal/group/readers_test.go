package group

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/slicelog"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// TestReaders has well-behaved members of both protocols in one group, which so
// goes up and down between classic and consumer; some are static, some come back
// in the other protocol, some die, some answers are lost, and so are appends with
// the coordinator that made them. They commit offsets, in transactions too, while
// an administrator deletes some. No partition is ever read by two of them, and in
// the end each is read by one.
func TestReaders(t *testing.T) {
	histories := uint64(300)
	if testing.Short() {
		histories = 25
	}
	var seeds []uint64
	for seed := range histories {
		seeds = append(seeds, seed)
	}
	seeds = append(seeds, 1187, 2604, 3085, 4711, 5923) // 3085: who waits for what the last of the newer protocol holds
	ups, downs := 0, 0
	for _, seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			h := &reading{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 5)), log: slicelog.New(1)}
			h.play()
			ups, downs = ups+h.ups, downs+h.downs
		})
	}
	if ups < int(histories)/2 || downs < int(histories)/2 {
		t.Errorf("%d groups went up and %d down only", ups, downs)
	}
}

// patienceOf is a session, and how long a rebalance may take.
const patienceOf = 10 * time.Second

type reading struct {
	t       *testing.T
	seed    uint64
	rnd     *rand.Rand
	log     *slicelog.Log
	p       *local
	step    int
	readers []*reader
	kind    string // of the group, as it was last seen
	ups     int
	downs   int
}

// reader is one process, which reads what it was told to.
type reader struct {
	classic  bool
	instance *string
	id       string
	epoch    int32 // or generation
	owns     map[int32]bool
	heard    time.Time // when it last heard that it is a member
	unsure   bool      // of what it was told last, so it tells all
	waits    <-chan msg.Response
	syncs    bool // it waits for SyncGroup, not JoinGroup
}

func (h *reading) fatalf(format string, args ...any) {
	h.t.Fatalf("seed %d, step %d: %s", h.seed, h.step, fmt.Sprintf(format, args...))
}

func (h *reading) play() {
	ctx, cancel := context.WithCancel(context.Background())
	s, wait := open(ctx, h.t, h.log, func(c *Config) { c.CheckEvery, c.Retention = time.Minute, 5*time.Minute })
	defer wait()
	defer cancel()
	h.p = &local{t: h.t, s: s, log: h.log, ctx: ctx}
	s.Elect(0, 1)
	synctest.Wait()
	for i := range 2 + h.rnd.IntN(4) {
		r := &reader{classic: h.rnd.IntN(2) == 0, owns: map[int32]bool{}}
		if h.rnd.IntN(3) == 0 {
			r.instance = new(fmt.Sprint("i", i))
		}
		h.readers = append(h.readers, r)
	}
	for h.step = range 200 {
		h.event()
		h.look()
	}
	h.log.DieAt(0, 0)
	for range 150 { // and now in peace
		h.step++
		for _, r := range h.readers {
			h.go1(r, false)
			h.look()
		}
		time.Sleep(time.Second)
	}
	if n := len(h.read()); n != 4 {
		var all strings.Builder
		for _, r := range h.readers {
			fmt.Fprintf(&all, "%+v\n", *r)
		}
		d := msg.ConsumerGroupDescribeResponse{Groups: h.p.s.ConsumerGroupDescribe(h.p.ctx, []string{"g"})}
		h.fatalf("%d partitions are read of 4 in a %s group by\n%s%s", n, h.kind, &all, show(&d))
	}
}

func (h *reading) event() {
	r := h.readers[h.rnd.IntN(len(h.readers))]
	switch n := h.rnd.IntN(100); {
	case n < 66:
		h.go1(r, h.rnd.IntN(12) == 0)
	case n < 72:
		time.Sleep(time.Duration(h.rnd.IntN(3000)) * time.Millisecond)
	case n < 76:
		h.leave(r)
	case n < 79: // it dies, and one in the other protocol takes its place
		*r = reader{classic: !r.classic, instance: r.instance, owns: map[int32]bool{}}
	case n < 84:
		h.leave(r)
		r.classic = !r.classic
	case n < 86: // all that are left speak the same
		for _, o := range h.readers {
			if o.classic != r.classic {
				h.leave(o)
				o.classic = r.classic
			}
		}
	case n < 92:
		h.log.DieAt(1+h.rnd.IntN(3), slicelog.Fates()[h.rnd.IntN(5)])
	case n < 94:
		h.log.StumbleAt(1+h.rnd.IntN(3), slicelog.Fates()[h.rnd.IntN(4)])
	default:
		h.offsets(r)
	}
}

// offsets commits, in a transaction or not, ends one, or deletes what is
// committed, as an administrator or because the topic is gone. A commit of who is
// no member is refused.
func (h *reading) offsets(r *reader) {
	parts := []msg.OffsetCommitRequestTopicPartition{{PartitionIndex: h.rnd.Int32N(4), CommittedOffset: int64(h.step)}}
	switch h.rnd.IntN(5) {
	case 0:
		q := msg.NewOffsetCommitRequest()
		q.GroupID, q.MemberID, q.GenerationIDOrMemberEpoch, q.GroupInstanceID = "g", r.id, r.epoch, r.instance
		q.Topics = []msg.OffsetCommitRequestTopic{{Name: "t", Partitions: parts}}
		h.ask(&q, 9)
	case 1:
		q := msg.NewTxnOffsetCommitRequest()
		q.TransactionalID, q.ProducerID, q.GroupID, q.MemberID, q.GenerationIDOrMemberEpoch, q.GroupInstanceID = "x", 1, "g", r.id, r.epoch, r.instance
		q.Topics = []msg.TxnOffsetCommitRequestTopic{{Name: "t", Partitions: []msg.TxnOffsetCommitRequestTopicPartition{
			msg.TxnOffsetCommitRequestTopicPartition(parts[0])}}}
		h.ask(&q, 5)
	case 2:
		_ = h.p.s.CompleteTxn(h.p.ctx, 0, coordinator.Marker{ProducerID: 1, Commit: h.rnd.IntN(2) == 0})
	case 3:
		q := msg.NewOffsetDeleteRequest()
		q.GroupID = "g"
		q.Topics = []msg.OffsetDeleteRequestTopic{{Name: "t", Partitions: []msg.OffsetDeleteRequestTopicPartition{{}}}, {Name: "u"}}
		h.ask(&q, 0)
	case 4:
		q := msg.NewDeleteGroupsRequest()
		q.GroupsNames = []string{"g"}
		h.ask(&q, 2)
	}
}

// ask sends a request whose answer nobody waits for long, nil if there is none.
func (h *reading) ask(q msg.Request, version int16) msg.Response {
	resp, ok := h.p.await(h.p.send(q, version))
	if !ok {
		h.fatalf("%T is not answered", q)
	}
	return resp
}

// look finds out whether somebody died, which protocol the group has, and whether
// two read the same.
func (h *reading) look() {
	synctest.Wait()
	for h.log.Died() {
		h.p.s.Elect(0, h.log.Leads())
		synctest.Wait()
	}
	kind := "none"
	_ = h.p.s.rt.Read(0, func(sh *shard) error {
		if g, ok := sh.find("g"); ok && !g.empty() {
			kind = string(g.typ())
		}
		return nil
	})
	switch h.kind + " " + kind {
	case "classic consumer":
		h.ups++
	case "consumer classic":
		h.downs++
	}
	h.kind = kind
	h.read()
}

// read is by whom each partition is read.
func (h *reading) read() map[int32]*reader {
	by := map[int32]*reader{}
	for _, r := range h.readers {
		if time.Since(r.heard) >= patienceOf { // it may be out, and will hear so
			continue
		}
		for p := range r.owns {
			if o := by[p]; o != nil {
				h.fatalf("t-%d is read by %+v and by %+v", p, *o, *r)
			}
			by[p] = r
		}
	}
	return by
}

// go1 lets a reader do what is next; lost loses the answer, and with it whatever
// it was told.
func (h *reading) go1(r *reader, lost bool) {
	switch {
	case !r.classic:
		h.beat(r, lost)
	case r.waits != nil:
		h.hear(r)
	case r.epoch == 0:
		h.join(r)
	default:
		q := msg.NewHeartbeatRequest()
		q.GroupID, q.MemberID, q.GroupInstanceID, q.GenerationID = "g", r.id, r.instance, r.epoch
		if resp := h.ask(&q, 4); !lost {
			h.verdict(r, kafka.Code(resp.(*msg.HeartbeatResponse).ErrorCode))
		}
	}
}

// verdict is what a classic member makes of a code: it is in, has to join again,
// or is out.
func (h *reading) verdict(r *reader, code kafka.Code) {
	switch code {
	case kafka.None:
		r.heard = time.Now()
	case kafka.NotCoordinator, kafka.CoordinatorLoadInProgress, kafka.CoordinatorNotAvailable:
	case kafka.RebalanceInProgress:
		r.epoch, r.owns = 0, map[int32]bool{} // eager: it gives up all
	case kafka.UnknownMemberID, kafka.IllegalGeneration, kafka.InconsistentGroupProtocol, kafka.FencedInstanceID, kafka.GroupIDNotFound:
		r.out()
	default:
		h.fatalf("%+v hears %s", *r, code.Name())
	}
}

func (r *reader) out() {
	*r = reader{classic: r.classic, instance: r.instance, owns: map[int32]bool{}}
}

func (h *reading) join(r *reader) {
	q := msg.NewJoinGroupRequest()
	q.GroupID, q.MemberID, q.GroupInstanceID = "g", r.id, r.instance
	q.SessionTimeoutMs, q.RebalanceTimeoutMs = int32(patienceOf.Milliseconds()), int32(patienceOf.Milliseconds())
	q.ProtocolType, q.Protocols = "consumer", []msg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata("@t")}}
	r.owns, r.syncs = map[int32]bool{}, false
	r.waits = h.p.send(&q, 9)
	h.hear(r)
}

// hear looks whether an answer is there that a classic member waits for.
func (h *reading) hear(r *reader) {
	synctest.Wait()
	var resp msg.Response
	select {
	case resp = <-r.waits:
		r.waits = nil
	default:
		return
	}
	switch a := resp.(type) {
	case *msg.JoinGroupResponse:
		switch code := kafka.Code(a.ErrorCode); code {
		case kafka.None:
			r.id, r.epoch, r.heard = a.MemberID, a.GenerationID, time.Now()
			h.sync(r, a)
		case kafka.MemberIDRequired:
			r.id = a.MemberID
		default:
			h.verdict(r, code)
		}
	case *msg.SyncGroupResponse:
		if a.ErrorCode != 0 {
			r.epoch = 0 // whatever it is, it joins again
			h.verdict(r, kafka.Code(a.ErrorCode))
			return
		}
		r.heard, r.owns = time.Now(), map[int32]bool{}
		given := state.NewConsumerProtocolAssignment()
		if _, err := state.ParseVersioned(a.Assignment, &given); err != nil && len(a.Assignment) > 0 {
			h.fatalf("%v", err)
		}
		for _, tp := range given.AssignedPartitions {
			for _, p := range tp.Partitions {
				r.owns[p] = true
			}
		}
	}
}

// sync asks for the assignment, or brings it if it leads.
func (h *reading) sync(r *reader, j *msg.JoinGroupResponse) {
	q := msg.NewSyncGroupRequest()
	q.GroupID, q.MemberID, q.GroupInstanceID, q.GenerationID = "g", r.id, r.instance, r.epoch
	q.ProtocolType, q.ProtocolName = new("consumer"), new("range")
	if j.Leader == r.id {
		for i, m := range j.Members {
			var mine []string
			for p := i; p < 4; p += len(j.Members) {
				mine = append(mine, fmt.Sprint(p))
			}
			a := metadata("@t/" + strings.Join(mine, "+"))
			q.Assignments = append(q.Assignments, msg.SyncGroupRequestAssignment{MemberID: m.MemberID, Assignment: a})
		}
	}
	r.waits, r.syncs = h.p.send(&q, 5), true
	h.hear(r)
}

// beat is a heartbeat of the consumer protocol. Who is told to give something up
// does so before it says so.
func (h *reading) beat(r *reader, lost bool) {
	q := msg.NewConsumerGroupHeartbeatRequest()
	if r.id == "" {
		r.id = fmt.Sprintf("c%d-%d", h.step, slices.Index(h.readers, r))
	}
	q.GroupID, q.MemberID, q.MemberEpoch, q.InstanceID, q.RebalanceTimeoutMs = "g", r.id, r.epoch, r.instance, int32(patienceOf.Milliseconds())
	own := msg.ConsumerGroupHeartbeatRequestTopicPartition{TopicID: kafka.UUID{15: 1}}
	for p := range int32(4) {
		if r.owns[p] {
			own.Partitions = append(own.Partitions, p)
		}
	}
	q.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	if r.epoch == 0 || r.unsure {
		q.SubscribedTopicNames = []string{"t"}
	}
	if r.epoch > 0 && len(own.Partitions) > 0 {
		q.TopicPartitions = append(q.TopicPartitions, own)
	}
	a := h.ask(&q, 1).(*msg.ConsumerGroupHeartbeatResponse)
	code := kafka.Code(a.ErrorCode)
	r.unsure = lost || code != kafka.None
	switch {
	case lost:
	case code == kafka.FencedMemberEpoch || code == kafka.UnknownMemberID || code == kafka.GroupIDNotFound || code == kafka.FencedInstanceID:
		r.out()
	case code != kafka.None: // its place is taken, or the coordinator is not there
	default:
		r.epoch, r.heard = a.MemberEpoch, time.Now()
		if a.Assignment == nil {
			return
		}
		r.owns = map[int32]bool{}
		for _, tp := range a.Assignment.TopicPartitions {
			for _, p := range tp.Partitions {
				r.owns[p] = true
			}
		}
	}
}

// leave takes a reader out, for a while if it is static and says so.
func (h *reading) leave(r *reader) {
	switch {
	case r.id == "":
	case r.classic:
		q := msg.NewLeaveGroupRequest()
		q.GroupID, q.Members = "g", []msg.LeaveGroupRequestMember{{MemberID: r.id, GroupInstanceID: r.instance}}
		h.ask(&q, 5)
	default:
		q := msg.NewConsumerGroupHeartbeatRequest()
		q.GroupID, q.MemberID, q.MemberEpoch, q.InstanceID = "g", r.id, -1, r.instance
		if r.instance != nil && h.rnd.IntN(2) == 0 {
			q.MemberEpoch = -2
		}
		h.ask(&q, 1)
	}
	r.out()
}
