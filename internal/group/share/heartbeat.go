package share

import (
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The member epochs that are none.
const (
	Joining int32 = 0
	leaving int32 = -1
)

// Who is the client that a request comes from.
type Who struct{ ClientID, Host string }

// Wish is a share partition whose state the share coordinator is to begin.
type Wish struct {
	Topic      kafka.UUID
	Partition  int32
	StateEpoch int32
	Start      int64 // -1: its first reader decides
}

// Beat is what comes of a heartbeat.
type Beat struct {
	Response *msg.ShareGroupHeartbeatResponse
	Step     kind.Step

	// Wishes are to be fulfilled when the step is committed; what came of them
	// goes to Settle.
	Wishes []Wish
}

// CheckHeartbeat refuses requests that are wrong whatever the group is like.
func CheckHeartbeat(req *msg.ShareGroupHeartbeatRequest) error {
	switch {
	case req.MemberID == "":
		return kind.Refuse(kafka.InvalidRequest, "MemberId can't be empty.")
	case req.GroupID == "":
		return kind.Refuse(kafka.InvalidRequest, "GroupId can't be empty.")
	case req.RackID != nil && *req.RackID == "":
		return kind.Refuse(kafka.InvalidRequest, "RackId can't be empty.")
	case req.MemberEpoch == Joining && len(req.SubscribedTopicNames) == 0:
		return kind.Refuse(kafka.InvalidRequest, "SubscribedTopicNames must be set in first request.")
	case req.MemberEpoch < leaving:
		return kind.Refuse(kafka.InvalidRequest, "MemberEpoch is invalid.")
	}
	return nil
}

// Heartbeat lets a member join (epoch 0), stay, say what it subscribes to, or
// leave (epoch -1), and tells it what it is assigned.
//
// Errors: GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH.
func (g *Group) Heartbeat(now time.Time, who Who, req *msg.ShareGroupHeartbeatRequest, topics kind.Topics) (Beat, error) {
	if req.MemberEpoch == leaving {
		return g.leave(req, topics)
	}
	old := g.members[req.MemberID]
	if err := g.admits(old, req); err != nil {
		return Beat{}, err
	}
	if old == nil {
		old = &member{id: req.MemberID, previous: -1}
	}
	m := *old
	m.clientID, m.clientHost = who.ClientID, who.Host
	if req.RackID != nil {
		m.rack = req.RackID
	}
	if req.SubscribedTopicNames != nil {
		m.topics = distinct(req.SubscribedTopicNames)
	}
	b := beat{g: g, now: now, topics: topics, epoch: g.epoch}
	b.subscribe(old, &m)
	b.assign(&m)
	b.reconcile(&m)
	wishes := b.initialize()

	settings := g.cfg.settings(g.id)
	g.sessions[m.id] = now.Add(settings.Session)
	resp := msg.NewShareGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &m.id, m.epoch
	resp.HeartbeatIntervalMs = int32(settings.Heartbeat.Milliseconds())
	if req.MemberEpoch == Joining || req.SubscribedTopicNames != nil || !m.assigned.Equal(old.assigned) {
		resp.Assignment = assignment(m.assigned)
	}
	return Beat{Response: &resp, Step: kind.Step{Records: b.out, Wake: g.wake()}, Wishes: wishes}, nil
}

func assignment(set assign.Set) *msg.ShareGroupHeartbeatResponseAssignment {
	a := &msg.ShareGroupHeartbeatResponseAssignment{TopicPartitions: []msg.ShareGroupHeartbeatResponseTopicPartition{}}
	for _, t := range set {
		a.TopicPartitions = append(a.TopicPartitions, msg.ShareGroupHeartbeatResponseTopicPartition{TopicID: t.Topic, Partitions: t.Partitions})
	}
	return a
}

// admits says whether a member may speak with the epoch that it has.
func (g *Group) admits(m *member, req *msg.ShareGroupHeartbeatRequest) error {
	switch {
	case m == nil && len(g.members) >= g.cfg.MaxSize:
		return kind.Refuse(kafka.GroupMaxSizeReached, "The share group has reached its maximum capacity of %d members.", g.cfg.MaxSize)
	case m == nil && req.MemberEpoch != Joining:
		return g.noMember(req.MemberID)
	case m == nil || req.MemberEpoch == Joining:
		return nil
	case req.MemberEpoch > m.epoch:
		return kind.Refuse(kafka.FencedMemberEpoch, "The share group member has a greater member epoch (%d) than the one known by the group "+
			"coordinator (%d). The member must abandon all its partitions and rejoin.", req.MemberEpoch, m.epoch)
	case req.MemberEpoch < m.epoch && req.MemberEpoch != m.previous:
		return kind.Refuse(kafka.FencedMemberEpoch, "The share group member has a smaller member epoch (%d) than the one known by the group "+
			"coordinator (%d), and it does not match the previous member epoch (%d). The member must abandon all its partitions and rejoin.",
			req.MemberEpoch, m.epoch, m.previous)
	}
	return nil
}

func (g *Group) noMember(id string) error {
	return kind.Refuse(kafka.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
}

func (g *Group) leave(req *msg.ShareGroupHeartbeatRequest, topics kind.Topics) (Beat, error) {
	m := g.members[req.MemberID]
	if m == nil {
		return Beat{}, g.noMember(req.MemberID)
	}
	resp := msg.NewShareGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &m.id, leaving
	return Beat{Response: &resp, Step: kind.Step{
		Records: g.without([]*member{m}, topics), Wake: g.wake(),
		Gone: []kind.Gone{{Member: m.id, ClientID: m.clientID, Why: "it left"}},
	}}, nil
}

// beat is a heartbeat at work.
type beat struct {
	g      *Group
	now    time.Time
	topics kind.Topics
	out    records

	epoch  int32    // of the group, as it will be
	bumped bool     // it is another than it was
	names  []string // what the members subscribe to, with the one at hand
	target assign.Set
	at     int32 // the assignment epoch that target is of
}

// subscribe writes down what the member says of itself, and moves the group epoch
// when topics are another than before.
func (b *beat) subscribe(old, m *member) {
	g := b.g
	renewed := !slices.Equal(old.topics, m.topics)
	if renewed || old.clientID != m.clientID || old.clientHost != m.clientHost || !sameRack(old.rack, m.rack) {
		b.out.putMember(g.id, m)
	}
	b.names = m.topics
	//house:maporder the names are sorted below
	for id, other := range g.members {
		if id != m.id {
			b.names = append(b.names[:len(b.names):len(b.names)], other.topics...)
		}
	}
	b.names = distinct(b.names)
	b.bumped = renewed || g.assignmentEpoch >= g.epoch && g.unassigned()
	if !b.bumped && g.looked && g.seen == b.topics.Version() {
		return
	}
	hash := kind.MetadataHash(b.names, b.topics)
	if hash == g.hash {
		g.seen, g.looked = b.topics.Version(), true
	} else {
		b.bumped = true
	}
	if b.bumped {
		b.epoch++
		b.out.putGroup(g.id, b.epoch, hash)
	}
}

func sameRack(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// unassigned says that partitions were initialized, or are no more, of which the
// assignment does not know.
func (g *Group) unassigned() bool {
	if len(g.states.initialized) == 0 || g.Empty() {
		return false
	}
	assigned := map[kafka.UUID][]int32{}
	for _, set := range g.target {
		for _, t := range set {
			assigned[t.Topic] = append(assigned[t.Topic], t.Partitions...)
		}
	}
	for id, t := range g.states.initialized {
		if !g.Subscribed(t.name) {
			continue
		}
		has := assigned[id]
		slices.Sort(has)
		if !slices.Equal(slices.Compact(has), t.partitions) {
			return true
		}
	}
	return false
}

// assign makes a new assignment if the group epoch asks for one and the last is
// old enough.
func (b *beat) assign(m *member) {
	g := b.g
	b.at, b.target = g.assignmentEpoch, g.target[m.id]
	ms := b.now.UnixMilli()
	if g.assignmentEpoch >= b.epoch || g.assignedAt != 0 && ms < g.assignedAt+g.cfg.settings(g.id).Assignment.Milliseconds() {
		return
	}
	list := slices.DeleteFunc(g.list(), func(o *member) bool { return o.id == m.id })
	list = append(list, m)
	slices.SortFunc(list, byID)
	readers := make([]reader, len(list))
	assignable := map[kafka.UUID]topicState{}
	for i, o := range list {
		readers[i] = reader{had: g.target[o.id]}
		for _, name := range o.topics {
			if t, ok := b.topics.Named(name); ok {
				readers[i].topics = append(readers[i].topics, t.ID)
				assignable[t.ID] = g.states.initialized[t.ID]
			}
		}
		slices.SortFunc(readers[i].topics, assign.Compare)
	}
	for i, set := range simple(readers, assignable) {
		id := list[i].id
		if old, ok := g.target[id]; !ok || !old.Equal(set) {
			b.out.putTarget(g.id, id, set)
		}
		if id == m.id {
			b.target = set
		}
	}
	b.at = b.epoch
	b.out.putAssignment(g.id, b.at, ms)
}

// reconcile gives the member what it is to read.
func (b *beat) reconcile(m *member) {
	moved := b.at != m.epoch
	if !moved && !b.bumped {
		return
	}
	var set assign.Set
	for _, t := range b.target {
		if info, ok := b.topics.ByID(t.Topic); ok {
			if _, reads := slices.BinarySearch(m.topics, info.Name); reads {
				set = append(set, t)
			}
		}
	}
	if !moved && set.Equal(m.assigned) {
		return
	}
	m.assigned = set
	if moved {
		m.previous, m.epoch = m.epoch, b.at
	}
	b.out.putCurrent(b.g.id, m)
}

// initialize writes down the partitions that have no state yet and that nobody
// was asked for of late, and asks for them. More partitions of a topic that the
// group knows begin at their beginning: nothing in them is to be missed.
//
// Differs from Apache Kafka: partitions that are asked for again, because there
// was no answer, begin where they were to begin at first.
func (b *beat) initialize() []Wish {
	g := b.g
	next := g.states.copy()
	var wishes []Wish
	for _, name := range b.names {
		t, ok := b.topics.Named(name)
		if !ok {
			continue
		}
		missing := minus(upTo(t.Partitions), g.states.initialized[t.ID].partitions)
		busy, asked := g.states.initializing[t.ID]
		if asked && b.now.Before(g.asked[t.ID].Add(g.cfg.Retry)) {
			missing = minus(missing, busy.partitions)
		}
		if len(missing) == 0 {
			continue
		}
		start := int64(-1)
		if _, known := g.states.initialized[t.ID]; known {
			start = 0
		}
		for _, p := range missing {
			wishes = append(wishes, Wish{Topic: t.ID, Partition: p, StateEpoch: b.epoch, Start: start})
		}
		add(next.initializing, t.ID, topicState{name, missing})
		delete(next.deleting, t.ID)
		g.asked[t.ID] = b.now
	}
	if len(wishes) > 0 {
		b.out.putStates(g.id, &next)
	}
	return wishes
}
