package quorum

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// A leader whose disk hangs decides nothing, and as long as it writes nothing
// nobody notices. It hands over to the voter that has most of the log, while it can
// still speak.

// yieldTicks is for how long a leader leads before it may hand over: where all
// disks are slow, leadership is not to go round.
const yieldTicks = 50

// tenure counts the ticks of a leadership.
type tenure int

// tick hands over if slow says that the disk has not answered for a while,
// and gives the member that is to lead.
func (t *tenure) tick(r *raft.RawNode, leading bool, slow func() bool) (to uint64) {
	if !leading {
		*t = 0
		return raft.None
	}
	if *t++; *t < yieldTicks || !slow() {
		return raft.None
	}
	self := r.BasicStatus().ID
	var most uint64
	r.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		if id != self && kind == raft.ProgressTypePeer && p.RecentActive && p.Match > most {
			to, most = id, p.Match
		}
	})
	if to != raft.None { // raft forgets every few ticks who is active: then the next finds somebody
		*t = 0
		r.TransferLeader(to)
	}
	return to
}
