package quorum

import (
	"iter"

	"github.com/myelin-stream/myelin/internal/vfs"
)

// Message is one raft message to another member.
type Message struct {
	From, To Member
	Data     []byte // for [Node.Step] on the other side, with who sent it

	// Snapshot is the name of the file, in the folder of the log, that To has
	// to have under the same name before it is given Data: see [Message.File] and
	// [Node.Receive]. Empty for all other messages. The sender reports the outcome
	// by [Message.Shipped].
	Snapshot string

	node *Node
}

// File opens the file that goes with the message.
func (m Message) File() (vfs.File, error) {
	return m.node.cfg.FS.Open(m.node.dir+"/"+m.Snapshot, vfs.ReadOnly)
}

// Shipped says whether the file, and then the message, has arrived. It has to be
// called once for each message with a file.
func (m Message) Shipped(ok bool) { m.node.ReportSnapshot(m.To, ok) }

// Lost says that the message did not arrive, or may not have, so that raft asks
// how far its receiver is in place of waiting for an answer.
func (m Message) Lost() { m.node.inbox.put(item{unreachable: m.To.ID()}) }

// Transport carries messages to other members. It may lose, double and reorder
// them. Send must not wait for the network.
type Transport interface {
	Send(messages []Message)
}

// Entry is a committed entry of the state machine's own.
type Entry struct {
	Index, Term uint64
	Data        []byte
}

// Machine is the state machine. Its methods are called on the goroutine of Run,
// one after the other, and may call [Node.Propose].
type Machine interface {
	// Restore begins anew with the records of a snapshot taken at index.
	Restore(index, term uint64, records iter.Seq2[[]byte, error]) error

	// Apply is given each committed entry once, in order. An error is final.
	Apply(entries []Entry) error

	// Lead says that this node decides from now on, and that all that was
	// decided before has been applied. The next entry is at least next.
	Lead(term, next uint64)

	// Follow says who decides instead; [kafka.NoBroker] while nobody does.
	Follow(leader int32)

	// Snapshot gives the records of the state as of the last Apply. They are
	// read later, on another goroutine. False: not at this moment.
	Snapshot() (iter.Seq[[]byte], bool)
}

// Status is a view of the quorum, as this node knows it.
type Status struct {
	Self      Member
	Leader    int32 // node id, [kafka.NoBroker] when unknown
	Term      uint64
	Committed uint64
	Applied   uint64
	Last      uint64 // last entry in this node's log
	Voters    []Progress
	Learners  []Progress
}

// Progress is how far a member's log goes, known to the leader only.
type Progress struct {
	Member
	End    int64 // next index it needs, -1 when not known
	Active bool  // heard of lately

	// When the leader last heard of the member, and last saw it have all of the
	// log, in milliseconds of the wall clock; -1 when it has not, and for itself.
	Heard, Whole int64
}
