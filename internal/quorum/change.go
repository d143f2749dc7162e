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
	switch needed, err := c.needed(n.store.state); {
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
func (c *change) needed(s *state) (bool, error) {
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

// changes are those under way.
type changes []*change

func (l *changes) end(err error) {
	for _, c := range *l {
		c.done(err)
	}
	*l = nil
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

// readings are the questions of [Node.Confirm] under way.
type readings struct {
	list []*reading
	last uint64 // number of the newest
}

type reading struct {
	number uint64
	index  uint64 // to be applied first; 0 until the majority has answered
	done   func(error)
}

func (n *Node) confirm(done func(error)) {
	switch {
	case !n.leading:
		done(ErrNotLeader)
	case n.store.state.lone():
		done(nil)
	default:
		n.raft.ReadIndex(n.readings.add(done))
	}
}

// add notes a question and gives the bytes by which raft knows it.
func (l *readings) add(done func(error)) []byte {
	l.last++
	l.list = append(l.list, &reading{number: l.last, done: done})
	return binary.BigEndian.AppendUint64(nil, l.last)
}

// answered notes what a majority has answered, and ends the questions whose time
// has come.
func (l *readings) answered(states []raft.ReadState, applied uint64) {
	if len(l.list) == 0 {
		return
	}
	for _, s := range states {
		for _, r := range l.list {
			if len(s.RequestCtx) == 8 && binary.BigEndian.Uint64(s.RequestCtx) == r.number {
				r.index = s.Index
			}
		}
	}
	l.list = slices.DeleteFunc(l.list, func(r *reading) bool {
		due := r.index > 0 && r.index <= applied
		if due {
			r.done(nil)
		}
		return due
	})
}

func (l *readings) end(err error) {
	for _, r := range l.list {
		r.done(err)
	}
	l.list = nil
}

// Gone says that nobody listens at a node any more. If it leads, a voter need not
// wait until it has been silent for an election timeout: it forgets the leader and
// stands for election in its turn, by raft id, a few ticks after the one before it.
// No vote rests on it: who is wrong gets no votes from those who hear the leader.
func (n *Node) Gone(node int32) { n.inbox.put(item{gone: &node}) }

// turnTicks lie between the candidacies of two voters whose leader is gone.
const turnTicks = 2

// candidacy is an election for which a voter stands before its time.
type candidacy struct{ in int } // ticks; 0: none

// hasten forgets the leader, which is gone, and begins the count.
func (c *candidacy) hasten(r *raft.RawNode, s *state) {
	lead := r.BasicStatus().Lead
	if lead == raft.None || lead == s.self.ID() || r.ForgetLeader() != nil {
		return
	}
	turn := 0
	for _, id := range s.conf.Voters {
		if id != lead && id < s.self.ID() {
			turn++
		}
	}
	if slices.Contains(s.conf.Voters, s.self.ID()) {
		c.in = 1 + turnTicks*turn
	}
}

// tick counts down to this voter's turn.
func (c *candidacy) tick(r *raft.RawNode) error {
	if c.in == 0 {
		return nil
	}
	if r.BasicStatus().Lead != raft.None {
		c.in = 0
		return nil
	}
	if c.in--; c.in > 0 {
		return nil
	}
	return r.Campaign()
}

// moments tell of each member when it was last heard of, and when it was last seen
// to have all of the log, in milliseconds of the wall clock.
type moments map[uint64]*moment

type moment struct{ heard, whole int64 }

func (l moments) heard(from Member, now int64) {
	t := l[from.ID()]
	if t == nil {
		t = &moment{-1, -1}
		l[from.ID()] = t
	}
	t.heard = now
}
