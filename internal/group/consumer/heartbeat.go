package consumer

import (
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Check refuses a heartbeat that no group could take: INVALID_REQUEST or
// UNSUPPORTED_ASSIGNOR. It comes before the group is looked for.
func (c *Config) Check(version int16, req *msg.ConsumerGroupHeartbeatRequest) error {
	invalid := func(text string) error { return kind.Refuse(kafka.InvalidRequest, "%s", text) }
	blank := func(s string) bool { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) == "" }
	switch epoch := req.MemberEpoch; {
	case (version >= 1 || epoch > 0 || epoch == leaving) && blank(req.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(req.GroupID):
		return invalid("GroupId can't be empty.")
	case req.InstanceID != nil && blank(*req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case req.RackID != nil && blank(*req.RackID):
		return invalid("RackId can't be empty.")
	case epoch == joining && req.RebalanceTimeoutMs == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case epoch == joining && (req.TopicPartitions == nil || len(req.TopicPartitions) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case epoch == joining && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case epoch == leavingAway && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case epoch < leavingAway:
		return invalid("MemberEpoch is invalid.")
	}
	if a := req.ServerAssignor; a != nil && !slices.Contains(c.assignors(), *a) {
		return kind.Refuse(kafka.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*a, strings.Join(c.assignors(), ", "))
	}
	return nil
}

// Heartbeat answers ConsumerGroupHeartbeat (key 68), which [Config.Check] let
// pass. A heartbeat that brings nothing new makes no records.
//
// Errors are those of [kind.Refuse]: FENCED_MEMBER_EPOCH, UNKNOWN_MEMBER_ID,
// UNRELEASED_INSTANCE_ID, FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED,
// INVALID_REGULAR_EXPRESSION.
func (g *Group) Heartbeat(now time.Time, who Who, req *msg.ConsumerGroupHeartbeatRequest) (
	*msg.ConsumerGroupHeartbeatResponse, kind.Step, error,
) {
	if req.MemberEpoch == leaving || req.MemberEpoch == leavingAway {
		return g.leave(now, req)
	}
	id := req.MemberID
	if err := g.full(id, req.InstanceID); err != nil {
		return nil, kind.Step{}, err
	}
	if id == "" {
		id = who.NewID
	}
	c := &change{g: g, now: now, who: &who, topics: g.cfg.Topics()}
	was, err := c.find(id, req)
	if err != nil {
		return nil, kind.Step{}, err
	}
	is := was.with(&who, req)
	is, err = c.apply(was, is, req.TopicPartitions)
	if err != nil {
		return nil, kind.Step{}, err
	}
	settings := g.cfg.settings(g.id)
	at := now.Add(settings.Session)
	g.clock(id, at).session = at

	resp := msg.NewConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &is.id, is.epoch
	resp.HeartbeatIntervalMs = int32(settings.Heartbeat.Milliseconds())
	whole := req.RebalanceTimeoutMs != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) &&
		req.TopicPartitions != nil
	if req.MemberEpoch == joining || whole || !was.assigned.equal(is.assigned) {
		resp.Assignment = is.assigned.answer()
	}
	return &resp, g.step(c.records), nil
}

// change is a heartbeat, or a classic member's join, at work.
type change struct {
	g       *Group
	now     time.Time
	who     *Who
	topics  kind.Topics
	records []coordinator.Record
	epoch   int32 // the group's, after the change

	replaced bool // the member takes the place of one with another id
}

func (c *change) put(r ...coordinator.Record) { c.records = append(c.records, r...) }

// apply makes the records by which the group takes in what a member is now. It
// returns the member with what it is told to read.
func (c *change) apply(was, is *member, owned []msg.ConsumerGroupHeartbeatRequestTopicPartition) (*member, error) {
	g := c.g
	if !was.sameMetadata(is) {
		c.put(g.memberRecord(is))
	}
	names := !slices.Equal(was.topics, is.topics)
	pattern, err := c.pattern(was, is)
	if err != nil {
		return nil, err
	}
	chosen := g.preferred(nil, nil) != g.preferred(was, is)
	bump := names || pattern == patternMatched || chosen && is.classic == nil ||
		is.classic != nil && pattern != patternSame
	c.epoch = g.epoch
	if bump || !g.looked || g.seen != c.topics.Version() {
		c.look(was, is, bump)
	}
	epoch, target := c.retarget(was, is)
	return c.reconcile(is, &goal{epoch: epoch, target: target, changed: names || pattern != patternSame, owned: owned})
}

// full refuses a member that would be one too many.
func (g *Group) full(id string, instance *string) error {
	if g.cfg.MaxSize <= 0 || len(g.members) < g.cfg.MaxSize || instance != nil && g.static(*instance) != nil {
		return nil
	}
	if id != "" && g.members[id] != nil {
		return nil
	}
	return kind.Refuse(kafka.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", g.cfg.MaxSize)
}

// find is the member that a heartbeat comes from, as it is known, or a new one.
func (c *change) find(id string, req *msg.ConsumerGroupHeartbeatRequest) (*member, error) {
	g := c.g
	var m *member
	switch {
	case req.InstanceID == nil:
		m = g.members[id]
		if m == nil && req.MemberEpoch != joining {
			return nil, g.noMember(id)
		}
	case req.MemberEpoch == joining:
		old := g.static(*req.InstanceID)
		if old == nil {
			m = g.members[id]
			break
		}
		if old.classic == nil && old.epoch != leavingAway {
			return nil, kind.Refuse(kafka.UnreleasedInstanceID,
				"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
				id, *req.InstanceID, old.id)
		}
		return c.replace(old, id), nil
	default:
		var err error
		if m, err = g.ownStatic(id, *req.InstanceID); err != nil {
			return nil, err
		}
	}
	if m == nil {
		return newMember(id), nil
	}
	return m, m.checkEpoch(req)
}

// ownStatic is the member with an instance id, if it has this member id.
func (g *Group) ownStatic(id, instance string) (*member, error) {
	m := g.static(instance)
	switch {
	case m == nil:
		return nil, kind.Refuse(kafka.UnknownMemberID, "Instance id %s is unknown.", instance)
	case m.id != id:
		return nil, kind.Refuse(kafka.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.",
			id, instance, m.id)
	}
	return m, nil
}

func (g *Group) noMember(id string) error {
	return kind.Refuse(kafka.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
}

// replace makes the records by which a static member gives its place to one with
// another member id, which is at epoch 0 and holds what the old one held.
func (c *change) replace(old *member, id string) *member {
	g := c.g
	n := *old
	n.id, n.epoch, n.previous = id, 0, 0
	c.replaced = true
	c.put(g.memberTombstones(old.id)...)
	c.put(g.memberRecord(&n), g.targetRecord(id, g.target[old.id]), g.placeRecord(&n))
	return &n
}

// checkEpoch refuses a member that is not at its epoch. One that is at its
// previous epoch missed the last answer, unless it owns what it has not been told
// to take.
func (m *member) checkEpoch(req *msg.ConsumerGroupHeartbeatRequest) error {
	fenced := func(how string) error {
		return kind.Refuse(kafka.FencedMemberEpoch, "The consumer group member has a %s member epoch (%d) than the one "+
			"known by the group coordinator (%d). The member must abandon all its partitions and rejoin.", how, req.MemberEpoch, m.epoch)
	}
	switch epoch := req.MemberEpoch; {
	case epoch == joining || epoch == m.epoch:
		return nil
	case epoch > m.epoch:
		return fenced("greater")
	case epoch != m.previous || !m.assigned.covers(req.TopicPartitions):
		return fenced("smaller")
	}
	return nil
}

// look compares the topics that are subscribed to with those that the group's
// epoch stands for, and begins a new epoch if they differ, or if bump says so.
func (c *change) look(was, is *member, bump bool) {
	g := c.g
	hash := kind.MetadataHash(g.topicsWith(was, is), c.topics)
	if bump || hash != g.hash {
		c.epoch++
		c.put(g.epochRecord(c.epoch, hash))
	}
	g.seen, g.looked = c.topics.Version(), true
	if g.oldTopics {
		c.put(g.oldTopicsTombstone())
	}
}
