package quorum

import (
	"encoding/binary"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Member is a node that takes part, by the directory with which it does.
type Member struct {
	Node      int32
	Directory kafka.UUID
}

// ID is the member's raft id: the first eight bytes of its directory id. Of
// 64 random bits the highest is cut off, since raft keeps the largest numbers
// for itself; 0 is nobody.
func (m Member) ID() uint64 { return binary.BigEndian.Uint64(m.Directory[:8]) &^ (1 << 63) }

// Valid says whether the member can have a raft id.
func (m Member) Valid() bool { return m.ID() != 0 }

// members finds members by raft id; sorted by id.
type members []Member

func compareID(m Member, id uint64) int {
	switch mine := m.ID(); {
	case mine < id:
		return -1
	case mine > id:
		return 1
	}
	return 0
}

func (l members) find(id uint64) (Member, bool) {
	i, ok := slices.BinarySearchFunc(l, id, compareID)
	if !ok {
		return Member{Node: kafka.NoBroker}, false
	}
	return l[i], true
}

// with gives the list with m in it, in place of one with the same id.
func (l members) with(m Member) members {
	i, ok := slices.BinarySearchFunc(l, m.ID(), compareID)
	next := slices.Clone(l)
	if ok {
		next[i] = m
		return next
	}
	return slices.Insert(next, i, m)
}

// within keeps the members that the configuration names.
func (l members) within(conf *pb.ConfState) members {
	named := func(id uint64) bool {
		return slices.Contains(conf.Voters, id) || slices.Contains(conf.Learners, id) ||
			slices.Contains(conf.VotersOutgoing, id) || slices.Contains(conf.LearnersNext, id)
	}
	return slices.DeleteFunc(slices.Clone(l), func(m Member) bool { return !named(m.ID()) })
}

// encode writes node and directory, 20 bytes, the context of the configuration
// change that adds a member.
func (m Member) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(m.Node))
	return append(b, m.Directory[:]...)
}

const memberSize = 4 + len(kafka.UUID{})

func decodeMember(b []byte) (Member, bool) {
	if len(b) != memberSize {
		return Member{}, false
	}
	return Member{Node: int32(binary.BigEndian.Uint32(b)), Directory: kafka.UUID(b[4:])}, true
}

// encode writes the members one after the other, each as [Member.encode] does.
func (l members) encode() []byte {
	b := make([]byte, 0, len(l)*memberSize)
	for _, m := range l {
		b = m.encode(b)
	}
	return b
}

func decodeMembers(b []byte) (members, bool) {
	var l members
	for ; len(b) >= memberSize; b = b[memberSize:] {
		m, _ := decodeMember(b[:memberSize])
		l = l.with(m)
	}
	return l, len(b) == 0
}
