// Package myelintest gives a Go test a broker of its own, in the test's
// process.
//
//	func TestOrders(t *testing.T) {
//		addr := myelintest.Start(t).Addr()
//		...
//	}
//
// Start takes a free port of loopback and keeps everything in memory, so any
// number of tests run in parallel; the broker is drained when the test ends and
// leaves no goroutine, port or file behind.
package myelintest

import (
	"log/slog"
	"testing"

	"github.com/myelin-stream/myelin"
)

// Option changes how Start starts.
type Option func(*myelin.Config)

// Property sets a Kafka broker property, such as "num.partitions" to "3".
func Property(name, value string) Option {
	return func(c *myelin.Config) { c.Properties[name] = value }
}

// OnDisk keeps the records in dir, with every acknowledgement on stable
// storage, as a production broker does; t.TempDir() is a good dir.
func OnDisk(dir string) Option {
	return func(c *myelin.Config) { c.Dir = dir }
}

// Logged lets the broker log to the test's output.
func Logged() Option {
	return func(c *myelin.Config) { c.Logger = nil }
}

// Start runs a broker until the test and its subtests end. It fails the test
// if the broker cannot start or does not end cleanly.
func Start(t testing.TB, opts ...Option) *myelin.Broker {
	t.Helper()
	cfg := myelin.Config{Properties: map[string]string{}, Logger: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	b, err := myelin.Open(cfg)
	if err != nil {
		t.Fatalf("starting a broker: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("ending the broker: %v", err)
		}
	})
	return b
}
