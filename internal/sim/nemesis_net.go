package sim

import (
	"slices"
	"time"
)

// hosts are all that talk: nodes, agents, the judge.
func (n *nemesis) hosts() (out []string) {
	for i := range n.fleet.nodes {
		out = append(out, nodeHost(i))
	}
	for _, a := range n.fleet.crew {
		out = append(out, a.name)
	}
	return out
}

// partition cuts the nodes into two sides; agents stay with one side or, more
// often, see both.
func (n *nemesis) partition() bool {
	nodes := len(n.fleet.nodes)
	cut := n.rand.Perm(nodes)[:1+n.rand.IntN(nodes-1)]
	with := n.rand.IntN(3) == 0 // agents are cut off from that side too
	d := n.span(300*time.Millisecond, 12*time.Second)
	n.fleet.tell("partition", "%v are cut off from the others for %v, from clients too: %t", cut, d, with)
	var pairs [][2]string
	for _, i := range cut {
		for j := range nodes {
			if !slices.Contains(cut, j) {
				pairs = append(pairs, [2]string{nodeHost(i), nodeHost(j)})
			}
		}
		for _, a := range n.fleet.crew {
			if with {
				pairs = append(pairs, [2]string{nodeHost(i), a.name})
			}
		}
	}
	for _, p := range pairs {
		n.fleet.net.CutBoth(p[0], p[1])
	}
	n.later(d, func() {
		for _, p := range pairs {
			n.fleet.net.HealBoth(p[0], p[1])
		}
	})
	return true
}

func (n *nemesis) oneWay() bool {
	i := n.someNode()
	j := (i + 1 + n.rand.IntN(len(n.fleet.nodes)-1)) % len(n.fleet.nodes)
	d := n.span(300*time.Millisecond, 12*time.Second)
	n.fleet.tell("one-way partition", "what node %d sends does not reach node %d for %v", i, j, d)
	n.fleet.net.Cut(nodeHost(i), nodeHost(j))
	n.later(d, func() { n.fleet.net.Heal(nodeHost(i), nodeHost(j)) })
	return true
}

// twoHosts are a node and somebody else, who is another node half of the time.
func (n *nemesis) twoHosts() (node, other string) {
	i := n.someNode()
	all := n.hosts()
	if n.rand.IntN(2) == 0 {
		all = all[:len(n.fleet.nodes)]
	}
	all = slices.DeleteFunc(all, func(h string) bool { return h == nodeHost(i) })
	if len(all) == 0 {
		all = []string{n.fleet.crew[0].name}
	}
	return nodeHost(i), all[n.rand.IntN(len(all))]
}

func (n *nemesis) slow() bool {
	from, to := n.twoHosts()
	if n.rand.IntN(2) == 0 {
		from, to = to, from
	}
	late, d := n.span(time.Millisecond, 800*time.Millisecond), n.span(time.Second, 10*time.Second)
	n.fleet.tell("slow link", "what %s sends to %s takes %v, for %v", from, to, late, d)
	n.fleet.net.Latency(from, to, late)
	n.later(d, func() { n.fleet.net.Latency(from, to, 0) })
	return true
}

func (n *nemesis) reset() bool {
	a, b := n.twoHosts()
	n.fleet.tell("reset", "connections of %s and %s break", a, b)
	n.fleet.net.Reset(a, b)
	return true
}

// hold lets what is said on the present connections of two hosts come late, after
// what is said on newer ones.
func (n *nemesis) hold() bool {
	to, from := n.twoHosts()
	d := n.span(time.Second, 20*time.Second)
	if n.fleet.net.Hold(from, to) == 0 {
		return false
	}
	n.fleet.tell("held connections", "what %s sends to %s on the present connections waits for %v", from, to, d)
	n.later(d, func() {
		if late := n.fleet.net.Release(from, to); late > 0 {
			n.fleet.tell("released late", "%d connections of %s to %s speak late", late, from, to)
		}
	})
	return true
}

// heal ends all faults and waits until every machine runs.
func (n *nemesis) heal() {
	close(n.ending)
	n.tasks.Wait()
	hosts := n.hosts()
	for _, a := range hosts {
		for _, b := range hosts {
			n.fleet.net.Heal(a, b)
			n.fleet.net.Latency(a, b, 0)
		}
		n.fleet.net.Isolate(a, false)
	}
	for _, m := range n.fleet.nodes {
		m.stalls.Store(0)
		m.fs.SetBytes(0)
	}
	n.fleet.tell("", "all is healed")
}
