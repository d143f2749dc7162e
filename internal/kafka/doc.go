// Package kafka holds the nouns of the Kafka protocol that every layer shares:
// error codes, API keys, topic ids, partitions, and the sentinels of offsets
// and epochs.
//
// It does no I/O and imports the standard library only, so that any package may
// name these things without depending on how they are encoded or stored.
package kafka
