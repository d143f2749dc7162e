// Package cluster holds the picture of the cluster: which brokers, topics,
// partitions and settings there are, and how metadata records change it.
//
// An [Image] is immutable. A [Delta] collects records over an image and gives
// the next one, which shares with the old all that did not change, so that a
// change costs by its own size and not by the cluster's. [Delta.Replay] is the
// only place where a record acts; a running broker, a broker that starts, and a
// controller that decides on what is not yet committed all go through it:
//
//	image ── Delta.Replay(record) ... ── Delta.Apply ──> next image
//	  │                                                     │
//	  └───────── Image.Records (a snapshot) <───────────────┘
//
// Everything here is pure: no clock, no chance, no input or output.
package cluster
