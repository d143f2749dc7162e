// Package sim plays a whole node, from its sockets to its disk, inside one
// synctest bubble, and checks that nothing it acknowledged is ever lost.
//
// Everything that could differ between two runs comes from the seed: what the
// client asks, when the power goes, what of the unsynced bytes survives. Time is
// the bubble's. So a seed that fails fails again, and two runs of a seed give
// the same hash over all that was asked and answered:
//
//	make sim SEED=42
//
// # Words
//
//	life     the node from one start to the next power cut
//	trace    a line per request and answer, hashed as it goes
//	model    what the client was promised: see model.go
//
// The client speaks wire/msg over a connection of memnet, one request after the
// other or several produce requests at once. A broker under simulation is the
// production broker: only its file system, network, clock and dice are handed
// in.
package sim
