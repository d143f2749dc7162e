// Package letters writes what share groups gave up into their dead-letter topics
// (KIP-1191).
//
// A letter is a record for each record that was given up. It has these headers,
// all text:
//
//	__dlq.errors.topic           whose record it was
//	__dlq.errors.partition
//	__dlq.errors.offset
//	__dlq.errors.group           who gave it up
//	__dlq.errors.delivery.count  how often it was delivered
//	__dlq.errors.message         why, see [share.Cause]
//
// It has the key and the value of the record if the group asks for copies, else
// none; its time is when it was written. It lies in the partition whose number
// is that of the record's, modulo how many there are.
//
// The topic must allow letters (errors.deadletterqueue.group.enable), its name
// must begin as the broker says and not with "__". One that is missing is made if
// the broker allows that.
//
// A write that fails is tried again a few times; then the letter is given up, so
// that its group is not held up for ever. Differs from Apache Kafka: it tries
// again after any error that may pass, not only where the leader has moved, and
// a copy that is too large for the topic becomes a letter without one.
package letters
