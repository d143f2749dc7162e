package memnet

import (
	"syscall"
	"time"
)

// Latency makes what one host sends to another arrive d later; both ways takes
// two calls. It holds for what is sent from now on, and never reorders.
func (n *Network) Latency(from, to string, d time.Duration) {
	n.change(from, to, func(l *link) { l.latency = d })
}

// Cut stops what one host sends to another, until [Network.Heal]. Nothing is
// lost: what is sent waits, and a writer that has filled its buffer waits too.
func (n *Network) Cut(from, to string) {
	n.change(from, to, func(l *link) { l.cut = true })
}

// CutBoth cuts both ways between two hosts.
func (n *Network) CutBoth(a, b string) {
	n.Cut(a, b)
	n.Cut(b, a)
}

// Heal ends a cut; what waited arrives after the link's latency, in order.
func (n *Network) Heal(from, to string) {
	n.change(from, to, func(l *link) { l.cut = false })
}

// HealBoth heals both ways between two hosts.
func (n *Network) HealBoth(a, b string) {
	n.Heal(a, b)
	n.Heal(b, a)
}

func (n *Network) change(from, to string, edit func(*link)) {
	n.lock.take()
	defer n.lock.give()
	key := [2]string{from, to}
	if n.links[key] == nil {
		n.links[key] = &link{}
	}
	edit(n.links[key])
	n.changed.ring()
	for _, c := range n.conns {
		for _, end := range []*conn{c, c.peer} {
			if end.local.host == from && end.remote.host == to {
				end.out.heal(n.state(from, to))
				end.out.changed.ring()
			}
		}
	}
}

// Reset breaks every connection between two hosts: both ends fail with
// ECONNRESET, and what was under way is lost.
func (n *Network) Reset(a, b string) {
	n.lock.take()
	defer n.lock.give()
	n.resetWhere(func(c *conn) bool {
		return c.local.host == a && c.remote.host == b || c.local.host == b && c.remote.host == a
	})
}

// Crash breaks every connection of a host and closes its listeners, as the death
// of its process does.
func (n *Network) Crash(host string) {
	n.lock.take()
	defer n.lock.give()
	n.resetWhere(func(c *conn) bool { return c.local.host == host || c.remote.host == host })
	var gone []*listener
	for _, l := range n.listeners { //house:maporder closing them does not show which came first
		if l.addr.host == host {
			gone = append(gone, l)
		}
	}
	for _, l := range gone {
		l.shut()
	}
}

// Jitter makes each chunk take longer than its link's latency, by what f says of
// it; nil ends that. f is called under the network's lock. A jitter that follows
// from the chunk alone gives every arrival a time of its own and does not depend
// on the order in which goroutines happen to run.
func (n *Network) Jitter(f func(Chunk) time.Duration) {
	n.lock.take()
	defer n.lock.give()
	n.jitter = f
}

// Hold keeps back what one host sends to another over the connections that are
// open now, the end of a connection that is closed meanwhile too. It tells how
// many there are. A client that gave one up and made another has what it sent
// before arrive after what it sent later, once [Network.Release] is called.
func (n *Network) Hold(from, to string) int { return n.setHold(from, to, true) }

// Release lets arrive what Hold kept back, and tells how many connections had
// something to say.
func (n *Network) Release(from, to string) int { return n.setHold(from, to, false) }

func (n *Network) setHold(from, to string, hold bool) (count int) {
	n.lock.take()
	defer n.lock.give()
	for _, c := range n.conns {
		for _, end := range []*conn{c, c.peer} {
			if end.local.host != from || end.remote.host != to || end.out.hold == hold {
				continue
			}
			if hold || end.out.held > 0 {
				count++
			}
			end.out.hold = hold
			end.out.heal(n.state(from, to))
			end.out.changed.ring()
		}
	}
	return count
}

// Isolate cuts a host off from all others, both ways, or ends that. It is apart
// from cuts of links: what is cut there stays so.
func (n *Network) Isolate(host string, alone bool) {
	n.lock.take()
	defer n.lock.give()
	if n.alone[host] == alone {
		return
	}
	n.alone[host] = alone
	n.changed.ring()
	for _, c := range n.conns {
		for _, end := range []*conn{c, c.peer} {
			if from, to := end.local.host, end.remote.host; from != to && (from == host || to == host) {
				end.out.heal(n.state(from, to))
				end.out.changed.ring()
			}
		}
	}
}

// Conns tells how many connections are open.
func (n *Network) Conns() int {
	n.lock.take()
	defer n.lock.give()
	return len(n.conns)
}

func (n *Network) resetWhere(match func(*conn) bool) {
	for _, c := range append([]*conn(nil), n.conns...) {
		if match(c) {
			c.fail(syscall.ECONNRESET)
			c.peer.fail(syscall.ECONNRESET)
			n.forget(c)
		}
	}
}

// forget takes a connection, given by either end, off the list.
func (n *Network) forget(c *conn) {
	for i, open := range n.conns {
		if open == c || open == c.peer {
			n.conns = append(n.conns[:i], n.conns[i+1:]...)
			return
		}
	}
}
