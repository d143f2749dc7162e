package consumer

import (
	"maps"
	"slices"

	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// A group's records, by the type of their keys. All values have version 0.
//
//	3  group                    epoch, hash of its topics
//	4  group                    topics; of old, deleted when it is seen
//	5  group, member            who it is, what it subscribes to
//	6  group                    assignment epoch, when
//	7  group, member            target
//	8  group, member            epoch, state, what it holds
//	16 group, pattern           topics that match

func record(k state.Key, v state.Message) coordinator.Record {
	r := coordinator.Record{Key: state.MarshalKey(k)}
	if v != nil {
		r.Value = state.MarshalValue(v, 0)
	}
	return r
}

func (b *book) epochRecord(epoch int32, hash int64) coordinator.Record {
	return record(&state.ConsumerGroupMetadataKey{GroupID: b.id},
		&state.ConsumerGroupMetadataValue{Epoch: epoch, MetadataHash: hash})
}

func (b *book) assignmentRecord(epoch int32, at int64) coordinator.Record {
	return record(&state.ConsumerGroupTargetAssignmentMetadataKey{GroupID: b.id},
		&state.ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: at})
}

func (b *book) memberRecord(m *member) coordinator.Record {
	v := &state.ConsumerGroupMemberMetadataValue{
		InstanceID: m.instance, RackID: m.rack, ClientID: m.clientID, ClientHost: m.clientHost,
		SubscribedTopicNames: m.topics, SubscribedTopicRegex: m.regex, RebalanceTimeoutMs: m.rebalance,
		ServerAssignor: m.assignor,
	}
	if c := m.classic; c != nil {
		v.ClassicMemberMetadata = &state.ConsumerGroupMemberMetadataValueClassicMemberMetadata{SessionTimeoutMs: c.Session}
		for _, p := range c.Protocols {
			v.ClassicMemberMetadata.SupportedProtocols = append(v.ClassicMemberMetadata.SupportedProtocols,
				state.ConsumerGroupMemberMetadataValueClassicMemberMetadataSupportedProtocol{Name: p.Name, Metadata: p.Metadata})
		}
	}
	return record(&state.ConsumerGroupMemberMetadataKey{GroupID: b.id, MemberID: m.id}, v)
}

func (b *book) targetRecord(id string, s assign.Set) coordinator.Record {
	v := &state.ConsumerGroupTargetAssignmentMemberValue{}
	for _, t := range s {
		v.TopicPartitions = append(v.TopicPartitions, state.ConsumerGroupTargetAssignmentMemberValueTopicPartition{
			TopicID: t.Topic, Partitions: t.Partitions,
		})
	}
	return record(&state.ConsumerGroupTargetAssignmentMemberKey{GroupID: b.id, MemberID: id}, v)
}

func (b *book) placeRecord(m *member) coordinator.Record {
	return record(&state.ConsumerGroupCurrentMemberAssignmentKey{GroupID: b.id, MemberID: m.id},
		&state.ConsumerGroupCurrentMemberAssignmentValue{
			MemberEpoch: m.epoch, PreviousMemberEpoch: m.previous, State: int8(m.state),
			AssignedPartitions: m.assigned.record(), PartitionsPendingRevocation: m.revoking.record(),
		})
}

func (h held) record() []state.ConsumerGroupCurrentMemberAssignmentValueTopicPartition {
	var v []state.ConsumerGroupCurrentMemberAssignmentValueTopicPartition
	for _, t := range h {
		v = append(v, state.ConsumerGroupCurrentMemberAssignmentValueTopicPartition{
			TopicID: t.topic, Partitions: t.partitions, AssignmentEpochs: t.epochs,
		})
	}
	return v
}

func (b *book) regexRecord(pattern string, r *matches) coordinator.Record {
	return record(&state.ConsumerGroupRegularExpressionKey{GroupID: b.id, RegularExpression: pattern},
		&state.ConsumerGroupRegularExpressionValue{Topics: r.topics, Version: r.version, Timestamp: r.at})
}

func (b *book) regexTombstone(pattern string) coordinator.Record {
	return record(&state.ConsumerGroupRegularExpressionKey{GroupID: b.id, RegularExpression: pattern}, nil)
}

func (b *book) oldTopicsTombstone() coordinator.Record {
	return record(&state.ConsumerGroupPartitionMetadataKey{GroupID: b.id}, nil)
}

// memberTombstones delete what is stored of a member.
func (b *book) memberTombstones(id string) []coordinator.Record {
	return []coordinator.Record{
		record(&state.ConsumerGroupCurrentMemberAssignmentKey{GroupID: b.id, MemberID: id}, nil),
		record(&state.ConsumerGroupTargetAssignmentMemberKey{GroupID: b.id, MemberID: id}, nil),
		record(&state.ConsumerGroupMemberMetadataKey{GroupID: b.id, MemberID: id}, nil),
	}
}

// Tombstones delete all records of the group, those of its members included, in
// the order in which Kafka wants to read them.
func (b *book) Tombstones() []coordinator.Record {
	ids := slices.Sorted(maps.Keys(b.members))
	var places, targets, members []coordinator.Record
	for _, id := range ids {
		t := b.memberTombstones(id)
		places, targets, members = append(places, t[0]), append(targets, t[1]), append(members, t[2])
	}
	all := slices.Concat(places, targets)
	all = append(all, record(&state.ConsumerGroupTargetAssignmentMetadataKey{GroupID: b.id}, nil))
	all = append(all, members...)
	for _, pattern := range slices.Sorted(maps.Keys(b.regexes)) {
		all = append(all, b.regexTombstone(pattern))
	}
	return append(all,
		b.oldTopicsTombstone(),
		record(&state.ConsumerGroupMetadataKey{GroupID: b.id}, nil))
}
