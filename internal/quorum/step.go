package quorum

import (
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// ErrStranger says that a message is for, or of, somebody who is not a member any
// more, or never was.
var ErrStranger = fmt.Errorf("not a member of this quorum: %w", kafka.InvalidVoterKey)

// Step takes in a message from one member to another, which has to be this one. A
// node that has just joined knows the others only from what they send. The file of
// a snapshot has to be there, see [Node.Receive].
func (n *Node) Step(from Member, data []byte) error {
	m := new(pb.Message)
	if err := proto.Unmarshal(data, m); err != nil {
		return fmt.Errorf("raft message: %w: %w", kafka.InvalidRequest, err)
	}
	if raft.IsLocalMsg(m.GetType()) {
		return fmt.Errorf("raft message of type %s from the network: %w", m.GetType(), kafka.InvalidRequest)
	}
	if m.GetFrom() != from.ID() {
		return fmt.Errorf("raft message of member %d, from node %d, whose id is %d: %w", m.GetFrom(), from.Node, from.ID(), kafka.InvalidRequest)
	}
	if to := m.GetTo(); to != n.Self().ID() {
		return fmt.Errorf("raft message to member %d: %w", to, ErrStranger)
	}
	if m.GetType() == pb.MsgSnap {
		if err := arrived(n.cfg.FS, n.dir, m); err != nil {
			return err
		}
	}
	n.inbox.put(item{message: m, from: from})
	return nil
}

// arrived says whether the file that a snapshot's message goes with is there.
func arrived(fs vfs.FS, dir string, m *pb.Message) error {
	name := attachment(m)
	if name == "" {
		return nil
	}
	if there, err := vfs.Exists(fs, dir+"/"+name); err != nil || !there {
		return fmt.Errorf("%w: %s has not come: %w", ErrSnapshot, name, kafka.InvalidRequest)
	}
	return nil
}

// A voter of a quorum whose members were named before it began, by a file of
// settings, may be formatted a second time under the same directory.id after its
// disk was lost. Nothing tells it from a new one but what the others know. It does
// not matter to a quorum that has decided nothing yet; in any other such a voter
// could vote for a member that lacks what the lost disk had made sure of.

// remembers is an error if the leader has an answer of this member that its log
// knows nothing of.
func (n *Node) remembers(m *pb.Message) error {
	if m.GetType() != pb.MsgHeartbeat || m.GetCommit() <= n.store.last() || m.GetTerm() < n.store.state.term {
		return nil
	}
	return fmt.Errorf("%w: the leader has seen entry %d in this log, which ends at %d: the disk was lost or set back. "+
		"Format the directory anew, so that the node joins as a new member", ErrState, m.GetCommit(), n.store.last())
}

// amnesiac says whether a message asks a voter that has never seen an entry to
// vote for one that has. It waits for whoever leads to send it the log.
func (n *Node) amnesiac(m *pb.Message) bool {
	t := m.GetType()
	if t != pb.MsgVote && t != pb.MsgPreVote || n.store.last() > 1 || m.GetIndex() <= 1 {
		return false
	}
	if !n.strangers.empty {
		n.strangers.empty = true
		n.cfg.Logger.Warn("a member that has entries asks for the vote of this one, which has none: it gets none before " +
			"this node has the log, since it may have had entries and lost its disk")
	}
	return true
}

// strangers are nodes that ask for votes and are no members.
type strangers struct {
	told   map[kafka.UUID]bool // by directory: the log knows of it
	empty  bool                // the log knows that this member has nothing
	logger *slog.Logger
}

// maxStrangers is of how many the log tells.
const maxStrangers = 100

// refuses says whether a message asks for a vote in the name of a node that votes
// here under another directory: two nodes were given one id, or a voter lost its
// disk and was formatted as if it were the old one. To vote for it could make two
// leaders, of which each has a majority of the members that it knows.
//
// Other messages of such a node pass. If it leads, the voters that it needed know
// it, and this member has only not heard of the change yet.
func (l *strangers) refuses(s *state, from Member, m *pb.Message) bool {
	if t := m.GetType(); t != pb.MsgVote && t != pb.MsgPreVote {
		return false
	}
	if _, known := s.members.find(from.ID()); known {
		return false
	}
	for _, id := range s.conf.Voters {
		if voter, ok := s.members.find(id); ok && voter.Node == from.Node {
			l.tell(from, voter)
			return true
		}
	}
	return false
}

func (l *strangers) tell(from, known Member) {
	if l.told[from.Directory] || len(l.told) >= maxStrangers {
		return
	}
	l.told[from.Directory] = true
	l.logger.Error("a node asks for votes under the id of another voter, and gets none: two nodes have one node.id, "+
		"or a directory was formatted as a voter that is a member under another directory.id",
		"node", from.Node, "directory", from.Directory, "member", known.Directory)
}
