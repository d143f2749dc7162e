// Package consumer decides what happens in a group of the consumer rebalance
// protocol (KIP-848), which needs one request only: ConsumerGroupHeartbeat.
//
//	members, subscriptions,    bump      an assignor     each member's heartbeat
//	topics, racks ───────────▶ group ──▶ target ───────▶ takes it one step
//	                           epoch     assignment      closer to its target
//
//	   Stable ──── target has less for it ───▶ UnrevokedPartitions
//	     │  ▲                                        │ it says it gave them up
//	     │  └───────── it has all of its target ─────┤
//	     │                                           ▼
//	     └── others still have what it is to get ─▶ UnreleasedPartitions
//
// The words used here:
//
//   - The group epoch counts changes of members, subscriptions and topics. The
//     assignment epoch is the group epoch that the target was computed for; a
//     member's epoch is the assignment epoch that it has come to.
//   - A member is told by its epoch whether it still is who it was: with an older
//     or newer one it is fenced and has to start again without partitions. One
//     that missed the last answer may come with its previous epoch.
//   - A partition is held by a member from when it is told to take it until it
//     says that it revoked it, or is out. Nobody is given a partition that is
//     held: so at no time do two members read the same partition.
//   - A static member (KIP-345) may leave for a while (epoch -2): it goes on
//     holding its partitions for whoever comes with its instance id.
//   - A classic member uses JoinGroup, SyncGroup and Heartbeat in a group that was
//     moved to the new protocol, see classic.go.
//
// A [Group] does no I/O and reads no clock. It decides on the newest state and
// changes through Replay only, see package kind. What is not in the records are
// the members' clocks, and which picture of the topics was looked at last.
//
// Invariants, which the tests check after every step of random histories:
//
//   - no partition is held by two members;
//   - a replay of the records makes the same group;
//   - when nothing changes any more, heartbeats bring every member to Stable with
//     its target, and the targets have every partition once.
package consumer
