// Package msg holds the requests and responses of every API of Kafka 4.4.
//
// The code is generated from the definitions in def, one file per API, by
// command wire/gen. Names follow one rule, for which MetadataResponse is the
// example:
//
//	field    Kafka's name, with the words Id, Acl, Api, Sasl, Isr and Elr in
//	         capitals:                        TopicId → TopicID, IsrNodes → ISRNodes
//	struct   its parent's name and its field's, in the singular if it is an array:
//	         MetadataResponse.Topics is a     []MetadataResponseTopic,
//	         and the Partitions of that are   []MetadataResponseTopicPartition
//	shared   a struct that several fields have in common bears the message's name
//	         and its own:                     AddPartitionsToTxnRequestTopic
//
// # Values
//
// A string that may be null in some version is a pointer; an array, bytes or
// records that may be null are nil for null and not nil for empty; a struct
// that may be null is a pointer. Bytes and records alias the frame they were
// decoded from. An error code is an int16, see kafka.Code.
//
// Some defaults are not zero, so a message that is built, not decoded, starts
// with NewX, and so does each nested struct that has a NewX.
//
// # Reading
//
// Decode sets every field: from the frame where the version has it, to its
// default where not. The error is in the Reader; after one, the message is in
// no useful state. Tags that the definition does not know are skipped and not
// kept. Decode into a message that was used before uses its slices, and its
// strings where they are equal, so a message that is decoded over and over
// soon allocates nothing; keep no pointer into one that will be decoded again.
//
// # Writing
//
// Append writes any value of the struct and cannot fail. A field that the
// version does not carry is left out silently, whether or not Kafka calls it
// ignorable: whoever builds a message for an older version decides what to do
// about the field. A null where the version allows none is written as empty.
// The version must be one that the message has.
package msg

//go:generate go run github.com/myelin-stream/myelin/internal/wire/gen
