package classic

import (
	"bytes"
	"slices"
	"time"
)

// Protocol is one way of assigning that a member supports, with what it has to
// say in it; for consumers the assignor's name and the subscription.
type Protocol struct {
	Name     string
	Metadata []byte
}

// member is one member of a group.
type member struct {
	id         string
	instance   *string // nil: dynamic
	clientID   string
	clientHost string
	session    time.Duration
	rebalance  time.Duration
	protocols  []Protocol // the preferred first
	assignment []byte

	join     Ticket    // parked in JoinGroup
	sync     Ticket    // parked in SyncGroup
	isNew    bool      // has not been through a round
	owesSync bool      // was told of the generation and has not synced
	until    time.Time // when its session ends; zero while it is parked
}

// parked says that the member cannot heartbeat because its request waits here,
// and that it must not be removed for that.
func (m *member) parked() bool { return !m.isNew && (m.join != 0 || m.sync != 0) }

// metadata is what the member says in a protocol.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// matches says whether the member would join with the same protocols.
func (m *member) matches(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// vote is the first of the candidates in the member's order.
func (m *member) vote(candidate func(name string) bool) string {
	for _, p := range m.protocols {
		if candidate(p.Name) {
			return p.Name
		}
	}
	return ""
}
