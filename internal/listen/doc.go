// Package listen is the broker's side of its sockets: it accepts connections,
// takes requests off them, and sends answers back in the order of the requests.
//
// # One goroutine a connection
//
//	read a frame -> api.Table handles it -> the answer is sent
//
// All three happen on the connection's goroutine. There is no pool of workers
// and no channel on the way, since one hop to another goroutine doubles the CPU
// of a small request. Answers are collected while more whole frames stand in the
// read buffer, and sent together.
//
// # Pipelined Produce
//
// Only Produce has two halves. What is written but not yet durable takes a slot
// in the connection's ring, and the goroutine reads on:
//
//	reader ->  | 7 | 6 | 5 | 4 |  -> writer (started with the first slot)
//	             ^ settled out of order, sent in order
//
// Every other request waits until the ring is empty, so that a client sees what
// Kafka shows it: one request after the other.
//
// # Bounds
//
// An idle connection holds no buffers. A read buffer comes with the first byte
// and goes when it is empty; a frame that does not fit gets a pooled one of its
// size, and beyond 2 MiB grows as bytes arrive. All of it is charged to one
// budget of the broker; a connection that cannot charge is not read. A write
// that makes no progress for 30 s closes.
package listen
