// Package torture tries to make a log break its word.
//
// It plays a *story*: what brokers do to the logs of a directory, decided by
// dice from one seed. Beside each log stands a *history*, what the log was given
// and what it promised, in plain memory. Four kinds of misfortune befall the
// story, and after each the log is held to its history:
//
//	images     the power fails before any operation of the file system, and the
//	           disk keeps what it likes of what was not synced
//	flips      a bit of any file turns, or its end is missing
//	faults     an operation of the file system fails, at every place that calls it
//	metamorph  nothing at all, or all of this now and then, under many settings
//
// What a history knows of a record is one of these:
//
//	given      Append was called with it: it may be there, or not
//	promised   Flushed has passed it: it must be there, byte for byte
//	taken back a truncation or deletion that covers it has begun: it may be gone
//	gone       that has returned: it must not come back
//
// The harness must be able to fail. So for each kind there are bugs, planted
// between the log and the disk by a wrapper of the file system where that can
// express them, and a test for each that the harness finds it, beside an honest
// run.
package torture
