// Package sim plays whole nodes, one alone or several as a cluster, from their
// sockets to their disks, inside one synctest bubble, and checks that nothing they
// acknowledged is ever lost.
//
// Everything that could differ between two runs comes from the seed: what
// clients ask, when the power goes, what of the unsynced bytes survives. Time is
// the bubble's. So a seed that fails fails again, and two runs of a seed give
// the same hash over all that was asked and answered:
//
//	make sim SEED=42 SEEDS=1 CLUSTER=0            one node
//	make sim-cluster SEED=42 CLUSTER=1            a cluster
//
// A broker under simulation is the production broker: only its file system,
// network, clock and dice are handed in.
//
// # One node
//
//	life     the node from one start to the next power cut
//	trace    a line per request and answer, hashed as it goes
//	model    what the client was promised: see model.go
//
// The client speaks wire/msg over a connection of memnet, one request after the
// other or several produce requests at once. See [Run].
//
// # A cluster
//
//	fleet    the cluster, its network and all who work with it
//	machine  one node over all its lives: a disk, a clock, a broker now and then
//	agent    a client: producer, reader, member of a group, copier; a goroutine
//	         with dice of its own
//	nemesis  who brings the faults
//	book     what the agents did and saw, for package history
//	storm    the time with faults; afterwards everything is healed
//	judge    who demands, after the storm, that everything works again, reads all
//	         there is, and holds it to the book
//
// Agents never wait for each other. Each disk operation and each piece of a
// message takes a time that follows from what it is, so that hardly two things
// happen in the same instant, and what happens next is decided by time. Where two
// goroutines go on in the very same instant, or a select has a choice, Go's runtime
// draws a lot; make builds the simulator with one that draws the same lots each
// time (test/steady), and there every seed must give the same hash twice. Other
// builds play the seeds as well, and the checks hold. See [RunCluster].
package sim
