package quorum

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// settle lets raft do all that it can do now. Proposals that a new leadership
// brings along are taken in before its first entry is written, so that both
// share a flush.
func (n *Node) settle() error {
	for {
		if n.announce() {
			items, _ := n.inbox.take(nil)
			for _, it := range items {
				if err := n.accept(it); err != nil {
					return err
				}
			}
		}
		if !n.raft.HasReady() {
			n.snapshot()
			n.publish()
			return nil
		}
		rd := n.raft.Ready()
		if err := n.handle(&rd); err != nil {
			return err
		}
		n.raft.Advance(rd)
	}
}

// announce tells the machine who leads; true when this node has just begun to.
//
// It has once all of the older terms is applied. For that it must commit an
// entry of its own term, except where it is alone: then every entry it holds
// was committed before it stood for election.
func (n *Node) announce() bool {
	s := n.raft.BasicStatus()
	if s.RaftState != raft.StateLeader {
		n.begin = 0
		if n.leading || s.Lead != n.leader {
			n.leading, n.leader = false, s.Lead
			n.refuse(ErrNotLeader)
			n.cfg.Machine.Follow(n.nodeOf(s.Lead))
		}
		return false
	}
	if n.leading {
		return false
	}
	if n.begin == 0 {
		n.begin = n.store.last() + 1
	}
	if n.applied < n.begin && !(n.store.state.lone() && n.applied+1 == n.begin) {
		return false
	}
	n.leading, n.leader = true, s.Lead
	n.cfg.Machine.Lead(s.GetTerm(), n.begin+1)
	return true
}

func (n *Node) nodeOf(id uint64) int32 {
	if id == raft.None {
		return kafka.NoBroker
	}
	m, ok := n.store.state.members.find(id)
	if !ok { // who joins hears the leader before it has the list
		m, _ = n.peers.find(id)
	}
	return m.Node
}

// handle does what raft asks for, in the order that makes it safe: entries and
// state are durable before messages leave and before anything is applied.
func (n *Node) handle(rd *raft.Ready) error {
	if !raft.IsEmptySnap(rd.Snapshot) {
		if err := n.install(rd.Snapshot); err != nil {
			return err
		}
	}
	if len(rd.Entries) > 0 {
		n.place(rd.Entries)
		now := n.cfg.Now().UnixMilli()
		if err := n.insist(func() error { return n.store.append(rd.Entries, n.applied, now) }); err != nil {
			return err
		}
	}
	if h := rd.HardState; !raft.IsEmptyHardState(h) {
		s := n.store.state
		// The commit index alone is not worth a sync: raft finds it again.
		changed := s.term != h.GetTerm() || s.vote != h.GetVote()
		s.term, s.vote, s.commit = h.GetTerm(), h.GetVote(), max(s.commit, min(h.GetCommit(), n.store.last()))
		if changed && !invariant.Planted("quorum/vote") {
			if err := n.insist(n.store.saveState); err != nil {
				return err
			}
		}
	}
	if err := n.send(rd.Messages); err != nil {
		return err
	}
	if err := n.apply(rd.CommittedEntries); err != nil {
		return err
	}
	n.readings.answered(rd.ReadStates, n.applied)
	return nil
}

// place finds out which entries the queued proposals became. A leader's entries
// come in the order in which they were proposed; those of raft itself lie
// between them.
func (n *Node) place(entries []*pb.Entry) {
	for _, e := range entries {
		if len(n.queue) == 0 {
			return
		}
		p := n.queue[0]
		if e.GetType() == pb.EntryNormal && bytes.Equal(e.GetData(), p.data) {
			p.index = e.GetIndex()
			n.waiting = append(n.waiting, p)
			n.queue = n.queue[1:]
		}
	}
}

// refuse ends all proposals that are not applied yet.
func (n *Node) refuse(err error) {
	for _, p := range n.waiting {
		p.done(err)
	}
	for _, p := range n.queue {
		p.done(err)
	}
	n.waiting, n.queue = nil, nil
	n.changes.end(err)
	n.readings.end(err)
	clear(n.times)
}

func (n *Node) send(messages []*pb.Message) error {
	if len(messages) == 0 || n.cfg.Transport == nil {
		return nil
	}
	out := make([]Message, 0, len(messages))
	for _, m := range messages {
		to, ok := n.store.state.members.find(m.GetTo())
		if !ok {
			to, ok = n.peers.find(m.GetTo())
		}
		if !ok {
			continue
		}
		data, err := proto.Marshal(m)
		if err != nil {
			return fmt.Errorf("raft message: %w", err)
		}
		message := Message{From: n.Self(), To: to, Data: data, node: n}
		if m.GetType() == pb.MsgSnap {
			message.Snapshot = attachment(m)
		}
		out = append(out, message)
	}
	n.cfg.Transport.Send(out)
	return nil
}

// attachment names the file that goes with a snapshot message; the empty state of a
// fresh quorum has none.
func attachment(m *pb.Message) string {
	meta := m.GetSnapshot().GetMetadata()
	if meta.GetIndex() <= 1 {
		return ""
	}
	return snapshotName(mark{meta.GetIndex(), meta.GetTerm()})
}

// apply lets committed entries act and answers their proposals.
func (n *Node) apply(committed []*pb.Entry) error {
	var entries []Entry
	for _, e := range committed {
		n.grown += int64(len(e.GetData()))
		if e.GetType() == pb.EntryNormal {
			if len(e.GetData()) > 0 { // an empty one begins a term
				entries = append(entries, Entry{e.GetIndex(), e.GetTerm(), e.GetData()})
			}
			continue
		}
		// What stands before a change of members acts before it.
		if err := n.applyData(entries); err != nil {
			return err
		}
		entries = nil
		if err := n.applyChange(e); err != nil {
			return err
		}
	}
	if err := n.applyData(entries); err != nil {
		return err
	}
	if len(committed) > 0 {
		n.applied = committed[len(committed)-1].GetIndex()
	}
	for len(n.waiting) > 0 && n.waiting[0].index <= n.applied {
		n.waiting[0].done(nil)
		n.waiting = n.waiting[1:]
	}
	return nil
}

func (n *Node) applyData(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return n.cfg.Machine.Apply(entries)
}

func (n *Node) applyChange(e *pb.Entry) error {
	var change pb.ConfChangeI
	var context []byte
	if e.GetType() == pb.EntryConfChange {
		c := new(pb.ConfChange)
		if err := proto.Unmarshal(e.GetData(), c); err != nil {
			return fmt.Errorf("change of members at entry %d: %w", e.GetIndex(), err)
		}
		change, context = c, c.GetContext()
	} else {
		c := new(pb.ConfChangeV2)
		if err := proto.Unmarshal(e.GetData(), c); err != nil {
			return fmt.Errorf("change of members at entry %d: %w", e.GetIndex(), err)
		}
		change, context = c, c.GetContext()
	}
	s := n.store.state
	s.conf = n.raft.ApplyConfChange(change)
	if m, ok := decodeMember(context); ok && m.Valid() {
		s.members = s.members.with(m)
	}
	s.members = s.members.within(s.conf)
	n.keepTime()
	if err := n.insist(n.store.saveState); err != nil {
		return err
	}
	n.publish() // who asked for the change sees it in the status
	n.changes.end(nil)
	return nil
}

// install takes over the state of another member. The transport has put the
// file in place before the message that names it.
func (n *Node) install(snap *pb.Snapshot) error {
	meta := snap.GetMetadata()
	at := mark{meta.GetIndex(), meta.GetTerm()}
	if at.index > 1 { // before the state says that it is there
		if there, err := vfs.Exists(n.cfg.FS, n.dir+"/"+snapshotName(at)); err != nil || !there {
			return errors.Join(fmt.Errorf("%w: %s came without its file", ErrSnapshot, snapshotName(at)), err)
		}
	}
	all, ok := decodeMembers(snap.GetData())
	if !ok {
		return fmt.Errorf("%w: %s came with a malformed list of members", ErrSnapshot, snapshotName(at))
	}
	conf := pb.EnsureConfState(meta.GetConfState())
	if err := n.insist(func() error { return n.store.install(at, conf, all) }); err != nil {
		return err
	}
	n.keepTime()
	return n.restore()
}

// snapshot starts writing one when enough has gathered, or a new member needs it.
func (n *Node) snapshot() {
	due := n.grown >= n.cfg.SnapshotBytes || n.store.wanted
	if n.snapping || !due || n.applied <= n.store.state.snapshot.index {
		return
	}
	term, err := n.store.Term(n.applied)
	if err != nil {
		return
	}
	records, ok := n.cfg.Machine.Snapshot()
	if !ok {
		return
	}
	f := &finished{at: mark{n.applied, term}, conf: n.store.state.conf}
	n.snapping, n.grown, n.store.wanted = true, 0, false
	n.snapshots.Go(func() {
		f.err = writeSnapshot(n.cfg.FS, n.dir, f.at, records, n.stopping.Load)
		n.inbox.put(item{snapshot: f})
	})
}

// publish makes a new view for [Node.Status].
func (n *Node) publish() {
	b := n.raft.BasicStatus()
	s := &Status{
		Self: n.Self(), Leader: n.nodeOf(b.Lead), Term: b.GetTerm(),
		Committed: b.GetCommit(), Applied: n.applied, Last: n.store.last(),
	}
	known := map[uint64]tracker.Progress{}
	if b.RaftState == raft.StateLeader {
		n.raft.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) { known[id] = p })
	}
	view := func(ids []uint64) (list []Progress) {
		for _, id := range ids {
			m, _ := n.store.state.members.find(id)
			p := Progress{Member: m, End: -1, Heard: -1, Whole: -1}
			if k, ok := known[id]; ok {
				p.End, p.Active = int64(k.Match)+1, k.RecentActive || id == n.Self().ID()
			}
			if t := n.times[id]; t != nil {
				if p.End > int64(s.Last) {
					t.whole = t.heard
				}
				p.Heard, p.Whole = t.heard, t.whole
			}
			list = append(list, p)
		}
		return list
	}
	s.Voters, s.Learners = view(n.store.state.conf.Voters), view(n.store.state.conf.Learners)
	n.status.Store(s)
}
