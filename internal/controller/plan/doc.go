// Package plan finds which replicas to move so that brokers carry alike, with as
// few bytes moved as can be.
//
// It is pure: what the cluster looks like comes in, a list of reassignments comes
// out, and nothing happens before somebody hands those to the controller. The
// words: a node is a broker; one that is drained loses all and gets nothing; the
// load of a node is the bytes of all its replicas, and the mean is over those that
// are not drained. The plan has four steps:
//
//	empty    what is on drained nodes goes to the emptiest that may have it
//	level    from nodes above the mean to those below, until all are within Slack
//	refine   moves that are not needed are taken back; where there are few replicas
//	         the best of all plans is searched for
//	lead     the first replica of each partition, its preferred leader, is chosen so
//	         that nodes lead alike; that moves no bytes
//
// No partition gets two replicas on one node, or loses a rack that it could keep.
package plan
