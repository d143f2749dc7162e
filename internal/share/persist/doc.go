// Package persist is the share coordinator: it keeps, for each share partition,
// what became of the records that a share group was given (KIP-932).
//
//	share.Persister, group's wish ─▶ Local ─┐ asks again while the coordinator moves
//	APIs 83 to 87 ─────────────────────────▶ Service
//	                                          └─ coordinator.Runtime
//	                                               └─ shard, one partition of __share_group_state
//
// A share partition is kept in the partition that the Java hash of its name
// "group:topicId:partition" picks.
//
// The records are Kafka's, byte for byte:
//
//	key                                        value
//	ShareSnapshotKey{group, topic id, part.}   ShareSnapshotValue: all there is; null: nothing any more
//	ShareUpdateKey{group, topic id, part.}     ShareUpdateValue: what came on top
//
// The topic is not compacted. What a partition's log needs at least is the last
// snapshot of each share partition and what follows; all before the first of
// those is deleted from time to time ([Config.PruneEvery]). So that one idle share
// partition does not keep the log from shrinking, idle ones get a snapshot now
// and then ([Config.ColdAfter]).
//
// # What always holds
//
//   - The start offset grows, until the share partition is initialized anew.
//   - The state epoch does not sink. Who writes with an older one is fenced, and
//     so is who writes or reads with an older leader epoch than was seen.
//   - Of two batches that speak of one offset the one with more deliveries
//     counts, and with as many the one with the higher state: see combine. A write
//     that comes twice, or late, changes nothing.
//   - A machine that was loaded from a pruned log has the same state as one that
//     saw all of it. Only the highest leader epoch that was ever seen may be
//     forgotten with an initialization before it.
package persist
