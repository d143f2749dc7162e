// Package peer keeps the connections to other nodes of the cluster, one for each
// node and purpose.
//
// # Words
//
//	purpose  what a connection is for; those of one purpose never wait for another's
//	conn     the way to one node for one purpose; it outlives the connections
//	line     one open connection of a conn, with what is on its way on it
//
// # What an error tells
//
// A request that failed was either never sent ([ErrUnsent]): the node cannot have
// done anything, and whoever asked may ask again; or it was, and no answer came
// ([ErrDown]): what became of it nobody knows here. Errors in answers are the
// caller's to read.
//
// # Order
//
// Requests of one conn leave in the order in which Do was called, one after the
// other without waiting for answers, and a broker answers in that order. A line
// has one goroutine that writes and one that reads; both belong to the [Pool],
// whose Run waits for them.
//
// # Time
//
// A conn is opened when it is first needed and again when it broke, with a pause
// that grows while that fails. A line on which answers are due and nothing comes
// for as long as its purpose allows is broken off: a machine that lost its power
// says nothing.
package peer
