// Package share hands the records of a partition out to the members of a share
// group, one by one, and remembers what became of each (KIP-932).
//
// # Words
//
//	share partition  one group's view of one topic partition, on its leader
//	window           the offsets in flight: start ≤ … ≤ end; before it all is
//	                 done, behind it nothing was handed out yet
//	acquired         with one member, under a lock that runs out
//	state            Available, Acquired, Acknowledged, Archiving, Archived of a
//	                 record
//	letter           of records that were given up, for the group's dead-letter
//	                 topic
//	delivery count   how often a record was acquired
//	session          what one member asks for, between its requests
//
// What became of a record is durable before anybody is told: it goes through
// the [Persister], which is the share coordinator.
package share
