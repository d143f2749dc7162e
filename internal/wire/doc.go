// Package wire turns the bytes of a frame into values and back.
//
// The words, as the rest of the code uses them:
//
//	frame     what one length prefix on a connection announces: a header and a body
//	header    who asks what: API key, version, correlation id, client id
//	message   the body: one request or one response, see package msg
//	version   of a message; every API counts its own, and fields come and go with it
//	flexible  a version whose lengths are varints and whose structs end in tags
//	tag       an optional field, numbered, written only when it is not its default
//
// A [Reader] reads input from strangers, before anybody knows who they are. It
// therefore never trusts a count or a length. See its comment for the bounds.
//
// Writing appends to a slice. The functions AppendX are for input of our own and
// cannot fail; what the protocol has no form for is written as the nearest
// thing that it has (a null where none is allowed becomes empty, a string
// longer than the protocol's 32,767 bytes is cut).
package wire
