package consumer

import (
	"bytes"
	"slices"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// memberState says how far a member is with its target, by Kafka's number.
type memberState int8

const (
	stable     memberState = 0
	unrevoked  memberState = 1 // it has to give up partitions before anything else
	unreleased memberState = 2 // it waits for partitions that others hold
	unknown    memberState = 127
)

// Epochs that a member's heartbeat bears instead of one.
const (
	joining     int32 = 0
	leaving     int32 = -1
	leavingAway int32 = -2 // a static member, for a while
)

// member is one member of a group. It is not changed once the group has it.
type member struct {
	id         string
	epoch      int32
	previous   int32 // epoch before this one, for who missed the answer
	state      memberState
	instance   *string // nil: dynamic
	rack       *string
	clientID   string
	clientHost string
	topics     []string // subscribed by name, in order, without duplicates
	regex      *string  // subscribed by pattern; nil or empty: none
	rebalance  int32    // ms to revoke in
	assignor   *string
	assigned   held
	revoking   held     // told to give up, and not known to have done so
	classic    *Classic // of a classic member
}

// Classic is what a classic member said when it joined.
type Classic struct {
	Session   int32 // ms
	Protocols []Protocol
}

// Protocol is one assignor that a classic member supports, with its subscription.
type Protocol struct {
	Name     string
	Metadata []byte
}

// newMember is a member that nothing is known of. Kafka stores an empty pattern of
// one that has none.
func newMember(id string) *member {
	return &member{id: id, previous: -1, regex: new(""), rebalance: -1}
}

// with is the member after a heartbeat, which says only what is new; the very
// same if nothing is.
func (m *member) with(who *Who, req *msg.ConsumerGroupHeartbeatRequest) *member {
	n := *m
	n.clientID, n.clientHost, n.classic = who.ClientID, who.Host, nil
	if req.InstanceID != nil {
		n.instance = req.InstanceID
	}
	if req.RackID != nil {
		n.rack = req.RackID
	}
	if req.RebalanceTimeoutMs != -1 {
		n.rebalance = req.RebalanceTimeoutMs
	}
	if req.ServerAssignor != nil {
		n.assignor = req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		n.topics = sorted(req.SubscribedTopicNames)
	}
	if req.SubscribedTopicRegex != nil {
		n.regex = req.SubscribedTopicRegex
	}
	if m.sameMetadata(&n) {
		return m
	}
	return new(n)
}

// sameMetadata says whether two members' metadata records are the same.
func (m *member) sameMetadata(n *member) bool {
	return m.id == n.id && m.clientID == n.clientID && m.clientHost == n.clientHost && m.rebalance == n.rebalance &&
		same(m.instance, n.instance) && same(m.rack, n.rack) && same(m.regex, n.regex) && same(m.assignor, n.assignor) &&
		slices.Equal(m.topics, n.topics) && m.classic.equal(n.classic)
}

// samePlace says whether two members' assignment records are the same.
func (m *member) samePlace(n *member) bool {
	return m.epoch == n.epoch && m.previous == n.previous && m.state == n.state &&
		m.assigned.equal(n.assigned) && m.revoking.equal(n.revoking)
}

func (c *Classic) equal(d *Classic) bool {
	if c == nil || d == nil {
		return c == d
	}
	return c.Session == d.Session && slices.EqualFunc(c.Protocols, d.Protocols, func(p, q Protocol) bool {
		return p.Name == q.Name && bytes.Equal(p.Metadata, q.Metadata)
	})
}

// pattern is what the member subscribes to beside names; "" is nothing.
func (m *member) pattern() string {
	if m.regex == nil {
		return ""
	}
	return *m.regex
}

// reconciled says that the member has all that an assignment gave it.
func (m *member) reconciled(epoch int32) bool { return m.state == stable && m.epoch == epoch }

// advance is the member at another epoch.
func (m *member) advance(epoch int32, s memberState, assigned, revoking held) *member {
	n := *m
	n.previous, n.epoch, n.state, n.assigned, n.revoking = m.epoch, epoch, s, assigned, revoking
	return &n
}

// subscribes gives the rule by which the member reads a topic.
func (b *book) subscribes(m *member, topics kind.Topics) func(id kafka.UUID) bool {
	matched := b.matched(m.pattern())
	return func(id kafka.UUID) bool {
		t, ok := topics.ByID(id)
		return ok && (contains(m.topics, t.Name) || contains(matched, t.Name))
	}
}

func contains(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

// sorted is a copy in order, without duplicates.
func sorted(s []string) []string {
	c := slices.Clone(s)
	slices.Sort(c)
	return slices.Compact(c)
}

func same(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
