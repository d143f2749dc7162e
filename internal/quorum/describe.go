package quorum

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// Mark is a place in the metadata log.
type Mark struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// Saved is what quorum-state holds, for tools.
type Saved struct {
	Write    uint64        `json:"write"` // number of the newest write
	Slots    int           `json:"slots"` // of the file that hold a whole state
	Self     SavedMember   `json:"self"`
	Term     uint64        `json:"term"`
	Vote     uint64        `json:"vote"`
	Commit   uint64        `json:"commit"`
	Snapshot Mark          `json:"snapshot"`
	Cut      Mark          `json:"cut"`
	Voters   []uint64      `json:"voters"`
	Learners []uint64      `json:"learners"`
	Members  []SavedMember `json:"members"`
}

// SavedMember is a [Member] as text.
type SavedMember struct {
	Node      int32  `json:"node_id"`
	Directory string `json:"directory_id"`
	RaftID    uint64 `json:"raft_id"`
}

func savedMember(m Member) SavedMember { return SavedMember{m.Node, m.Directory.String(), m.ID()} }

// Begin is where the metadata log may begin, see commitlog.Config.
func (s *Saved) Begin() int64 { return int64(s.Cut.Index) + 1 }

// ReadState reads quorum-state in the quorum's folder, and writes nothing. The
// error of one that cannot be used is an [ErrState].
func ReadState(f vfs.FS, dir string) (*Saved, error) {
	name := dir + "/" + stateFile
	all, err := vfs.ReadFile(f, name, slotSize*slotCount)
	if err != nil {
		return nil, err
	}
	out := &Saved{}
	var body []byte
	for at := 0; at < len(all); at += slotSize {
		if seq, b, ok := openSlot(all[at:min(at+slotSize, len(all))]); ok {
			out.Slots++
			if body == nil || seq > out.Write {
				out.Write, body = seq, b
			}
		}
	}
	if body == nil {
		return nil, fmt.Errorf("%w: %s holds no whole copy", ErrState, name)
	}
	s, err := decodeState(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out.Self, out.Term, out.Vote, out.Commit = savedMember(s.self), s.term, s.vote, s.commit
	out.Snapshot, out.Cut = Mark{s.snapshot.index, s.snapshot.term}, Mark{s.cut.index, s.cut.term}
	out.Voters, out.Learners = s.conf.Voters, s.conf.Learners
	for _, m := range s.members {
		out.Members = append(out.Members, savedMember(m))
	}
	return out, nil
}

// VerifySnapshot reads the snapshot that a state names, if it names one, to its
// footer. The error of one that cannot be used is an [ErrSnapshot].
func VerifySnapshot(f vfs.FS, dir string, s *Saved) (name string, err error) {
	if s.Snapshot.Index <= 1 {
		return "", nil
	}
	at := mark{s.Snapshot.Index, s.Snapshot.Term}
	for _, err := range readSnapshot(f, dir, at) {
		if err != nil {
			return snapshotName(at), err
		}
	}
	return snapshotName(at), nil
}
