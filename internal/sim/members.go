package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/history"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

func groupKey(group string, p tp) string { return group + "/" + p.String() }

// committed asks for a committed offset and holds the answer to what is known.
// It is -1 where there is none.
func (a *agent) committed(group string, p tp, member string, epoch int32) (int64, error) {
	key := groupKey(group, p)
	atLeast := a.fleet.book.ackedCommit(key)
	g := msg.NewOffsetFetchRequestGroup()
	g.GroupID, g.Topics = group, []msg.OffsetFetchRequestGroupTopic{{Name: p.topic, PartitionIndexes: []int32{p.part}}}
	if member != "" {
		g.MemberID, g.MemberEpoch = &member, epoch
	}
	req := msg.NewOffsetFetchRequest()
	req.Groups, req.RequireStable = []msg.OffsetFetchRequestGroup{g}, true
	var resp msg.OffsetFetchResponse
	if err := a.askCoordinator(ofGroup, group, &req, 9, &resp); err != nil {
		return -1, err
	}
	r := resp.Groups[0]
	if c := kafka.Code(r.ErrorCode); c != kafka.None {
		return -1, a.memberError(group, "OffsetFetch", c)
	}
	at := r.Topics[0].Partitions[0]
	if c := kafka.Code(at.ErrorCode); c != kafka.None {
		return -1, a.coordinated(ofGroup, group, "OffsetFetch of "+key, c)
	}
	a.outdated(p, at.CommittedLeaderEpoch)
	return at.CommittedOffset, a.fleet.book.checkCommit(key, atLeast, at.CommittedOffset)
}

// errExpelled says that a member has to join anew.
var errExpelled = errors.New("no member any more")

// memberError is coordinated for a member of a group.
func (a *agent) memberError(group, what string, c kafka.Code) error {
	switch c {
	case kafka.UnknownMemberID, kafka.IllegalGeneration, kafka.FencedMemberEpoch, kafka.RebalanceInProgress, kafka.StaleMemberEpoch:
		a.trace("%s: %s", what, c.Name())
		return fmt.Errorf("%w: %w: %s answered %s", errRetry, errExpelled, what, c.Name())
	}
	return a.coordinated(ofGroup, group, what+" of "+group, c)
}

// member is what members of classic and of consumer groups share: they read what
// they were assigned and commit how far they came.
type member struct {
	cursor
	group string
	id    string
	epoch int32 // or generation
	parts []tp
	stood map[tp]bool // positions that were looked up
	proc  int
	since time.Time // of the last heartbeat
}

func newMember(a *agent, group string) member {
	return member{cursor: cursor{agent: a, at: map[tp]int64{}}, group: group, stood: map[tp]bool{}, proc: a.fleet.book.process()}
}

// assigned takes a new assignment: what is new begins where the group stands.
func (m *member) assigned(parts []tp) {
	slices.SortFunc(parts, compareTP)
	for p := range m.stood { //house:maporder what is kept does not depend on the order
		if !slices.Contains(parts, p) {
			delete(m.stood, p)
		}
	}
	m.parts = parts
	m.trace("reads %v as %s in %d", parts, m.id, m.epoch)
}

// work reads a little and commits now and then. asMember says that OffsetFetch
// tells who asks.
func (m *member) work(asMember bool) error {
	for _, p := range m.parts {
		if m.stood[p] {
			continue
		}
		id := ""
		if asMember {
			id = m.id
		}
		at, err := m.committed(m.group, p, id, m.epoch)
		if err != nil {
			return err
		}
		m.at[p], m.stood[p] = max(0, at), true
	}
	got, err := m.poll(m.parts, 16<<10)
	if len(got) > 0 {
		m.fleet.book.note(history.Op{Process: m.proc, Group: true, Steps: []history.Step{{Polled: got}}})
	}
	if err != nil {
		return err
	}
	if len(got) > 0 && m.rand.IntN(100) == 0 {
		m.trace("sleeps longer than its session")
		m.rest(6*time.Second, 15*time.Second)
		return m.commit()
	}
	if len(got) > 0 && m.rand.IntN(3) == 0 {
		return m.commit()
	}
	return nil
}

func (m *member) commit() error {
	req := msg.NewOffsetCommitRequest()
	req.GroupID, req.MemberID, req.GenerationIDOrMemberEpoch = m.group, m.id, m.epoch
	for _, p := range m.parts {
		cp := msg.NewOffsetCommitRequestTopicPartition()
		cp.PartitionIndex, cp.CommittedOffset, cp.CommittedLeaderEpoch = p.part, m.at[p], m.view.read[p]
		m.fleet.book.committing(groupKey(m.group, p), m.at[p])
		req.Topics = append(req.Topics, msg.OffsetCommitRequestTopic{Name: p.topic, Partitions: []msg.OffsetCommitRequestTopicPartition{cp}})
	}
	var resp msg.OffsetCommitResponse
	if err := m.askCoordinator(ofGroup, m.group, &req, 9, &resp); err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, r := range t.Partitions {
			if c := kafka.Code(r.ErrorCode); c != kafka.None {
				return m.memberError(m.group, "OffsetCommit", c)
			}
			p := tp{t.Name, r.PartitionIndex}
			m.fleet.book.committedOK(groupKey(m.group, p), m.at[p])
		}
	}
	m.trace("committed")
	return nil
}

// gone forgets the membership, as a client that has to join anew does.
func (m *member) gone() {
	m.parts, m.epoch = nil, 0
	clear(m.stood)
}

// classicMember is a member of a classic group, whose leader assigns.
type classicMember struct {
	member
	joined bool
}

func newClassic(a *agent, group string) (func() error, func()) {
	c := &classicMember{member: newMember(a, group)}
	return c.round, c.leave
}

func (c *classicMember) round() error {
	var err error
	if !c.joined {
		err = c.join()
	}
	if err == nil {
		err = c.heartbeat()
	}
	if err == nil {
		err = c.work(false)
	}
	if errors.Is(err, errExpelled) {
		c.joined = false
		if !strings.Contains(err.Error(), kafka.RebalanceInProgress.Name()) {
			c.id = ""
		}
		c.gone()
	}
	if err == nil && c.rand.IntN(400) == 0 {
		c.leave()
	}
	c.rest(10*time.Millisecond, 200*time.Millisecond)
	return err
}

func (c *classicMember) join() error {
	req := msg.NewJoinGroupRequest()
	req.GroupID, req.MemberID, req.SessionTimeoutMs, req.RebalanceTimeoutMs, req.ProtocolType = c.group, c.id, 6000, 3000, "consumer"
	req.Protocols = []msg.JoinGroupRequestProtocol{{Name: "sim", Metadata: []byte("m")}}
	var resp msg.JoinGroupResponse
	if err := c.askCoordinator(ofGroup, c.group, &req, 7, &resp); err != nil {
		return err
	}
	switch code := kafka.Code(resp.ErrorCode); code {
	case kafka.None:
	case kafka.MemberIDRequired:
		c.id = resp.MemberID
		return errRetry
	default:
		return c.memberError(c.group, "JoinGroup", code)
	}
	c.id, c.epoch = resp.MemberID, resp.GenerationID
	sync := msg.NewSyncGroupRequest()
	protocol, kind := "sim", "consumer"
	sync.GroupID, sync.GenerationID, sync.MemberID, sync.ProtocolName, sync.ProtocolType = c.group, c.epoch, c.id, &protocol, &kind
	all := c.fleet.parts(plain, wide)
	for i, other := range resp.Members {
		var mine []string
		for j, p := range all {
			if j%len(resp.Members) == i {
				mine = append(mine, p.topic+"/"+strconv.Itoa(int(p.part)))
			}
		}
		sync.Assignments = append(sync.Assignments, msg.SyncGroupRequestAssignment{MemberID: other.MemberID, Assignment: []byte(strings.Join(mine, ","))})
	}
	var synced msg.SyncGroupResponse
	if err := c.askCoordinator(ofGroup, c.group, &sync, 5, &synced); err != nil {
		return err
	}
	if code := kafka.Code(synced.ErrorCode); code != kafka.None {
		return c.memberError(c.group, "SyncGroup", code)
	}
	c.joined = true
	return c.adopt(string(synced.Assignment))
}

func (c *classicMember) adopt(list string) error {
	var parts []tp
	for s := range strings.SplitSeq(list, ",") {
		topic, n, ok := strings.Cut(s, "/")
		part, err := strconv.Atoi(n)
		if list != "" && (!ok || err != nil) {
			return fmt.Errorf("SyncGroup of %s gave the assignment %q, which nobody made", c.group, list)
		}
		if list != "" {
			parts = append(parts, tp{topic, int32(part)})
		}
	}
	c.adoptAll(parts)
	return nil
}

// adoptAll takes an assignment of a new generation: in the classic protocol all is
// looked up again.
func (c *classicMember) adoptAll(parts []tp) {
	clear(c.stood)
	c.assigned(parts)
}

func (c *classicMember) heartbeat() error {
	if time.Since(c.since) < time.Second {
		return nil
	}
	req := msg.NewHeartbeatRequest()
	req.GroupID, req.GenerationID, req.MemberID = c.group, c.epoch, c.id
	var resp msg.HeartbeatResponse
	if err := c.askCoordinator(ofGroup, c.group, &req, 4, &resp); err != nil {
		return err
	}
	if code := kafka.Code(resp.ErrorCode); code != kafka.None {
		return c.memberError(c.group, "Heartbeat", code)
	}
	c.since = time.Now()
	return nil
}

// leave goes without waiting for what the coordinator says.
func (c *classicMember) leave() {
	if c.joined && c.rand.IntN(2) == 0 {
		req := msg.NewLeaveGroupRequest()
		req.GroupID, req.Members = c.group, []msg.LeaveGroupRequestMember{{MemberID: c.id}}
		var resp msg.LeaveGroupResponse
		_ = c.askCoordinator(ofGroup, c.group, &req, 4, &resp)
	}
	c.trace("leaves")
	c.joined, c.id = false, ""
	c.gone()
}

// consumerMember is a member of a group of the consumer protocol (KIP-848).
type consumerMember struct {
	member
	told bool // the coordinator knows what is read
	lost bool // the last heartbeat was not answered: the next one says all again
}

func newConsumer(a *agent, group string) (func() error, func()) {
	c := &consumerMember{member: newMember(a, group)}
	return c.round, c.leave
}

func (c *consumerMember) round() error {
	var err error
	if c.epoch == 0 || time.Since(c.since) > 900*time.Millisecond || !c.told {
		err = c.heartbeat()
	}
	if err == nil {
		err = c.work(true)
	}
	if errors.Is(err, errExpelled) && !strings.Contains(err.Error(), kafka.StaleMemberEpoch.Name()) {
		c.gone()
	}
	if err == nil && c.rand.IntN(400) == 0 {
		c.leave()
	}
	c.rest(10*time.Millisecond, 200*time.Millisecond)
	return err
}

func (c *consumerMember) heartbeat() error {
	if len(c.view.ids) == 0 {
		if err := c.refresh(); err != nil {
			return err
		}
	}
	if c.id == "" {
		c.id = uuidText(c.agent)
	}
	req := msg.NewConsumerGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = c.group, c.id, c.epoch
	if c.epoch == 0 || c.lost {
		req.RebalanceTimeoutMs, req.SubscribedTopicNames = 3000, []string{plain, wide}
	}
	if c.epoch == 0 {
		req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
	} else if !c.told || c.lost {
		req.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		for _, p := range c.parts {
			req.TopicPartitions = append(req.TopicPartitions, msg.ConsumerGroupHeartbeatRequestTopicPartition{TopicID: c.view.ids[p.topic], Partitions: []int32{p.part}})
		}
	}
	c.lost = true
	var resp msg.ConsumerGroupHeartbeatResponse
	if err := c.askCoordinator(ofGroup, c.group, &req, 1, &resp); err != nil {
		return err
	}
	if code := kafka.Code(resp.ErrorCode); code != kafka.None {
		return c.memberError(c.group, "ConsumerGroupHeartbeat", code)
	}
	c.since, c.epoch, c.told, c.lost = time.Now(), resp.MemberEpoch, true, false
	if resp.Assignment != nil {
		var parts []tp
		for _, t := range resp.Assignment.TopicPartitions {
			for _, n := range t.Partitions {
				parts = append(parts, tp{c.view.names[t.TopicID], n})
			}
		}
		slices.SortFunc(parts, compareTP)
		if !slices.Equal(parts, c.parts) {
			c.told = false
			c.assigned(parts)
		}
	}
	return nil
}

func (c *consumerMember) leave() {
	if c.epoch > 0 && c.rand.IntN(2) == 0 {
		req := msg.NewConsumerGroupHeartbeatRequest()
		req.GroupID, req.MemberID, req.MemberEpoch = c.group, c.id, -1
		var resp msg.ConsumerGroupHeartbeatResponse
		_ = c.askCoordinator(ofGroup, c.group, &req, 1, &resp)
	}
	c.trace("leaves")
	c.id = ""
	c.gone()
}

// uuidText draws an id as clients do.
func uuidText(a *agent) string {
	var id kafka.UUID
	for i := range id {
		id[i] = byte(1 + a.rand.IntN(255))
	}
	return id.String()
}
