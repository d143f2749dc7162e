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
// Requests come in as decoded messages of which the byte fields belong to this
// package. Topics are named; whoever calls has turned topic ids into names and
// taken out topics that do not exist or may not be seen.
package group
