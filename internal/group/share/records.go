package share

import (
	"github.com/myelin-stream/myelin/internal/assign"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// records are what a decision wants appended.
type records []coordinator.Record

func (r *records) put(key []byte, value state.Message) {
	*r = append(*r, coordinator.Record{Key: key, Value: state.MarshalValue(value, 0)})
}

func (r *records) drop(key []byte) { *r = append(*r, coordinator.Record{Key: key}) }

func groupKey(group string) []byte {
	return state.MarshalKey(&state.ShareGroupMetadataKey{GroupID: group})
}

func assignmentKey(group string) []byte {
	return state.MarshalKey(&state.ShareGroupTargetAssignmentMetadataKey{GroupID: group})
}

func statesKey(group string) []byte {
	return state.MarshalKey(&state.ShareGroupStatePartitionMetadataKey{GroupID: group})
}

func memberKey(group, member string) []byte {
	return state.MarshalKey(&state.ShareGroupMemberMetadataKey{GroupID: group, MemberID: member})
}

func targetKey(group, member string) []byte {
	return state.MarshalKey(&state.ShareGroupTargetAssignmentMemberKey{GroupID: group, MemberID: member})
}

func currentKey(group, member string) []byte {
	return state.MarshalKey(&state.ShareGroupCurrentMemberAssignmentKey{GroupID: group, MemberID: member})
}

func (r *records) putGroup(group string, epoch int32, hash int64) {
	r.put(groupKey(group), &state.ShareGroupMetadataValue{Epoch: epoch, MetadataHash: hash})
}

func (r *records) putAssignment(group string, epoch int32, at int64) {
	v := state.NewShareGroupTargetAssignmentMetadataValue()
	v.AssignmentEpoch, v.AssignmentTimestamp = epoch, at
	r.put(assignmentKey(group), &v)
}

func (r *records) putMember(group string, m *member) {
	r.put(memberKey(group, m.id), &state.ShareGroupMemberMetadataValue{
		RackID: m.rack, ClientID: m.clientID, ClientHost: m.clientHost, SubscribedTopicNames: append([]string{}, m.topics...)})
}

func (r *records) putTarget(group, member string, set assign.Set) {
	v := state.ShareGroupTargetAssignmentMemberValue{TopicPartitions: make([]state.ShareGroupTargetAssignmentMemberValueTopicPartition, len(set))}
	for i, t := range set {
		v.TopicPartitions[i].TopicID, v.TopicPartitions[i].Partitions = t.Topic, t.Partitions
	}
	r.put(targetKey(group, member), &v)
}

func (r *records) putCurrent(group string, m *member) {
	v := state.NewShareGroupCurrentMemberAssignmentValue()
	v.MemberEpoch, v.PreviousMemberEpoch, v.State = m.epoch, m.previous, stable
	v.AssignedPartitions = make([]state.ShareGroupCurrentMemberAssignmentValueTopicPartition, len(m.assigned))
	for i, t := range m.assigned {
		v.AssignedPartitions[i].TopicID, v.AssignedPartitions[i].Partitions = t.Topic, t.Partitions
	}
	r.put(currentKey(group, m.id), &v)
}

// dropMember removes a member: what it reads, what it is to read, itself.
func (r *records) dropMember(group, member string) {
	r.drop(currentKey(group, member))
	r.drop(targetKey(group, member))
	r.drop(memberKey(group, member))
}

// stable is the state of every member of a share group.
const stable int8 = 0
