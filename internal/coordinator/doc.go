// Package coordinator runs the coordinators of one internal topic: it loads a
// partition's state from its log, lets one caller at a time decide, appends
// what was decided, and answers when that is committed.
//
//	request ──▶ decide ──▶ append ──▶ replay ┄┄┄▶ committed ──▶ answer
//	            on the newest state,   at once      by the log
//	            one turn at a time
//
// What a coordinator knows is what its partition's log says. A [Machine] is
// that knowledge, and it changes through Replay only, whether a record comes
// from the log at start or was appended a microsecond ago: so what a crash
// leaves is what the live machine had.
//
// The words used here:
//
//   - A turn is the right to touch one partition's machine. It may be held over
//     the append, but never over the wait for the commit: the next request
//     decides on state that is not committed yet, and its own answer, being
//     later in the same log, cannot come before.
//   - Newest is the state with all that was appended; committed is what the
//     replicas have for certain. Only what is committed is told to clients that
//     ask. A [Table] keeps both, at the cost of the difference.
//   - An alarm is a timer of a machine: an event like a request, with a turn of
//     its own.
//
// When an append or a commit fails nobody knows what the log kept. The
// partition is then unloaded, whoever waits is told to look for the coordinator
// again, and it is loaded afresh.
//
// A partition needs no goroutine. Decisions run on the goroutine of the request,
// and so does the flush of what was decided, where the log allows that ([Flusher]);
// the runtime starts one to load, and one when an alarm rings.
package coordinator
