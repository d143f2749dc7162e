// Package txn coordinates transactions: it decides which producer may write
// under a transactional id, which partitions its transaction has written, and
// whether that is committed or aborted.
//
//	Service  one method per request; finds the partition by the id
//	  └─ coordinator.Runtime  one turn at a time, append, replay, commit
//	       └─ shard  one partition of __transaction_state: ids
//	            └─ transaction  what one id's record says, and what may follow
//
// The life of an id, a record for each arrow:
//
//	       InitProducerId            AddPartitions, AddOffsets,
//	                                 a first Produce or TxnOffsetCommit
//	(none) ───────────────▶ Empty ─────────────────────────────────▶ Ongoing
//	                          ▲                                         │ EndTxn, a time-out,
//	           InitProducerId │                                         ▼ InitProducerId
//	                     CompleteCommit ◀─ markers are written ─ PrepareCommit
//	                     CompleteAbort  ◀─ in all partitions ─── PrepareAbort
//
// The words used here:
//
//   - A producer is an id and an epoch. Who presents another epoch than the
//     newest is fenced.
//   - A marker is the control batch that ends a transaction in one partition.
//   - The version of a transaction is the client's: 0 and 1 keep the epoch over
//     all transactions of a producer, 2 (KIP-890) begins a new one with the end
//     of each.
//
// The records are Kafka's, byte for byte: TransactionLogKey{transactional id},
// TransactionLogValue, null for an id that is forgotten.
//
// What must never break, whatever is lost or comes late:
//
//  1. A record names a partition, and is committed, before the partition takes
//     the first batch of the transaction. So no transaction is left open in a
//     partition that nobody knows of.
//  2. No marker leaves before its PREPARE is committed, and a PREPARE is never
//     taken back: PrepareCommit is followed by CompleteCommit, PrepareAbort by
//     CompleteAbort, with no other record between.
//  3. A COMPLETE is written only when every partition of the PREPARE has its
//     marker durably, or does not exist any more.
//  4. The epoch of a producer id never goes back, and no producer is told an
//     epoch that another was told before.
//  5. Under version 2 a marker's epoch is greater than that of every batch of
//     the transaction, and no smaller than that of every batch of the next. So
//     what comes late is refused by the partition.
//  6. Under version 2 an EndTxn ends the transaction of its own epoch or none.
//  7. What is loaded from the log is what the last coordinator had. Memory alone
//     keeps only who waits, which markers are under way or in, and which epoch a
//     producer had that asked for a new one (see recovery).
//
// From its begin until a reader sees it a transaction waits for four flushes, one
// after the other: of the record that names its partitions, of its batches, of
// the PREPARE, of the markers. The COMPLETE is no fifth: it goes with the next
// record of the id, or a moment later by itself (see linger).
package txn
