// Package follow fills the partitions this broker follows from their leaders.
//
// For each leader there is a fetcher, or a few, with a connection of its own. It
// goes round:
//
//	ask      one Fetch for all its partitions, in a session (KIP-227); each from
//	         the end of its log, which is flushed
//	append   what came, after it was checked
//	flush    all that was appended, together
//	learn    the leader's high watermark and log start
//
// The offset that a fetch names is on stable storage here, so the leader knows by
// it what this broker can promise: that is how acks=all means fsync on every
// replica in sync. A flush that takes very long holds up only its own partition.
//
// A partition whose last epoch ended elsewhere in the leader's log is cut back to
// where the logs part (KIP-101, KIP-595); one whose leader has deleted what comes
// next begins anew at the leader's start. After an error a partition rests, longer
// each time, and the others go on.
package follow
