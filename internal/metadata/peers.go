package metadata

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/config"
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

// Address is where a node waits for controllers, or for other brokers, host:port;
// false while that is not known. It is that of its registration, else what it said
// as it joined, else what this node was configured with. A node without a listener
// for controllers is spoken to at that for brokers.
func (m *Metadata) Address(node int32, controller bool) (string, bool) {
	if i := int(Bootstrap(0) - node); i >= 0 {
		if i < len(m.cfg.Bootstrap) {
			return m.cfg.Bootstrap[i], true
		}
		return "", false
	}
	if b := m.Image().Broker(node); b != nil {
		if e, ok := meeting(m.cfg.Properties, b.Endpoints, controller); ok {
			return e.address(), true
		}
	}
	if e, ok := m.joined.get(node); ok {
		return e.address(), true
	}
	for _, v := range m.cfg.Voters {
		if v.Node == node && v.Address != "" {
			return v.Address, true
		}
	}
	return "", false
}

// place is an address of a node.
type place struct {
	node int32
	host string
	port uint16
}

func (p place) address() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

// meeting finds the endpoint by which other nodes come: that of
// inter.broker.listener.name, else the first that asks nobody who it is, since nodes
// cannot say it yet.
func meeting(props *config.Broker, endpoints []cluster.Endpoint, controller bool) (place, bool) {
	controllers := props.List("controller.listener.names")
	theirs := func(e cluster.Endpoint) bool {
		return slices.ContainsFunc(controllers, func(n string) bool { return strings.EqualFold(n, e.Listener) })
	}
	var found *cluster.Endpoint
	for i := range endpoints {
		e := &endpoints[i]
		switch {
		case controller && theirs(*e):
			return place{host: e.Host, port: e.Port}, true
		case theirs(*e):
		case strings.EqualFold(e.Listener, props.String("inter.broker.listener.name")):
			return place{host: e.Host, port: e.Port}, true
		case found == nil, found.Protocol != 0 && e.Protocol == 0:
			found = e
		}
	}
	if found == nil {
		return place{}, false
	}
	return place{host: found.Host, port: found.Port}, true
}

// places are addresses that nodes told before the image knew them. They are lost
// with the process.
type places struct {
	mu struct {
		sync.Mutex // memory only
		list       []place
	}
}

func (s *places) set(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.list = append(slices.DeleteFunc(s.mu.list, func(o place) bool { return o.node == p.node }), p)
}

func (s *places) get(node int32) (place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.mu.list {
		if p.node == node {
			return p, true
		}
	}
	return place{}, false
}
