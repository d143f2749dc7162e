package quorum

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/myelin-stream/myelin/internal/commitlog"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/record"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// store is raft's log on a commit log, and the state beside it. It belongs to
// the goroutine of Run.
type store struct {
	open   func() (*commitlog.Log, error)
	log    *commitlog.Log
	shut   bool // log was closed to be opened anew
	states *stateLog
	state  *state
	epochs []commitlog.EpochStart // the log's epoch cache, ascending
	saved  uint64                 // the commit index that quorum-state has
	wanted bool                   // a snapshot of the newest members is asked for
	build  record.Builder
	read   record.Reader
}

var _ raft.Storage = (*store)(nil)

// whole refuses a log with damage. A member that lacks entries which it has once
// acknowledged must not vote, and a machine that steps over them is another one
// than its peers'.
func whole(log *commitlog.Log) error {
	if err := log.Verify(); err != nil {
		return err
	}
	for _, d := range log.Damage() {
		if d.To > log.Start() {
			return fmt.Errorf("%w: the metadata log is damaged: entries %d to %d, segment %d at position %d, %d bytes: %s. "+
				"This node must not vote with it. Put the file back from a copy; or, if other voters have the metadata, "+
				"format the directory anew, so that the node joins as a new member",
				ErrState, d.From, d.To-1, d.Segment, d.Position, d.Bytes, d.Reason)
		}
	}
	return nil
}

// openStore makes log and state agree. The log may end behind the state (it was
// reset for a snapshot and then power failed), never before what is committed.
func openStore(log *commitlog.Log, states *stateLog, s *state) (*store, error) {
	st := &store{log: log, states: states, state: s, saved: s.commit}
	first := int64(s.cut.index) + 1
	if log.End() < first || log.Start() > first {
		if log.End() > log.Start() && log.Start() > first {
			return nil, fmt.Errorf("%w: the log begins at %d, the state knows entries from %d", ErrState, log.Start(), first)
		}
		if err := log.ResetTo(first); err != nil {
			return nil, err
		}
	}
	if log.Start() < first {
		if err := log.DeleteTo(first); err != nil {
			return nil, err
		}
	}
	if last := uint64(log.End() - 1); last < s.commit {
		return nil, fmt.Errorf("%w: the log ends at %d, but entries up to %d were committed: "+
			"its tail is lost or cut off", ErrState, last, s.commit)
	}
	st.epochs = log.Epochs()
	return st, nil
}

func (s *store) last() uint64 { return uint64(s.log.End() - 1) }

// InitialState is where raft goes on. For a lone voter all that its log holds
// is committed: nobody else could have been promised anything else.
func (s *store) InitialState() (*pb.HardState, *pb.ConfState, error) {
	commit := max(s.state.commit, s.state.snapshot.index)
	if s.state.lone() {
		commit = s.last()
	}
	hard := &pb.HardState{Term: new(s.state.term), Vote: new(s.state.vote), Commit: new(commit)}
	return hard, s.state.conf, nil
}

// FirstIndex is the first index that the log still holds.
func (s *store) FirstIndex() (uint64, error) { return s.state.cut.index + 1, nil }

// LastIndex is the last index in the log, or where it was cut if it is empty.
func (s *store) LastIndex() (uint64, error) { return s.last(), nil }

// Term is the term of an entry, from the log's epoch cache.
func (s *store) Term(index uint64) (uint64, error) {
	switch {
	case index == s.state.cut.index:
		return s.state.cut.term, nil
	case index < s.state.cut.index:
		return 0, raft.ErrCompacted
	case index > s.last():
		return 0, raft.ErrUnavailable
	}
	i, found := slices.BinarySearchFunc(s.epochs, int64(index), func(e commitlog.EpochStart, at int64) int {
		switch {
		case e.Start < at:
			return -1
		case e.Start > at:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	if i < 0 {
		return 0, fmt.Errorf("the log has no term for entry %d", index)
	}
	return uint64(s.epochs[i].Epoch), nil
}

// Snapshot names the newest snapshot and the members; its bytes travel apart,
// see Transport. A member cannot begin with a snapshot that does not know it:
// then a newer one is wanted first, and raft asks again.
func (s *store) Snapshot() (*pb.Snapshot, error) {
	if len(s.state.members.within(s.state.snapshotConf)) < len(s.state.members.within(s.state.conf)) {
		s.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &pb.Snapshot{Data: s.state.members.encode(), Metadata: &pb.SnapshotMetadata{
		Index: new(s.state.snapshot.index), Term: new(s.state.snapshot.term), ConfState: s.state.snapshotConf,
	}}, nil
}

// Entries reads [lo, hi), at least one and else up to maxSize bytes.
func (s *store) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if lo <= s.state.cut.index {
		return nil, raft.ErrCompacted
	}
	if hi > s.last()+1 {
		return nil, raft.ErrUnavailable
	}
	var entries []*pb.Entry
	var size uint64
	for next := lo; next < hi; {
		got, err := s.readRange(next, hi)
		if err != nil {
			return nil, &readError{fmt.Errorf("metadata log at entry %d: %w", next, err)}
		}
		for _, e := range got {
			size += uint64(len(e.GetData()))
			if len(entries) > 0 && size > maxSize {
				return entries, nil
			}
			entries = append(entries, e)
			next++
		}
	}
	return entries, nil
}

// readBytes is how much of the log is read at once.
const readBytes = 1 << 20

// readError is a log that cannot be read. Raft's library knows no way to go on
// without its storage and panics with what the storage returned: run turns that
// back into an error, since a disk may fail and a process that embeds a broker
// must not end for it.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// unreadable makes a panic with a readError the error of the caller; every other
// panic goes on.
func unreadable(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(*readError)
		if !ok {
			panic(r)
		}
		*err = e
	}
}

func (s *store) readRange(lo, hi uint64) ([]*pb.Entry, error) {
	rng, err := s.log.Read(int64(lo), readBytes, int64(hi), true)
	if err != nil {
		return nil, err
	}
	defer rng.Release()
	b := make([]byte, rng.Len())
	if _, err := rng.ReadAt(b, 0); err != nil {
		return nil, err
	}
	var entries []*pb.Entry
	for len(b) > 0 {
		n := record.Size(b)
		if n <= 0 || n > len(b) {
			break // the range ends within a batch
		}
		e, err := s.parse(b[:n])
		if err != nil {
			return nil, err
		}
		b = b[n:]
		if e.GetIndex() >= lo && e.GetIndex() < hi {
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil, errors.New("no entry where one must be")
	}
	return entries, nil
}

// parse reads one batch as an entry, see the package comment. The data aliases
// the batch.
func (s *store) parse(batch []byte) (*pb.Entry, error) {
	if _, err := record.Check(batch); err != nil {
		return nil, err
	}
	s.read.Reset(batch, maxChunk)
	if !s.read.Next() {
		return nil, errors.Join(s.read.Err(), errors.New("a batch without a record"))
	}
	v := s.read.Record().Value
	if len(v) == 0 || v[0] > byte(pb.EntryConfChangeV2) {
		return nil, errors.New("not an entry of the metadata log")
	}
	h := s.read.Header()
	e := &pb.Entry{Type: pb.EntryType(v[0]).Enum(), Index: new(uint64(h.BaseOffset)), Term: new(uint64(h.LeaderEpoch))}
	if len(v) > 1 {
		e.Data = v[1:]
	}
	return e, nil
}

// reopen opens the log anew from what the device holds, if a flush has found the
// disk full. What was durable is there; what was not is written again by who
// tries again.
func (s *store) reopen() error {
	if !s.shut && !vfs.IsNoSpace(s.log.Failed()) {
		return nil // it is well, or at its end for good
	}
	durable := s.log.Flushed()
	_ = s.log.Close() // it has failed: it only lets go
	s.shut = true
	log, err := s.open()
	if err != nil {
		return err
	}
	s.shut = false
	if log.End() < durable {
		return errors.Join(fmt.Errorf("%w: the log ends at %d, but was durable up to %d", ErrState, log.End(), durable), log.Close())
	}
	s.log, s.epochs = log, log.Epochs()
	return nil
}

// append writes entries and makes them durable. They may replace a tail that was
// never committed; to take back a committed entry is refused.
func (s *store) append(entries []*pb.Entry, committed uint64, now int64) error {
	first := entries[0].GetIndex()
	if first <= committed {
		return fmt.Errorf("raft would replace entry %d, but entries up to %d are committed", first, committed)
	}
	if first <= s.last() {
		if err := s.log.TruncateTo(int64(first)); err != nil {
			return err
		}
	}
	batches := make([]commitlog.Batch, 0, len(entries))
	for _, e := range entries {
		b, err := s.batch(e, now)
		if err != nil {
			return err
		}
		batches = append(batches, b)
	}
	if err := s.log.Append(batches); err != nil {
		return err
	}
	s.epochs = s.log.Epochs()
	if invariant.Planted("quorum/flush") {
		return nil
	}
	return s.log.Flush()
}

func (s *store) batch(e *pb.Entry, now int64) (commitlog.Batch, error) {
	s.build.Reset()
	s.build.BaseOffset, s.build.LeaderEpoch = int64(e.GetIndex()), int32(e.GetTerm())
	value := append(make([]byte, 0, 1+len(e.GetData())), byte(e.GetType()))
	s.build.Append(record.Record{Timestamp: now, Value: append(value, e.GetData()...)})
	b := slices.Clone(s.build.Bytes())
	h, err := record.ParseHeader(b)
	return commitlog.Batch{Bytes: b, Header: h}, err
}

// saveState makes the state durable.
func (s *store) saveState() error {
	if err := s.states.save(s.state); err != nil {
		return fmt.Errorf("quorum-state: %w", err)
	}
	s.saved = s.state.commit
	return nil
}

// close leaves what an orderly end can say: how far the log is committed, so
// that a log that loses its tail is noticed.
func (s *store) close() error {
	var err error
	if s.state.commit > s.saved && s.log.Failed() == nil {
		err = s.saveState()
	}
	return errors.Join(err, s.log.Close(), s.states.close())
}

// compact records a finished snapshot and lets go of the entries it holds,
// except for the last keep ones, which members that lag a little may want.
func (s *store) compact(at mark, conf *pb.ConfState, keep uint64) error {
	s.state.snapshot, s.state.snapshotConf = at, conf
	if at.index > keep && at.index-keep > s.state.cut.index {
		to := at.index - keep
		term, err := s.Term(to)
		if err != nil {
			return err
		}
		s.state.cut = mark{to, term}
	}
	if err := s.saveState(); err != nil {
		return err
	}
	return s.log.DeleteTo(int64(s.state.cut.index) + 1)
}

// install puts a snapshot that came from another member in the place of all
// that was here.
func (s *store) install(at mark, conf *pb.ConfState, all members) error {
	for _, m := range all {
		s.state.members = s.state.members.with(m)
	}
	s.state.members = s.state.members.within(conf)
	s.state.snapshot, s.state.snapshotConf, s.state.conf = at, conf, conf
	s.state.cut, s.state.commit = at, max(s.state.commit, at.index)
	if err := s.saveState(); err != nil {
		return err
	}
	if err := s.log.ResetTo(int64(at.index) + 1); err != nil {
		return err
	}
	s.epochs = s.log.Epochs()
	return nil
}
