// Package quorum keeps one log the same on several nodes: it drives etcd's raft
// over a commit log, with snapshots, for a state machine whose bytes it does not
// look into.
//
// # Words
//
// A *member* is a directory that was formatted once; its raft id comes from its
// directory.id and so is never used again by a wiped disk, which must not vote
// with amnesia. *Voters* decide, *learners* only receive. Who votes is the
// replicated configuration, never a setting. An *entry* has an *index*, from 2
// up, and the *term* of the leader that wrote it.
//
// # Files
//
// In the folder of the log, beside its segments:
//
//	quorum-state                        term, vote, members, where the log begins: see state.go
//	<index>-<term>.checkpoint           a snapshot: see snapshot.go
//
// One entry is one batch of one record, so that the log's tools can read it:
//
//	offset        index
//	leader epoch  term
//	value         type (1 byte: 0 data, 1 and 2 raft's configuration changes), then the entry's bytes
//
// Index 1 stands for the empty state that formatting makes. No entry has it, so
// a member that joins always needs a snapshot, and with it gets to know who the
// members are.
//
// # Order
//
// All happens on the goroutine of [Node.Run], in raft's order: entries are
// appended and flushed, the term and vote are durable, and only then messages
// leave and committed entries are applied. What is proposed during a flush goes
// with the next one, which is the group commit of metadata.
package quorum
