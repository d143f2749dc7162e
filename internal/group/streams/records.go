package streams

import (
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// All values are written in version 0, the only one.
func put(key state.Key, value state.Message) coordinator.Record {
	return coordinator.Record{Key: state.MarshalKey(key), Value: state.MarshalValue(value, 0)}
}

func tombstone(key state.Key) coordinator.Record {
	return coordinator.Record{Key: state.MarshalKey(key)}
}

// scribe writes the records of a group.
type scribe struct{ id string }

// header is what the group's own record says.
type header struct {
	epoch     int32
	hash      int64 // of the topics, see kind.MetadataHash
	validated int32 // the epoch of the topology that was found ready; -1: none
	settings  []setting
	stored    int32 // the epoch of the topology whose description is stored; -1: none, -2: who knows
	failed    int32 // the one whose description cannot be stored
}

// setting is one that tasks are assigned by.
type setting struct{ key, value string }

func (g scribe) headerRecord(h header) coordinator.Record {
	v := state.NewStreamsGroupMetadataValue()
	v.Epoch, v.MetadataHash, v.ValidatedTopologyEpoch = h.epoch, h.hash, h.validated
	v.StoredDescriptionTopologyEpoch, v.FailedDescriptionTopologyEpoch = h.stored, h.failed
	for _, s := range h.settings {
		v.LastAssignmentConfigs = append(v.LastAssignmentConfigs, state.StreamsGroupMetadataValueLastAssignmentConfig{Key: s.key, Value: s.value})
	}
	return put(&state.StreamsGroupMetadataKey{GroupID: g.id}, &v)
}

func parseHeader(b []byte) (header, error) {
	v := state.NewStreamsGroupMetadataValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return header{}, err
	}
	h := header{
		epoch: v.Epoch, hash: v.MetadataHash, validated: v.ValidatedTopologyEpoch,
		stored: v.StoredDescriptionTopologyEpoch, failed: v.FailedDescriptionTopologyEpoch,
	}
	for _, c := range v.LastAssignmentConfigs {
		h.settings = append(h.settings, setting{c.Key, c.Value})
	}
	slices.SortFunc(h.settings, func(a, b setting) int { return strings.Compare(a.key, b.key) })
	return h, nil
}

func (g scribe) memberRecord(m *member) coordinator.Record {
	v := state.NewStreamsGroupMemberMetadataValue()
	v.InstanceID, v.RackID, v.ClientID, v.ClientHost = m.instance, m.rack, m.clientID, m.clientHost
	v.RebalanceTimeoutMs, v.TopologyEpoch, v.ProcessID = m.rebalance, m.topologyEpoch, m.process
	if m.endpoint != nil {
		v.UserEndpoint = &state.StreamsGroupMemberMetadataValueEndpoint{Host: m.endpoint.host, Port: m.endpoint.port}
	}
	for _, t := range m.tags {
		v.ClientTags = append(v.ClientTags, state.StreamsGroupMemberMetadataValueKeyValue{Key: t.key, Value: t.value})
	}
	return put(&state.StreamsGroupMemberMetadataKey{GroupID: g.id, MemberID: m.id}, &v)
}

// parseMember sets in m what the record of a member says.
func parseMember(m *member, b []byte) error {
	v := state.NewStreamsGroupMemberMetadataValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return err
	}
	m.instance, m.rack, m.clientID, m.clientHost = v.InstanceID, v.RackID, v.ClientID, v.ClientHost
	m.rebalance, m.topologyEpoch, m.process = v.RebalanceTimeoutMs, v.TopologyEpoch, v.ProcessID
	m.endpoint, m.tags = nil, nil
	if v.UserEndpoint != nil {
		m.endpoint = &endpoint{v.UserEndpoint.Host, v.UserEndpoint.Port}
	}
	for _, t := range v.ClientTags {
		m.tags = append(m.tags, tag{t.Key, t.Value})
	}
	m.tags = sortTags(m.tags)
	return nil
}

func sortTags(tags []tag) []tag {
	slices.SortStableFunc(tags, func(a, b tag) int { return strings.Compare(a.key, b.key) })
	return tags
}

func (g scribe) targetEpochRecord(epoch int32, at int64) coordinator.Record {
	v := state.NewStreamsGroupTargetAssignmentMetadataValue()
	v.AssignmentEpoch, v.AssignmentTimestamp = epoch, at
	return put(&state.StreamsGroupTargetAssignmentMetadataKey{GroupID: g.id}, &v)
}

func (g scribe) targetRecord(id string, target *roles) coordinator.Record {
	v := state.NewStreamsGroupTargetAssignmentMemberValue()
	list := func(s set) (out []state.StreamsGroupTargetAssignmentMemberValueTaskID) {
		s.groups(func(id string, partitions []int32) {
			out = append(out, state.StreamsGroupTargetAssignmentMemberValueTaskID{SubtopologyID: id, Partitions: partitions})
		})
		return out
	}
	v.ActiveTasks, v.StandbyTasks, v.WarmupTasks = list(target.active), list(target.standby), list(target.warmup)
	return put(&state.StreamsGroupTargetAssignmentMemberKey{GroupID: g.id, MemberID: id}, &v)
}

func parseTarget(b []byte) (*roles, error) {
	v := state.NewStreamsGroupTargetAssignmentMemberValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return nil, err
	}
	read := func(list []state.StreamsGroupTargetAssignmentMemberValueTaskID) (s set) {
		for _, t := range list {
			s = appendTasks(s, t.SubtopologyID, t.Partitions)
		}
		return newSet(s)
	}
	return &roles{read(v.ActiveTasks), read(v.StandbyTasks), read(v.WarmupTasks)}, nil
}

func appendTasks(s set, subtopology string, partitions []int32) set {
	for _, p := range partitions {
		s = append(s, tasks.Task{Subtopology: subtopology, Partition: p})
	}
	return s
}

func (g scribe) currentRecord(m *member) coordinator.Record {
	v := state.NewStreamsGroupCurrentMemberAssignmentValue()
	list := func(s set, epochs bool) (out []state.StreamsGroupCurrentMemberAssignmentValueTaskID) {
		s.groups(func(id string, partitions []int32) {
			t := state.NewStreamsGroupCurrentMemberAssignmentValueTaskID()
			t.SubtopologyID, t.Partitions = id, partitions
			for _, p := range partitions {
				if epochs {
					t.AssignmentEpochs = append(t.AssignmentEpochs, m.since[tasks.Task{Subtopology: id, Partition: p}])
				}
			}
			out = append(out, t)
		})
		return out
	}
	v.MemberEpoch, v.PreviousMemberEpoch, v.State = m.epoch, m.previous, int8(m.state)
	v.ActiveTasks = list(m.assigned.active, true)
	v.StandbyTasks, v.WarmupTasks = list(m.assigned.standby, false), list(m.assigned.warmup, false)
	v.ActiveTasksPendingRevocation = list(m.revoking.active, true)
	v.StandbyTasksPendingRevocation, v.WarmupTasksPendingRevocation = list(m.revoking.standby, false), list(m.revoking.warmup, false)
	return put(&state.StreamsGroupCurrentMemberAssignmentKey{GroupID: g.id, MemberID: m.id}, &v)
}

// parseCurrent sets in m what the record of its assignment says.
func parseCurrent(m *member, b []byte) error {
	v := state.NewStreamsGroupCurrentMemberAssignmentValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return err
	}
	m.since = map[tasks.Task]int32{}
	read := func(list []state.StreamsGroupCurrentMemberAssignmentValueTaskID, epochs bool) (s set) {
		for _, t := range list {
			s = appendTasks(s, t.SubtopologyID, t.Partitions)
			for i, p := range t.Partitions {
				if !epochs {
					break
				}
				since := v.MemberEpoch // of a record that does not tell
				if len(t.AssignmentEpochs) == len(t.Partitions) {
					since = t.AssignmentEpochs[i]
				}
				m.since[tasks.Task{Subtopology: t.SubtopologyID, Partition: p}] = since
			}
		}
		return newSet(s)
	}
	m.epoch, m.previous, m.state = v.MemberEpoch, v.PreviousMemberEpoch, memberState(v.State)
	if m.state < stable || m.state > unreleased {
		m.state = unknown
	}
	m.assigned = roles{read(v.ActiveTasks, true), read(v.StandbyTasks, false), read(v.WarmupTasks, false)}
	m.revoking = roles{read(v.ActiveTasksPendingRevocation, true), read(v.StandbyTasksPendingRevocation, false), read(v.WarmupTasksPendingRevocation, false)}
	return nil
}

// memberTombstones delete a member.
func (g scribe) memberTombstones(id string) []coordinator.Record {
	return []coordinator.Record{
		tombstone(&state.StreamsGroupCurrentMemberAssignmentKey{GroupID: g.id, MemberID: id}),
		tombstone(&state.StreamsGroupTargetAssignmentMemberKey{GroupID: g.id, MemberID: id}),
		tombstone(&state.StreamsGroupMemberMetadataKey{GroupID: g.id, MemberID: id}),
	}
}
