package quorum

import (
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Errors of changes of the members.
var (
	// ErrChanging says that another change is under way; there is one at a time.
	ErrChanging = fmt.Errorf("another change of the quorum's members is under way: %w", kafka.RequestTimedOut)
	// ErrDuplicate says that the node votes already, be it under another directory.
	ErrDuplicate = fmt.Errorf("the node is a voter already: %w", kafka.DuplicateVoter)
	// ErrNoVoter says that nobody votes under this node and directory id.
	ErrNoVoter = fmt.Errorf("no such voter: %w", kafka.VoterNotFound)
	// ErrLastVoter says that a quorum without voters cannot be.
	ErrLastVoter = fmt.Errorf("the only voter has to stay: %w", kafka.VoterNotFound)
)

// change is one step of the members. done is called once, on the goroutine of Run.
type change struct {
	kind   pb.ConfChangeType
	member Member
	done   func(error)
}

// AddLearner asks for a member that receives the log and does not vote; of a voter
// it makes one. done is called once, on the goroutine of Run: with nil when the
// member is one, [ErrNotLeader], [ErrChanging] or another of this package's errors.
// So it is with the other changes; after ErrNotLeader the change may come about.
func (n *Node) AddLearner(m Member, done func(error)) {
	n.change(pb.ConfChangeAddLearnerNode, m, done)
}

// AddVoter asks for a learner to become a member that votes. It should be close to
// the end of the log.
func (n *Node) AddVoter(m Member, done func(error)) { n.change(pb.ConfChangeAddNode, m, done) }

// Remove asks for a member to leave.
func (n *Node) Remove(m Member, done func(error)) { n.change(pb.ConfChangeRemoveNode, m, done) }

func (n *Node) change(kind pb.ConfChangeType, m Member, done func(error)) {
	if !n.inbox.put(item{change: &change{kind, m, done}}) {
		done(ErrStopped)
	}
}

// propose begins a change, if there is anything to change. Raft drops a change in
// silence while another is not applied, hence the checks.
func (n *Node) propose(c *change) {
	switch needed, err := n.needed(c); {
	case !n.leading:
		c.done(ErrNotLeader)
	case err != nil || !needed:
		c.done(err)
	case len(n.changes) > 0:
		c.done(ErrChanging)
	default:
		err := n.raft.ProposeConfChange(&pb.ConfChangeV2{
			Changes: []*pb.ConfChangeSingle{{Type: c.kind.Enum(), NodeId: new(c.member.ID())}},
			Context: c.member.encode(nil),
		})
		if err != nil {
			c.done(fmt.Errorf("%w: %w", ErrNotLeader, err))
			return
		}
		n.changes = append(n.changes, c)
	}
}

// needed says whether a change would change anything.
func (n *Node) needed(c *change) (bool, error) {
	s := n.store.state
	id := c.member.ID()
	votes, learns := slices.Contains(s.conf.Voters, id), slices.Contains(s.conf.Learners, id)
	last := votes && len(s.conf.Voters) == 1
	switch {
	case !c.member.Valid():
		return false, fmt.Errorf("directory id %s cannot name a member: %w", c.member.Directory, kafka.InvalidRequest)
	case last && c.kind != pb.ConfChangeAddNode:
		return false, ErrLastVoter
	case c.kind == pb.ConfChangeAddLearnerNode:
		return !learns, nil
	case c.kind == pb.ConfChangeRemoveNode:
		return votes || learns, nil
	}
	for _, v := range s.conf.Voters {
		if m, ok := s.members.find(v); ok && m.Node == c.member.Node {
			return false, ErrDuplicate
		}
	}
	return true, nil
}

// changed ends the changes that were under way.
func (n *Node) changed(err error) {
	for _, c := range n.changes {
		c.done(err)
	}
	n.changes = nil
}

// Confirm finds out whether this node still leads: done is called with nil, on the
// goroutine of Run, once a majority has said so after the call, and all that was
// decided before it has been applied here. Whoever answers from the newest state
// without proposing anything asks this first.
func (n *Node) Confirm(done func(error)) {
	if !n.inbox.put(item{confirm: done}) {
		done(ErrStopped)
	}
}

// reading is a question of [Node.Confirm] under way.
type reading struct {
	number uint64
	index  uint64 // to be applied first; 0 until the majority has answered
	done   func(error)
}

func (n *Node) confirm(done func(error)) {
	if !n.leading {
		done(ErrNotLeader)
		return
	}
	if n.store.state.lone() {
		done(nil)
		return
	}
	n.reads++
	n.readings = append(n.readings, &reading{number: n.reads, done: done})
	n.raft.ReadIndex(binary.BigEndian.AppendUint64(nil, n.reads))
}

// confirmed notes the answers of a majority, and ends those whose time has come.
func (n *Node) confirmed(states []raft.ReadState) {
	for _, s := range states {
		if len(s.RequestCtx) != 8 {
			continue
		}
		number := binary.BigEndian.Uint64(s.RequestCtx)
		for _, r := range n.readings {
			if r.number == number {
				r.index = s.Index
			}
		}
	}
	n.readings = slices.DeleteFunc(n.readings, func(r *reading) bool {
		due := r.index > 0 && r.index <= n.applied
		if due {
			r.done(nil)
		}
		return due
	})
}

// Gone says that nobody listens at a node any more. If it leads, a voter need not
// wait until it has been silent for an election timeout: it forgets the leader and
// stands for election in its turn, by raft id, a few ticks after the one before it.
// No vote rests on it: who is wrong gets no votes from those who hear the leader.
func (n *Node) Gone(node int32) { n.inbox.put(item{gone: &node}) }

// Between the candidacies of two voters whose leader is gone.
const turnTicks = 2

func (n *Node) forget(node int32) {
	s := n.store.state
	lead := n.raft.BasicStatus().Lead
	if lead == raft.None || lead == n.Self().ID() || n.nodeOf(lead) != node {
		return
	}
	if err := n.raft.ForgetLeader(); err != nil {
		return
	}
	voters := slices.Sorted(slices.Values(s.conf.Voters))
	voters = slices.DeleteFunc(voters, func(id uint64) bool { return id == lead })
	if at := slices.Index(voters, n.Self().ID()); at >= 0 {
		n.hasten = 1 + turnTicks*at
	}
}

// hastened counts ticks down to this voter's turn.
func (n *Node) hastened() error {
	if n.hasten == 0 {
		return nil
	}
	if n.raft.BasicStatus().Lead != raft.None {
		n.hasten = 0
		return nil
	}
	if n.hasten--; n.hasten > 0 {
		return nil
	}
	return n.raft.Campaign()
}

// moment is when a member was last heard of, and was last seen to have all of the
// log, in milliseconds of the wall clock.
type moment struct{ heard, whole int64 }

func (n *Node) heard(from Member) {
	if !n.leading {
		return
	}
	t := n.times[from.ID()]
	if t == nil {
		t = &moment{-1, -1}
		n.times[from.ID()] = t
	}
	t.heard = n.cfg.Now().UnixMilli()
}
