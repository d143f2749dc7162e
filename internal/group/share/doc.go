// Package share decides what happens in a share group (KIP-932): who is a member,
// which partitions each reads, and which partitions have a state that their
// leaders can work with.
//
//	ShareGroupHeartbeat ─▶ Heartbeat ─▶ records, an answer, and Wishes: partitions
//	                                    whose state is to be initialized
//	the share coordinator did so ─▶ Settle ─▶ records; the partitions are assigned
//	                                          with the next heartbeats
//
// In a share group several members may read one partition. There is no
// handing-over: a member takes what it is assigned at once.
//
// The words used here:
//
//   - The group epoch grows whenever something changes that assignments are made
//     of. The assignment epoch is the group epoch that the last assignment was
//     made for; a member's epoch is the assignment epoch that it knows.
//   - A partition is initializing once the share coordinator was asked to begin
//     its state, initialized when that is done, and only then assigned. Deleting
//     are topics whose state is being taken down.
//
// # What always holds
//
//   - Epochs do not sink: member ≤ assignment ≤ group, and none gets smaller
//     while the group has the member.
//   - Nobody is assigned a partition that is not initialized, or of a topic that
//     it does not subscribe to.
//   - Every initialized partition of a topic that somebody subscribes to has a
//     member once the assignment epoch has reached the group epoch.
//   - A group that is loaded from its records is the one that wrote them, but for
//     sessions, which begin anew, and for the age of requests to initialize.
package share
