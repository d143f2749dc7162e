package metadata

import (
	"context"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Roles are what a node is, as process.roles says.
type Roles struct {
	Broker     bool // holds partitions, serves clients
	Controller bool // may decide, if it is a voter
}

// Peers sends requests to other nodes.
type Peers interface {
	// Ask sends a request to a node, to where it listens for controllers, and waits
	// for the answer. An error says that there is no answer; what the node made of
	// the request is then unknown.
	Ask(ctx context.Context, node int32, req msg.Request, resp msg.Response, version int16) error

	// Probe finds out whether a process listens where the broker said it does. It is
	// false only when the machine answered that nobody does.
	Probe(ctx context.Context, node int32) bool
}

// Bootstrap is the number that stands for the i-th of the addresses at which the
// quorum may be found; it is nobody's node id.
func Bootstrap(i int) int32 { return kafka.NoBroker - 1 - int32(i) }

// Voter is a member of a quorum to be, with the address of its controller
// listener, host:port.
type Voter struct {
	Node      int32
	Directory kafka.UUID
	Address   string
}
