// Package api answers Kafka's requests: one file per API key, numbered by key.
//
// # Words
//
//	Conn     what is known of a connection: listener, peer, principal
//	Call     one request: header fields, body, connection
//	Reply    where its answer goes: bytes to append to, ranges of files
//	Row      one key of the dispatch table: versions, what its handler asks
//	         the authorizer, the handler
//	Slot     the place in a connection's order of an answer that comes later
//
// # The way of a request
//
//	listen reads a frame -> Table.Admit (header, key, version: else close)
//	    -> Table.Serve (one place that authorizes, one that meters)
//	    -> the row's handler -> bytes in Reply -> listen sends them
//
// A handler's error is a protocol error: it becomes a Kafka code here, and only
// here. A connection closes only where Kafka closes one: an unknown key or
// version, a body that cannot be decoded, an error under acks=0.
//
// Cold handlers take a decoded message and return one, see [cold]. Hot ones
// (Produce, Fetch) read the frame in place and append to the Reply.
package api
