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

// The ids that stand for no log directory in particular (KIP-858). Kafka keeps
// the first hundred for itself.
var (
	DirMigrating  = UUID{}      // not known: the replica is older than directory ids
	DirUnassigned = UUID{15: 1} // the broker chooses, and has not said yet
	DirLost       = UUID{15: 2} // one that is offline, unknown which
)

// ReservedDir says whether a directory id is one of those that name none.
func ReservedDir(id UUID) bool {
	for _, b := range id[:15] {
		if b != 0 {
			return false
		}
	}
	return id[15] < 100
}

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
