// Package msg holds the requests and responses of every API of Kafka 4.4, and of
// the private ones by which nodes of Myelin speak to each other.
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
//
// # In pieces
//
// The messages that carry records, and Metadata, are also read and written
// without holding the whole of them: DecodeBeforeX reads the fields before the
// array X and its count (-1 if it is null), the caller decodes as many elements
// into one struct, DecodeAfterX reads the rest. Writing is alike, with counts
// known up front; and before records it leaves a hole, so that they can go
// from the file to the socket:
//
//	b = m.AppendBeforeResponses(b, version, topics)
//	for each topic {
//		b = t.AppendBeforePartitions(b, version, partitions)
//		for each partition {
//			b = p.AppendBeforeRecords(b, version, size) // -1: null
//			// size bytes of records belong here, after len(b)
//			b = p.AppendAfterRecords(b, version)
//		}
//		b = t.AppendAfterPartitions(b, version)
//	}
//	b = m.AppendAfterResponses(b, version)
//
// A frame that is acted upon while it is read may still turn out to be broken
// later on: decode it as a whole first, or read it twice.
package msg

//go:generate go run github.com/myelin-stream/myelin/internal/wire/gen
