package myelintest

import "time"

// running is a node that runs, or the end of the test.
func (c *Cluster) running(id int) *node {
	c.t.Helper()
	n := c.node(id)
	if n.life == nil {
		c.t.Fatalf("node %d does not run", id)
	}
	return n
}

func (c *Cluster) node(id int) *node {
	c.t.Helper()
	if c.single != nil {
		c.t.Fatal("faults need myelintest.Nodes(n)")
	}
	if id < 1 || id > len(c.nodes) {
		c.t.Fatalf("node %d: there are 1 to %d", id, len(c.nodes))
	}
	return c.nodes[id-1]
}

// Kill ends a node as `kill -9` does: connections break, nothing is drained or
// written any more. What it had written is what [Cluster.Restart] finds.
func (c *Cluster) Kill(id int) {
	c.t.Helper()
	n := c.running(id)
	l := n.life
	n.life, n.paused = nil, false
	l.gate.kill()
	c.net.Crash(hostName(id))
	l.end()
	c.net.Crash(hostName(id)) // what was being opened at that moment
	c.relink()
}

// Stop ends a node as SIGTERM does: it hands over what it leads, answers what
// was asked, and closes its logs.
func (c *Cluster) Stop(id int) {
	c.t.Helper()
	n := c.running(id)
	if n.paused {
		c.t.Fatalf("node %d is paused: Resume it before it can stop", id)
	}
	n.life.cancel()
	if err := n.drained(); err != nil {
		c.t.Errorf("stopping: %v", err)
	}
}

// Restart starts a node that was killed or stopped, on the disk as it is, and
// returns when it serves. Its address is the old one, unless somebody took that
// meanwhile: see [Cluster.Addrs].
func (c *Cluster) Restart(id int) {
	c.t.Helper()
	c.Restarting(id)
	c.await(c.nodes[id-1])
}

// Restarting is [Cluster.Restart] that does not wait: for nodes that can serve
// only when others are back too, and under a partition.
func (c *Cluster) Restarting(id int) {
	c.t.Helper()
	n := c.node(id)
	if n.life != nil {
		c.t.Fatalf("node %d runs: Kill or Stop it first", id)
	}
	if err := n.start(); err != nil {
		c.fail("restarting node %d: %v", id, err)
	}
	n.life.gate.slow(n.delay)
	c.relink()
}

// Await waits until a node serves that [Cluster.Restarting] started.
func (c *Cluster) Await(id int) {
	c.t.Helper()
	c.await(c.running(id))
}

// Pause stops a node as SIGSTOP does, as far as others can tell: connections
// stay open, and nothing comes out of it or goes to its disk until
// [Cluster.Resume]. Its own clocks go on.
func (c *Cluster) Pause(id int) {
	c.t.Helper()
	n := c.running(id)
	if n.paused {
		c.t.Fatalf("node %d is paused already", id)
	}
	n.paused = true
	n.life.gate.pause()
	c.relink()
}

// Resume lets a node go on that was paused.
func (c *Cluster) Resume(id int) {
	c.t.Helper()
	n := c.running(id)
	if !n.paused {
		c.t.Fatalf("node %d is not paused", id)
	}
	n.paused = false
	n.life.gate.resume()
	c.relink()
}

// Partition cuts the named nodes off from all others, both ways, without telling
// anybody, as a broken switch does. Among themselves, on either side, and with
// clients they go on. It takes the place of an earlier partition; [Cluster.Heal]
// ends it.
func (c *Cluster) Partition(ids ...int) {
	c.t.Helper()
	clear(c.away)
	for _, id := range ids {
		c.away[c.node(id).id] = true
	}
	c.relink()
}

// Heal ends a partition.
func (c *Cluster) Heal() {
	c.t.Helper()
	c.Partition()
}

// SlowDisk makes each sync of a node's files take d longer, from now on and
// after a restart too; 0 ends it.
func (c *Cluster) SlowDisk(id int, d time.Duration) {
	c.t.Helper()
	n := c.node(id)
	n.delay = d
	if n.life != nil {
		n.life.gate.slow(d)
	}
}

// relink sets every way between nodes as partition and pauses want it.
func (c *Cluster) relink() {
	for i, a := range c.nodes {
		for _, b := range c.nodes[i+1:] {
			if a.paused || b.paused || c.away[a.id] != c.away[b.id] {
				c.net.CutBoth(hostName(a.id), hostName(b.id))
			} else {
				c.net.HealBoth(hostName(a.id), hostName(b.id))
			}
		}
	}
}
