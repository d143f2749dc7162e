package consumer

import (
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// book is a group as its records tell it. It changes through replay only.
type book struct {
	id  string
	cfg *Config

	epoch      int32 // the group epoch
	hash       int64 // of the topics at that epoch
	assigned   int32 // the assignment epoch
	assignedAt int64 // ms; 0: at any time before
	oldTopics  bool  // a record of type 4 stands in the log, which nothing needs
	members    map[string]*member
	target     map[string]assign.Set // by member id
	regexes    map[string]*matches   // by pattern

	// What follows from that.
	statics   map[string]string // instance id -> member id
	topics    map[string]uses   // that somebody subscribes to, by name
	patterns  map[string]int    // members by pattern
	chosen    map[string]int    // members by the assignor they ask for
	protocols map[string]int    // classic members by the protocols they support
	classics  int               // classic members
	owners    map[kafka.UUID]map[int32]string
}

// Replay applies a record of this group. After the tombstone of the group's
// epoch, which comes last, the group is as new.
func (g *Group) Replay(key any, value []byte) error {
	var err error
	switch k := key.(type) {
	case *state.ConsumerGroupMetadataKey:
		err = g.replayEpoch(value)
	case *state.ConsumerGroupPartitionMetadataKey:
		g.oldTopics = value != nil
	case *state.ConsumerGroupMemberMetadataKey:
		if err = g.replayMember(k.MemberID, value); value == nil {
			delete(g.clocks, k.MemberID)
		}
	case *state.ConsumerGroupTargetAssignmentMetadataKey:
		err = g.replayAssignment(value)
	case *state.ConsumerGroupTargetAssignmentMemberKey:
		err = g.replayTarget(k.MemberID, value)
	case *state.ConsumerGroupCurrentMemberAssignmentKey:
		err = g.replayPlace(k.MemberID, value)
	case *state.ConsumerGroupRegularExpressionKey:
		err = g.replayRegex(k.RegularExpression, value)
	default:
		err = fmt.Errorf("%T is no key of a consumer group", key)
	}
	if err != nil {
		return fmt.Errorf("consumer group %q: %w", g.id, err)
	}
	return nil
}

func (b *book) replayEpoch(value []byte) error {
	if value == nil {
		b.epoch, b.hash = 1, 0
		return nil
	}
	v := state.NewConsumerGroupMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	b.epoch, b.hash = v.Epoch, v.MetadataHash
	return nil
}

func (b *book) replayAssignment(value []byte) error {
	if value == nil {
		b.assigned, b.assignedAt = -1, 0
		return nil
	}
	v := state.NewConsumerGroupTargetAssignmentMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	b.assigned, b.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	return nil
}

func (b *book) replayMember(id string, value []byte) error {
	if value == nil {
		b.put(b.members[id], nil)
		delete(b.members, id)
		return nil
	}
	v := state.NewConsumerGroupMemberMetadataValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	n := *b.known(id)
	n.instance, n.rack, n.clientID, n.clientHost = v.InstanceID, v.RackID, v.ClientID, v.ClientHost
	n.topics, n.regex = sorted(v.SubscribedTopicNames), v.SubscribedTopicRegex
	n.rebalance, n.assignor, n.classic = v.RebalanceTimeoutMs, v.ServerAssignor, nil
	if c := v.ClassicMemberMetadata; c != nil {
		n.classic = &Classic{Session: c.SessionTimeoutMs}
		for _, p := range c.SupportedProtocols {
			n.classic.Protocols = append(n.classic.Protocols, Protocol{p.Name, slices.Clone(p.Metadata)})
		}
	}
	b.put(b.members[id], &n)
	return nil
}

func (b *book) replayTarget(id string, value []byte) error {
	if value == nil {
		delete(b.target, id)
		return nil
	}
	v := state.NewConsumerGroupTargetAssignmentMemberValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	var s assign.Set
	for _, t := range v.TopicPartitions {
		if len(t.Partitions) > 0 {
			slices.Sort(t.Partitions)
			s = append(s, assign.TopicPartitions{Topic: t.TopicID, Partitions: t.Partitions})
		}
	}
	slices.SortFunc(s, func(a, b assign.TopicPartitions) int { return assign.Compare(a.Topic, b.Topic) })
	set(&b.target, id, s)
	return nil
}

func (b *book) replayPlace(id string, value []byte) error {
	if value == nil {
		if m := b.members[id]; m != nil {
			n := *m
			n.epoch, n.previous, n.assigned, n.revoking = -1, -1, nil, nil
			b.put(m, &n)
		}
		return nil
	}
	v := state.NewConsumerGroupCurrentMemberAssignmentValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	n := *b.known(id)
	n.epoch, n.previous, n.state = v.MemberEpoch, v.PreviousMemberEpoch, memberState(v.State)
	n.assigned, n.revoking = parseHeld(v.AssignedPartitions, n.epoch), parseHeld(v.PartitionsPendingRevocation, n.epoch)
	b.put(b.members[id], &n)
	return nil
}

// parseHeld reads held partitions. Before Kafka 4.3 they had no epochs: then the
// member's is the best guess.
func parseHeld(v []state.ConsumerGroupCurrentMemberAssignmentValueTopicPartition, epoch int32) held {
	var h held
	for _, t := range v {
		n := heldTopic{topic: t.TopicID, partitions: t.Partitions, epochs: t.AssignmentEpochs}
		if len(n.partitions) == 0 {
			continue
		}
		if len(n.epochs) != len(n.partitions) {
			n.epochs = slices.Repeat([]int32{max(epoch, 0)}, len(n.partitions))
		}
		n.sort()
		h = append(h, n)
	}
	slices.SortFunc(h, func(a, b heldTopic) int { return assign.Compare(a.topic, b.topic) })
	return h
}

func (b *book) replayRegex(pattern string, value []byte) error {
	if old := b.regexes[pattern]; old != nil {
		for _, t := range old.topics {
			b.use(t, uses{regexes: -1})
		}
		delete(b.regexes, pattern)
	}
	if value == nil {
		return nil
	}
	v := state.NewConsumerGroupRegularExpressionValue()
	if _, err := state.ParseValue(value, &v); err != nil {
		return err
	}
	r := &matches{topics: sorted(v.Topics), version: v.Version, at: v.Timestamp}
	set(&b.regexes, pattern, r)
	for _, t := range r.topics {
		b.use(t, uses{regexes: 1})
	}
	return nil
}

// known is a member, or what is known of one that is not there yet.
func (b *book) known(id string) *member {
	if m := b.members[id]; m != nil {
		return m
	}
	return newMember(id)
}

// put replaces a member, and counts: from nil it comes, to nil it goes.
func (b *book) put(old, n *member) {
	if old != nil {
		b.count(old, -1)
		b.release(old.id, old.assigned)
		b.release(old.id, old.revoking)
		if old.instance != nil && b.statics[*old.instance] == old.id {
			delete(b.statics, *old.instance)
		}
	}
	if n == nil {
		return
	}
	set(&b.members, n.id, n)
	b.count(n, 1)
	b.take(n.id, n.assigned)
	b.take(n.id, n.revoking)
	if n.instance != nil {
		set(&b.statics, *n.instance, n.id)
	}
}

// count adds a member to the sums, or takes it out.
func (b *book) count(m *member, n int) {
	for _, t := range m.topics {
		b.use(t, uses{names: n})
	}
	if p := m.pattern(); p != "" {
		bump(&b.patterns, p, n)
	}
	if m.assignor != nil {
		bump(&b.chosen, *m.assignor, n)
	}
	if m.classic != nil {
		b.classics += n
		for _, p := range m.classic.Protocols {
			bump(&b.protocols, p.Name, n)
		}
	}
}

func (b *book) use(topic string, more uses) {
	u := b.topics[topic]
	u.names, u.regexes = u.names+more.names, u.regexes+more.regexes
	if u == (uses{}) {
		delete(b.topics, topic)
		return
	}
	set(&b.topics, topic, u)
}

// take makes a member the owner of partitions. In a log whose older part was
// compacted, what another held before may be missing; the later record counts.
func (b *book) take(id string, h held) {
	for _, t := range h {
		parts := b.owners[t.topic]
		if parts == nil {
			parts = make(map[int32]string, len(t.partitions))
			set(&b.owners, t.topic, parts)
		}
		for _, p := range t.partitions {
			parts[p] = id
		}
	}
}

func (b *book) release(id string, h held) {
	for _, t := range h {
		parts := b.owners[t.topic]
		for _, p := range t.partitions {
			if parts[p] == id {
				delete(parts, p)
			}
		}
		if len(parts) == 0 {
			delete(b.owners, kafka.UUID(t.topic))
		}
	}
}

// set puts into a map that is made when it is first needed: most groups are idle
// and small.
func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

func bump(m *map[string]int, k string, n int) {
	if n += (*m)[k]; n != 0 {
		set(m, k, n)
		return
	}
	delete(*m, k)
}
