// Package state holds the records that brokers store: those of
// __consumer_offsets, __transaction_state, __share_group_state and
// __remote_log_metadata, of the metadata log, of control batches, and what
// group members put into the messages of the group protocol.
//
// The code is generated from the definitions in def by command wire/gen; the
// rules of package msg hold here too.
package state
