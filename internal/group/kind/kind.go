// Package kind says what the coordinator of groups asks of a kind of group whose
// state is in its records alone: consumer (KIP-848), share (KIP-932) and streams
// groups (KIP-1071).
//
//	request ──▶ the kind's own method ──▶ Step{Records, Wake} ──▶ append
//	                decides on the newest state                     │
//	            Group.Replay(key, value) ◀── one record at a time ──┘
//
// A group changes through Replay only, whether a record comes from the log at
// start or was appended a moment ago. What it remembers beside (whose session
// ends when) is lost with the coordinator and made anew by Loaded. A method that
// decides changes nothing but that; it answers from what its records will make
// of the group.
//
// When the append fails, the whole partition is loaded anew, so nothing has to be
// taken back.
package kind

import (
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// Type is a group's kind, by its name in ListGroups.
type Type string

// The kinds of group.
const (
	Classic  Type = "classic"
	Consumer Type = "consumer"
	Share    Type = "share"
	Streams  Type = "streams"
)

// Step is what follows from an event.
type Step struct {
	// Records are to be appended as one batch, and then replayed.
	Records []coordinator.Record

	// Wake is when to call Tick; zero if there is nothing to wait for. Earlier
	// calls do no harm.
	Wake time.Time

	// Gone are the members that are in the group no more, for the log.
	Gone []Gone
}

// Gone is a member that was removed.
type Gone struct {
	Member, ClientID string
	Why              string
	Expired          bool // it ran out of time, it did not leave
}

// Committer is who commits or fetches offsets in the name of a group.
type Committer struct {
	Member   string
	Instance *string
	Epoch    int32 // member epoch, or generation; -1 from outside the group
	Version  int16 // of the request
	Txn      bool  // TxnOffsetCommit
	Named    bool  // OffsetFetch: an id was given, be it an empty one
}

// Group is one group. Its methods are called one at a time and must not block.
type Group interface {
	ID() string
	Type() Type

	// State is the group's state in ListGroups, by Kafka's name: "Empty",
	// "Assigning", "Reconciling", "Stable", "NotReady", "Dead".
	State() string

	// Empty says that the group has no members, so that it may be deleted.
	Empty() bool

	// Size is the number of members.
	Size() int

	// Subscribed says whether a member reads the topic: its offsets then stay.
	Subscribed(topic string) bool

	// CheckCommit says whether the group lets somebody commit offsets.
	CheckCommit(who Committer) kafka.Code

	// CheckFetch says whether the group lets somebody read committed offsets.
	CheckFetch(who Committer) kafka.Code

	// Replay applies one record of this group. key is what state.ParseKey gave,
	// such as *state.ConsumerGroupMemberMetadataKey; a nil value is a tombstone.
	Replay(key any, value []byte) error

	// Loaded is called when the log has been replayed: clocks start.
	Loaded(now time.Time) Step

	// Tick lets time pass: sessions and rebalances end.
	Tick(now time.Time) Step

	// Tombstones delete all records of the group, which is empty.
	Tombstones() []coordinator.Record
}

// PartitionChecker is a Group in which a member may still commit with an older
// epoch than its own, for what it held in that epoch already and holds without a
// break (KIP-1251): its processing ran while it learnt of the newer one.
// CheckCommit then says None, and each partition is asked for.
type PartitionChecker interface {
	CheckPartition(who Committer, topic string, partition int32) kafka.Code
}

// Topics is the picture of the cluster's topics, which does not change.
type Topics interface {
	// Version is another whenever topics, partitions or racks may have changed.
	Version() int64
	Named(name string) (Topic, bool)
	ByID(id kafka.UUID) (Topic, bool)
	// Names are all topics' names in order, internal ones included.
	Names() []string
}

// Topic is one topic of the picture.
type Topic struct {
	Name       string
	ID         kafka.UUID
	Partitions int32
	Internal   bool
	// Racks are the racks of a partition's replicas, in their order; none when no
	// broker has a rack.
	Racks func(partition int32) []string
}
