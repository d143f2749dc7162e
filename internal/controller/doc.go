// Package controller decides on what changes the cluster: from a request and the
// newest state it makes metadata records and the answer.
//
// Every decision is a function without memory. It reads a [State], in which
// records that are not yet committed already act, and never changes it: records
// act only when they are replayed, in package cluster. An answer may leave when
// the records, and all that the state rested on, are committed.
//
// Errors are told per topic, resource or partition, with Kafka's codes and
// texts, since tools and people know those. One bad item does not keep the good
// ones from happening.
package controller
