// Package streams decides what happens in a group of Kafka Streams applications
// (KIP-1071): StreamsGroupHeartbeat, and what is told of the group.
//
//	heartbeat ─▶ who is it ─▶ topology ─▶ topics ─▶ target ─▶ reconcile ─▶ answer
//	             member       stored by   counted   tasks for  what the
//	             and epoch    the first   and named  each      member may
//	                                                 member    have now
//
// A [Group] does no I/O and reads no clock; see package kind for how it changes.
//
// The words used here:
//
//   - The topology is what the application says of itself: subtopologies, with the
//     topics that each reads, writes and keeps its state in. The first member's is
//     stored; others must say the same, or are behind if their epoch is smaller.
//   - The topology is ready when all its source topics exist and all its internal
//     topics have the partitions that follow from them. Until then nobody gets
//     tasks, and members are told what is wrong.
//   - A task is one partition of a subtopology, see package tasks. A member may
//     have it as active, standby or warm-up; Kafka 4.4 gives out no warm-ups yet,
//     but takes care of those that it is told of.
//   - Three epochs count up. The group's says that something changed, the
//     assignment's for which of these the target was made, a member's up to which
//     target it has come.
//
// A member comes to a new target in two steps. It is first told to give up what
// is not in the target, and stays in its old epoch until it says that it did; then
// it gets what nobody else has. What others still have it gets as they let go.
//
// What holds at every moment:
//
//   - no two members have the same active task, counting those that a member was
//     told to give up and has not;
//   - no two members of one process have the same task in whatever role, counting
//     the same;
//   - epochs never go back, and a member is never ahead of the assignment.
//
// What is remembered beside the records, and lost with the coordinator: whose
// session ends when, what members say of their disks, who asked for a shutdown,
// the number under which members know who serves which partitions, and the
// descriptions of topologies.
package streams
