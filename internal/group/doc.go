// Package group coordinates groups of the classic protocol and keeps the
// offsets they commit.
//
//	Service  one method per request; finds the partition by the group's id
//	  └─ coordinator.Runtime  one turn at a time, append, replay, commit
//	       └─ shard  one partition of __consumer_offsets: groups and offsets
//	            └─ classic.Group  what one group decides
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
//
// A group exists as long as it has members, offsets, or a record that says so.
// One that has offsets only was never joined: somebody commits from outside.
//
// Requests come in as decoded messages of which the byte fields belong to this
// package. Topics are named; whoever calls has turned topic ids into names and
// taken out topics that do not exist or may not be seen.
package group
