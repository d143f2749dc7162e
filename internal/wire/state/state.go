package state

import "github.com/myelin-stream/myelin/internal/wire"

// Family says which log a record belongs to.
type Family int8

// The families.
const (
	None        Family = iota // part of another message
	Group                     // __consumer_offsets
	Transaction               // __transaction_state
	Share                     // __share_group_state
	Metadata                  // the metadata log
	Remote                    // __remote_log_metadata
	Control                   // control records, in any log
)

// Kind says which part of a record a message is.
type Kind int8

// The kinds.
const (
	IsData   Kind = iota // has a place of its own
	IsKey                // the key of a record
	IsValue              // the value of a record
	IsRecord             // a value that bears its type
)

// Type is a row of [Types].
type Type struct {
	Family   Family
	Kind     Kind
	Type     int16  // -1 for data
	Name     string // Kafka's
	Min, Max int16  // versions
}

// Message is what all of them have in common.
type Message interface {
	Versions() (first, last int16)
	IsFlexible(version int16) bool
	SetDefaults()
	Decode(r *wire.Reader, version int16)
	Append(b []byte, version int16) []byte
}

// Typed is a message that has a type number within its family.
type Typed interface {
	Message
	Type() int16
}

// Key is the key of a record of a coordinator.
type Key interface{ Typed }

// Value is the value of a record of a coordinator.
type Value interface{ Typed }

// Record is a record of the metadata log or of __remote_log_metadata.
type Record interface{ Typed }
