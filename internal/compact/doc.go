// Package compact cleans compacted logs: of each key it keeps the last record,
// and leaves offsets and order as they are.
//
// The words. Closed segments below the *bound* may be cleaned: the bound is the
// begin of the first segment that is active, too young, or not wholly below the
// last stable offset. The *dirty* offset is up to where the log was cleaned
// before; it is kept in cleaner-offset-checkpoint.
//
//	start      dirty                bound                end
//	  |--clean---|-----cleanable------|---not cleanable----|
//
// A round of cleaning has two steps:
//
//	index    walk over the cleanable part: the last offset of each key, [keys]
//	rewrite  walk over everything below the bound, a group of segments at a time:
//	         what a later record of its key, the delete horizon or a rollback has
//	         made void goes, and the group's new segment takes the old ones' place
//
// Three things stay though nobody reads them: a tombstone or a transaction's
// marker until its batch's delete horizon, which the first round that meets it
// sets (KIP-534); the last batch of a producer that may still write, emptied, for
// its sequence; the batch that ends at the high watermark, emptied, for its offset.
//
// Memory is bounded by [Settings.Buffer], whatever the number of keys: where the
// keys of a round do not fit, the round ends earlier, and the next goes on there.
// Nothing is ever dropped on a guess: see [keys].
package compact
