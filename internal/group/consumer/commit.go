package consumer

import (
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// commitVersion is the version of OffsetCommit from which on a member's epoch is
// understood.
const commitVersion = 9

// CheckCommit says whether a member may commit offsets. One that comes with an
// older epoch may, for partitions that it still holds and got at that epoch or
// before: ask CheckPartition for each (KIP-1251).
func (g *Group) CheckCommit(who kind.Committer) kafka.Code {
	code, _ := g.committer(who)
	return code
}

// CheckPartition says whether a member, which CheckCommit let in, may commit the
// offset of one partition.
func (g *Group) CheckPartition(who kind.Committer, topic string, partition int32) kafka.Code {
	code, m := g.committer(who)
	if code != kafka.None || m == nil || who.Epoch == m.epoch {
		return code
	}
	t, _ := g.cfg.Topics().Named(topic)
	got, ok := m.assigned.epoch(t.ID, partition)
	if !ok {
		got, ok = m.revoking.epoch(t.ID, partition)
	}
	if !ok || who.Epoch < got {
		return m.stale()
	}
	return kafka.None
}

// committer is the member that commits; nil if it is nobody in particular.
func (g *Group) committer(who kind.Committer) (kafka.Code, *member) {
	if who.Epoch < 0 && g.Empty() || who.Txn && who.Epoch == -1 && who.Member == "" && who.Instance == nil {
		return kafka.None, nil
	}
	m := g.members[who.Member]
	switch {
	case m == nil:
		return kafka.UnknownMemberID, nil
	case !who.Txn && m.classic == nil && who.Version < commitVersion:
		return kafka.UnsupportedVersion, m
	case who.Epoch > m.epoch:
		return m.stale(), m
	}
	return kafka.None, m
}

// CheckFetch says whether a member may read the group's offsets. Who brings
// neither id nor epoch may.
func (g *Group) CheckFetch(who kind.Committer) kafka.Code {
	if !who.Named && who.Epoch < 0 {
		return kafka.None
	}
	m := g.members[who.Member]
	switch {
	case m == nil:
		return kafka.UnknownMemberID
	case m.epoch != who.Epoch:
		return m.stale()
	}
	return kafka.None
}

// stale is what a member with the wrong epoch is told.
func (m *member) stale() kafka.Code {
	if m.classic != nil {
		return kafka.IllegalGeneration
	}
	return kafka.StaleMemberEpoch
}
