// Package partition decides for one replica of one partition: which role it
// has, how far the high watermark may go, who is in sync, whom it answers.
//
// It does no I/O and knows no clock: events come in as method calls, times as
// arguments in milliseconds, and what must happen outside leaves as [Effects].
//
// Offsets, for each replica, in this order:
//
//	log start ≤ high watermark ≤ flushed end ≤ written end
//
// where the third relation holds only for batches that must be durable: a batch
// sent with acks=0 or 1 may be seen before it is flushed, as in Kafka. The
// written end is in the page cache; the flushed end is on stable storage. A
// follower fetches from its flushed end, so the leader knows one number of it
// that stands for both.
//
// The words: a replica is in the ISR if the controller counts it as in sync;
// the maximal ISR adds whoever is just being proposed, since the controller may
// have accepted already. To commit an offset is to move the high watermark past
// it; committed offsets are what consumers see.
//
// Sources: KIP-101, KIP-279 and KIP-320 (epochs), KIP-207 (OFFSET_NOT_AVAILABLE),
// KIP-497 and KIP-841 (ISR changes), KIP-903 (broker epochs), KIP-966 (strict
// min ISR).
package partition
