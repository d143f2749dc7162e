package kafka

import (
	"encoding/base64"
	"fmt"
)

// UUID identifies topics, directories, clusters and incarnations: 16 bytes,
// printed as 22 characters of URL-safe base64 without padding, as Kafka does.
// The zero value means "none".
type UUID [16]byte

// IsZero says whether no id is set.
func (u UUID) IsZero() bool { return u == UUID{} }

// String is Kafka's text form, such as "AAAAAAAAAAAAAAAAAAAAAQ".
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// ParseUUID reads Kafka's text form.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(u) {
		return u, fmt.Errorf("%q is not a Kafka UUID: 22 characters of URL-safe base64 are wanted", s)
	}
	copy(u[:], b)
	return u, nil
}
