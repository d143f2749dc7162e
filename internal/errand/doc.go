// Package errand does what coordinators and the leaders of partitions need done
// where another broker leads: it finds that broker, asks it, and brings back what
// it says as if it had been said here.
//
//	who needs it              what                          where it is done
//	coordinator of            the end of a transaction      leader of the partition
//	  transactions              (WriteTxnMarkers)
//	leader of a partition,    is it in the transaction?     coordinator of the
//	  group coordinator         (AddPartitionsToTxn)          transactional id
//	leader of a share         what became of the records    share coordinator
//	  partition, group          (Read-, Write-, Delete-,
//	  coordinator               InitializeShareGroupState)
//	share group               dead letters (Produce), ends  leader of the partition
//	                            of logs (ListOffsets)
//
// What this broker leads by itself is done by its own parts, on the caller's
// goroutine, and costs a look at the image more.
//
// To each broker one request of a kind is under way at a time. What is wanted
// meanwhile goes with the next, all in one: see line. So one round of flushes over
// there does for all of it, and nobody waits for more than two.
//
// An answer that did not come says nothing about what was done. Every errand may
// be done twice, and who needs it asks again: nothing is repeated in here, except
// by [persist.Coordinator] above it.
package errand
