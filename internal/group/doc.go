// Package group coordinates groups of all kinds and keeps the offsets they
// commit.
//
//	Service  one method per request; finds the partition by the group's id
//	  └─ coordinator.Runtime  one turn at a time, append, replay, commit
//	       └─ shard  one partition of __consumer_offsets: groups and offsets
//	            ├─ classic.Group  what one group of the classic protocol decides
//	            └─ kind.Group     the same of the other kinds, see package kind
//
// A request is decided on the newest state; its answer leaves when what was
// decided is committed. Clients that only ask (OffsetFetch, DescribeGroups,
// ListGroups) see the committed state.
//
// The records are Kafka's, byte for byte:
//
//	key                                   value
//	OffsetCommitKey{group, topic, part.}  OffsetCommitValue, null: no offset
//	GroupMetadataKey{group}               GroupMetadataValue, null: no group
//	those of the kinds, see keyOf         the kind's own
//
// A name belongs to one group, of one kind. A group that has no members gives way
// to one of another kind where Kafka lets it: its tombstones and the records of
// the new one stand in one batch. Offsets belong to the name and stay.
//
// A group exists as long as it has members, offsets, or a record that says so.
// One that has offsets only was never joined: somebody commits from outside.
//
// What must never break, whatever is lost, and wherever a coordinator dies:
//
//  1. What is loaded from the log is what the last coordinator had: offsets, those
//     of open transactions, and groups of kinds at every append; a classic group as
//     of its last complete generation. Nothing is applied before the log has it.
//  2. What somebody is told is committed by then: an offset, a generation with its
//     members, a member's epoch.
//  3. Of the offsets of a partition the last one in the log counts that is not in a
//     transaction, or in one that was committed. One in a transaction is seen from
//     the commit marker on, and by nobody after an abort. When a marker has come,
//     nothing of its producer is pending.
//  4. A name has at most one group.
//  5. No partition is read by two members of a group of the consumer protocol at
//     once, whichever protocol each of them speaks, and whichever the group has had.
//  6. A tombstone is final: an offset or a group that it named is back only with a
//     record that comes later.
//
// Requests come in as decoded messages of which the byte fields belong to this
// package. Topics are named; whoever calls has turned topic ids into names and
// taken out topics that do not exist or may not be seen.
package group
