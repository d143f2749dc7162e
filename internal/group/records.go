package group

import (
	"time"

	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// The versions of values that are written: those of Kafka 4.4. A value that
// expires at a set time, as clients before KIP-211 ask, exists in version 1 only.
const (
	groupVersion         = 3
	offsetVersion        = 4
	offsetExpiresVersion = 1
)

// offset is one committed offset.
type offset struct {
	Offset      int64
	LeaderEpoch int32
	Metadata    string
	Committed   int64 // ms
	Expires     int64 // ms; -1: by retention
	TopicID     kafka.UUID
}

func offsetKey(group string, tp kafka.TopicPartition) []byte {
	return state.MarshalKey(&state.OffsetCommitKey{Group: group, Topic: tp.Topic, Partition: tp.Partition})
}

func (o *offset) marshal() []byte {
	version := int16(offsetVersion)
	if o.Expires != -1 {
		version = offsetExpiresVersion
	}
	return state.MarshalValue(&state.OffsetCommitValue{
		Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata,
		CommitTimestamp: o.Committed, ExpireTimestamp: o.Expires, TopicID: o.TopicID,
	}, version)
}

func parseOffset(b []byte) (offset, error) {
	v := state.NewOffsetCommitValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return offset{}, err
	}
	return offset{
		Offset: v.Offset, LeaderEpoch: v.LeaderEpoch, Metadata: v.Metadata,
		Committed: v.CommitTimestamp, Expires: v.ExpireTimestamp, TopicID: v.TopicID,
	}, nil
}

func groupKey(group string) []byte { return state.MarshalKey(&state.GroupMetadataKey{Group: group}) }

func marshalGroup(s *classic.Snapshot) []byte {
	v := state.NewGroupMetadataValue()
	v.ProtocolType, v.Generation, v.Protocol, v.Leader = s.ProtocolType, s.Generation, s.Protocol, s.Leader
	if !s.Since.IsZero() {
		v.CurrentStateTimestamp = s.Since.UnixMilli()
	}
	for i := range s.Members {
		m := &s.Members[i]
		v.Members = append(v.Members, state.GroupMetadataValueMemberMetadata{
			MemberID: m.ID, GroupInstanceID: m.Instance, ClientID: m.ClientID, ClientHost: m.ClientHost,
			RebalanceTimeout: int32(m.Rebalance.Milliseconds()), SessionTimeout: int32(m.Session.Milliseconds()),
			Subscription: m.Subscription, Assignment: m.Assignment,
		})
	}
	return state.MarshalValue(&v, groupVersion)
}

func parseGroup(b []byte) (*classic.Snapshot, error) {
	v := state.NewGroupMetadataValue()
	if _, err := state.ParseValue(b, &v); err != nil {
		return nil, err
	}
	s := &classic.Snapshot{ProtocolType: v.ProtocolType, Generation: v.Generation, Protocol: v.Protocol, Leader: v.Leader}
	if v.CurrentStateTimestamp != -1 {
		s.Since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	for i := range v.Members {
		m := &v.Members[i]
		s.Members = append(s.Members, classic.MemberSnapshot{
			ID: m.MemberID, Instance: m.GroupInstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			Rebalance: time.Duration(m.RebalanceTimeout) * time.Millisecond,
			Session:   time.Duration(m.SessionTimeout) * time.Millisecond,
			// They lie in the record, which is this machine's to keep.
			Subscription: m.Subscription, Assignment: m.Assignment,
		})
	}
	return s, nil
}
