// Package metadata runs this node's part of the cluster's metadata: it applies
// the metadata log to the image that everyone reads and, where this node leads
// the quorum, decides on requests that change it.
//
// A change takes three steps, Kafka's own:
//
//	decide   under the turn, on the newest state, committed or not: package
//	         controller gives records and an answer
//	append   the records go to the quorum as one proposal
//	replay   once committed they act on the image, the subscribers are told in
//	         their fixed order, and only then does the answer leave
//
// So whoever was told that a topic exists finds it in the image, on the node
// that answered. A start replays the same records through the same code.
package metadata
