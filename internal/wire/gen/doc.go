// Command gen writes the Go code of packages wire/msg and wire/state, and the
// API keys of package kafka, from the definitions in their def folders.
//
//	go run ./internal/wire/gen
//
// # The language of the definitions
//
// A file is read line by line; indentation by two opens a struct; # starts a
// comment line. A file of wire/msg describes one API:
//
//	api 0 Produce                           key and name
//	listeners broker controller             where it is served
//	request versions=3-13 flexible=9+       then the fields of the request
//	response versions=3-13 flexible=9+      then those of the response
//
// A file of wire/state describes stored records: "family group" and then, each
// followed by fields, "key N Name ...", "value N Name ...", "record N Name ..."
// or "data Name ..." with versions and flexible as above.
//
// A field is a name (Kafka's own), a type, the versions that have it, and words:
//
//	TransactionalId  string    3+    null
//	TopicData        []struct  0+
//	  Name           string    0-12  ignorable key is=topicName
//	  TopicId        uuid      13+   ignorable key
//	CurrentLeader    struct    10+   tag=0
//
// Types: bool int8 int16 uint16 int32 uint32 int64 float64 uuid string bytes
// records struct, a shared struct's name, and [] before any. Versions: 3, 3-7
// or 3+. Words:
//
//	null        may be null, in all its versions, or in those of null=7+
//	tag=N       is a tag, in all its versions, or in those of tagged=7+
//	default=V   its value where a version lacks it; else zero, empty or, for
//	            what may be null, null; default=empty says: null is no default
//	ignorable   may be dropped silently where a version lacks it
//	key         is part of the key of its array's elements
//	go=N        is called N in Go, where Kafka's name is taken by a method
//	is=T        holds a T: topicName, groupId, brokerId, producerId, transactionalId
//	split       the struct can be read and written in two pieces, before and after
//	            this field
//	inflexible  is written as in old versions even where the message is flexible
//
// "shared Name 0+", before the fields of a message, opens a struct that several
// of its fields have as their type.
//
// The output depends on the definitions alone and is formatted.
package main
