package myelintest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/myelin-stream/myelin"
	"github.com/myelin-stream/myelin/internal/broker"
	"github.com/myelin-stream/myelin/internal/config"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/memnet"
	"github.com/myelin-stream/myelin/internal/vfs"
)

// patience is how long a node may take to serve, or to end. It is far beyond
// what any needs: a test that meets it hangs.
const patience = 2 * time.Minute

// Cluster is what [Start] started. Its methods that change something are for one
// goroutine at a time; nodes are numbered from 1. What makes no sense, such as
// killing a node twice, fails the test.
type Cluster struct {
	t      testing.TB
	single *myelin.Broker // without Nodes: all else is empty

	net   *memnet.Network
	nodes []*node
	away  map[int]bool // the nodes that Partition cut off
}

// node is one node over all its lives.
type node struct {
	id         int
	properties map[string]string
	fs         vfs.FS // outlives the process
	log        *slog.Logger
	host       memnet.Host
	client     string // host:port that clients used last

	life   *life // nil: it does not run
	paused bool
	delay  time.Duration
}

// life is a node from its start to its end.
type life struct {
	gate   *gate
	broker *broker.Broker
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run; read after ended
}

// open starts all nodes of a cluster, at once: none is ready before most are
// there.
func (c *Cluster) open(o options) {
	c.t.Helper()
	c.net, c.away = memnet.New(), map[int]bool{}
	var voters []string
	for id := 1; id <= o.nodes; id++ {
		voters = append(voters, fmt.Sprintf("%d@%s:9093", id, hostName(id)))
	}
	shared := map[string]string{
		"cluster.id": clusterID(), "controller.quorum.voters": strings.Join(voters, ","),
		"listener.security.protocol.map": "CLIENTS:PLAINTEXT,NODES:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "NODES", "controller.listener.names": "CONTROLLER",
		"process.roles": "broker,controller", "admin.listener": "", "group.initial.rebalance.delay.ms": "0",
	}
	if o.nodes >= 3 {
		shared["default.replication.factor"], shared["min.insync.replicas"] = "3", "2"
	}
	maps.Copy(shared, o.properties)
	for id := 1; id <= o.nodes; id++ {
		n := &node{id: id, properties: maps.Clone(shared), log: o.logger.With("node", id), host: c.net.Host(hostName(id)), client: "127.0.0.1:0"}
		n.properties["node.id"] = fmt.Sprint(id)
		n.properties["listeners"] = fmt.Sprintf("CLIENTS://127.0.0.1:0,NODES://%[1]s:9094,CONTROLLER://%[1]s:9093", hostName(id))
		if o.dir == "" {
			n.fs, n.properties["log.dirs"] = vfs.NewMem(vfs.MemConfig{}), "/memory"
		} else {
			n.fs, n.properties["log.dirs"] = vfs.OS(), filepath.Join(o.dir, fmt.Sprint(id))
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			c.fail("starting node %d: %v", n.id, err)
		}
	}
	for _, n := range c.nodes {
		c.await(n)
	}
}

func hostName(id int) string { return fmt.Sprintf("node%d", id) }

func clusterID() string {
	var id kafka.UUID
	for i := range id {
		id[i] = byte(rand.IntN(256))
	}
	return id.String()
}

// fail ends the test after it has ended what runs.
func (c *Cluster) fail(format string, args ...any) {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.life != nil {
			n.life.end()
			n.life = nil
		}
	}
	c.t.Fatalf(format, args...)
}

// start begins a life on the disk as it is.
func (n *node) start() error {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(n.properties)) {
		pairs = append(pairs, k+"="+n.properties[k])
	}
	set, err := config.ParseSet(pairs)
	if err != nil {
		return err
	}
	if _, err := config.Check(set); err != nil {
		return err
	}
	g := newGate(n)
	b, err := broker.Open(broker.Config{Properties: config.NewBroker(set), FS: disk{n.fs, g}, Listen: g.listen, Dial: g.dial,
		Logger: n.log, Format: true, Version: "embedded"})
	if err != nil {
		g.kill()
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.client = b.Addr("CLIENTS")
	n.life = &life{gate: g, broker: b, cancel: cancel, ended: make(chan struct{})}
	go n.life.run(ctx)
	return nil
}

func (l *life) run(ctx context.Context) {
	defer close(l.ended)
	l.err = l.broker.Run(ctx)
}

// await waits until a node that was started serves.
func (c *Cluster) await(n *node) {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select { //house:select whichever happens decides, and the others can no longer
	case <-n.life.broker.Ready():
	case <-n.life.ended:
		c.fail("node %d ended while it started: %v", n.id, n.life.err)
	case <-timer.C:
		c.fail("node %d does not serve after %v", n.id, patience)
	}
}

// end takes the world away from a life and waits until nothing of it is left.
func (l *life) end() {
	l.gate.kill()
	l.cancel()
	<-l.ended
	l.broker.Close() // what it says is of no use to who is dead
}

// Addr is the host:port of a node that runs, the first of them, for clients to
// bootstrap from.
func (c *Cluster) Addr() string { return c.Addrs()[0] }

// Addrs is the host:port of every node, in their order, those that do not run
// behind the others.
func (c *Cluster) Addrs() []string {
	if c.single != nil {
		return []string{c.single.Addr()}
	}
	var up, down []string
	for _, n := range c.nodes {
		if n.life != nil {
			up = append(up, n.client)
		} else {
			down = append(down, n.client)
		}
	}
	return append(up, down...)
}

// Close drains all nodes that run. [Start] has it called when the test ends.
func (c *Cluster) Close() error {
	if c.single != nil {
		return c.single.Close()
	}
	for _, n := range c.nodes {
		n.paused, n.delay = false, 0
	}
	clear(c.away)
	c.relink()
	var all []error
	for _, n := range c.nodes { // at once, as they began: the last would have no quorum to tell
		if n.life != nil {
			n.life.gate.resume()
			n.life.cancel()
		}
	}
	for _, n := range c.nodes {
		if n.life != nil {
			all = append(all, n.drained())
		}
	}
	return errors.Join(all...)
}

// drained waits for a life that was told to end.
func (n *node) drained() error {
	l := n.life
	n.life = nil
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select { //house:select a node that hangs is ended and told of
	case <-l.ended:
	case <-timer.C:
		l.end()
		return fmt.Errorf("node %d did not end within %v", n.id, patience)
	}
	err := l.err
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if err = errors.Join(err, l.broker.Close()); err != nil {
		err = fmt.Errorf("node %d: %w", n.id, err)
	}
	l.gate.kill() // nothing is left; listeners and connections are closed
	return err
}
