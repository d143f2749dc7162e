// Package myelintest gives a Go test a broker of its own, in the test's
// process, or a cluster of several with faults at hand.
//
//	func TestOrders(t *testing.T) {
//		addr := myelintest.Start(t).Addr()
//		...
//	}
//
//	func TestOrdersWithoutLeader(t *testing.T) {
//		c := myelintest.Start(t, myelintest.Nodes(3))
//		...
//		c.Kill(2)
//		...
//		c.Restart(2)
//	}
//
// Start takes free ports of loopback and keeps everything in memory, so any
// number of tests run in parallel; all is drained when the test ends and leaves
// no goroutine, port or file behind.
package myelintest

import (
	"log/slog"
	"testing"

	"github.com/myelin-stream/myelin"
)

// Option changes how Start starts.
type Option func(*options)

type options struct {
	nodes      int // 0: one, without faults
	dir        string
	properties map[string]string
	logger     *slog.Logger // nil: the test's output
}

// Property sets a Kafka broker property, such as "num.partitions" to "3", on
// every node.
func Property(name, value string) Option {
	return func(o *options) { o.properties[name] = value }
}

// OnDisk keeps the records in dir, with every acknowledgement on stable
// storage, as a production broker does; t.TempDir() is a good dir. Several nodes
// have folders 1, 2, 3 in it.
func OnDisk(dir string) Option {
	return func(o *options) { o.dir = dir }
}

// Logged lets the brokers log to the test's output.
func Logged() Option {
	return func(o *options) { o.logger = nil }
}

// Nodes starts a cluster of n nodes, numbered from 1, each a voter of the
// metadata quorum. With three or more, topics have three replicas and
// min.insync.replicas=2 unless [Property] says otherwise. Clients connect
// through loopback; among themselves the nodes use a network in memory that can
// be cut: see the methods of [Cluster].
func Nodes(n int) Option {
	return func(o *options) { o.nodes = n }
}

// Start runs one broker, or as many as [Nodes] says, until the test and its
// subtests end. It fails the test if they cannot start or do not end cleanly.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	o := options{properties: map[string]string{}, logger: slog.New(slog.DiscardHandler)}
	for _, set := range opts {
		set(&o)
	}
	if o.logger == nil {
		o.logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	c := &Cluster{t: t}
	if o.nodes > 0 {
		c.open(o)
	} else {
		b, err := myelin.Open(myelin.Config{Dir: o.dir, Properties: o.properties, Logger: o.logger})
		if err != nil {
			t.Fatalf("starting a broker: %v", err)
		}
		c.single = b
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("ending the broker: %v", err)
		}
	})
	return c
}
