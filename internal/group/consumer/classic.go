package consumer

import (
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
)

// Converted is a group on its way from one protocol to the other.
type Converted struct {
	Group      string
	Generation int32 // the classic one, or the group epoch
	Members    []ConvertedMember

	// Rebalance says that the group is to begin a new generation, since the
	// assignment is not what it ought to be. Only on the way to classic.
	Rebalance bool
}

// ConvertedMember is one member of it.
type ConvertedMember struct {
	ID         string
	Instance   *string
	ClientID   string
	ClientHost string
	Rebalance  time.Duration
	Classic    Classic
	Assignment []byte // a ConsumerProtocolAssignment with its version; empty: none
}

// downgrade makes the group classic if all that remain, when out are gone, are.
func (g *Group) downgrade(now time.Time, out []*member, joined *member) ([]coordinator.Record, bool) {
	return nil, false
}
