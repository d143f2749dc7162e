// Package history checks what the clients of a cluster did and saw: a record of
// their sends, polls and transactions against what Kafka promises about them.
//
//	clients ──▶ []Op, in the order of their ends ──▶ Check ──▶ []Anomaly
//
// The model is the one of Jepsen's tests for Kafka. A key is a topic and a
// partition, and no value is sent to a key twice, so whoever reads a value knows
// who wrote it. From the offsets that anybody saw comes the order of each key;
// offsets may have gaps (markers, aborted records), so positions in it count
// instead: neighbours in the order are one apart.
//
// How an operation ended decides what may be said about it:
//
//   - OK: it happened. Fail: it did not, and nobody may see that it did. Info:
//     nobody knows; it happened if somebody saw it.
//   - Reads of an operation that failed are reads all the same: what was polled
//     stood there, though the transaction around it came to nothing.
//
// The anomalies are told by [Class]. Those that Kafka allows (writes of two
// transactions interleave in a partition, for example) are not reported.
package history

import (
	"cmp"
	"fmt"
	"slices"
)

// Outcome says how an operation ended.
type Outcome uint8

// The outcomes, see the package comment.
const (
	OK Outcome = iota
	Fail
	Info
)

func (o Outcome) String() string { return [...]string{"ok", "fail", "info"}[o] }

// Unknown is the offset of a send that was not acknowledged.
const Unknown int64 = -1

// Record is a value of a key with the offset at which it was seen.
type Record struct {
	Key    string
	Offset int64
	Value  int64
}

func (r Record) String() string { return fmt.Sprintf("%s@%d=%d", r.Key, r.Offset, r.Value) }

// Step is one part of an operation: a send, or a poll with all it returned.
type Step struct {
	Send   bool
	Sent   Record   // Offset is Unknown if nobody was told
	Polled []Record // in the order they were returned
}

// Op is one operation of a process, complete.
type Op struct {
	// Process does one thing after another. One that crashed, or was fenced, goes
	// on under another number.
	Process int
	Outcome Outcome
	Steps   []Step

	// Moved are keys whose position the process, or a rebalance, set anew before
	// or during the operation: what came before says nothing about the next read.
	Moved []string

	// Group says that the position came from a group: rebalances may move it at
	// any time, so reads of two operations do not have to follow each other.
	Group bool
}

// Class is a kind of anomaly.
type Class string

// The classes. Names that Jepsen's checker has are the same here.
const (
	InconsistentOffsets   Class = "inconsistent-offsets"  // one offset, two values
	Duplicate             Class = "duplicate"             // one value, two offsets
	AbortedRead           Class = "G1a"                   // a value of an operation that failed was read
	LostWrite             Class = "lost-write"            // readers passed a value that was written and never saw it
	Unseen                Class = "unseen"                // an acknowledged value that nobody ever read, though all was read at the end
	TornTransaction       Class = "torn-transaction"      // some values of a transaction can be read, others cannot
	PollSkip              Class = "poll-skip"             // a process's next read jumped over values
	NonmonotonicPoll      Class = "nonmonotonic-poll"     // a process's next read stepped back
	InnerPollSkip         Class = "int-poll-skip"         // the same within one operation
	InnerNonmonotonicPoll Class = "int-nonmonotonic-poll" //
	NonmonotonicSend      Class = "nonmonotonic-send"     // a later send of a process stands before an earlier one
	InnerNonmonotonicSend Class = "int-nonmonotonic-send" // the same within one operation
	PrecommittedRead      Class = "precommitted-read"     // an operation read what it had not committed yet
	Circular              Class = "G1c"                   // transactions that read each other's writes in a circle
	UnknownWriter         Class = "unknown-writer"        // a value that nobody sent
)

// Anomaly is one finding.
type Anomaly struct {
	Class  Class
	Key    string // empty if it is about several
	Ops    []int  // indexes into the history
	Detail string
}

func (a Anomaly) String() string {
	return fmt.Sprintf("%s %s %v: %s", a.Class, a.Key, a.Ops, a.Detail)
}

// Options say what the history may be held to.
type Options struct {
	// Final says that at the end somebody read every key from its start to its end,
	// so that what was not seen is not there.
	Final bool

	// Uncommitted says that the readers read uncommitted data: aborted reads and
	// circles are then allowed.
	Uncommitted bool
}

// Check finds the anomalies of a history, whose operations come in the order of
// their ends. They are sorted by class, key and operations.
func Check(ops []Op, o Options) []Anomaly {
	c := newChecker(ops, o)
	c.offsets()
	c.reads()
	c.lost()
	c.torn()
	c.forward()
	if !o.Uncommitted {
		c.circles()
	}
	slices.SortFunc(c.found, func(a, b Anomaly) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Key, b.Key), slices.Compare(a.Ops, b.Ops), cmp.Compare(a.Detail, b.Detail))
	})
	return c.found
}
