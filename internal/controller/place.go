package controller

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// placer spreads new partitions over the brokers. Brokers stand in a ring in
// which racks take turns, so that neighbours are in different racks; partition p
// begins at the p-th place from a random one. After each round the search for
// followers begins one further, so that a broker's partitions do not all have
// the same peer.
type placer struct {
	ring  []*cluster.Broker // in service
	spare []*cluster.Broker // registered but not in service: replicas of last resort
	start int
}

func newPlacer(m *cluster.Image, rng *rand.Rand) *placer {
	p := &placer{}
	racks := map[string][]*cluster.Broker{}
	for _, b := range m.Brokers() {
		switch {
		case cordoned(b):
		case m.Active(b.ID):
			racks[rackOf(b)] = append(racks[rackOf(b)], b)
		default:
			p.spare = append(p.spare, b)
		}
	}
	names := make([]string, 0, len(racks))
	for name := range racks {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for i, more := 0, true; more; i++ {
		more = false
		for _, name := range names {
			if i < len(racks[name]) {
				p.ring = append(p.ring, racks[name][i])
				more = true
			}
		}
	}
	if len(p.ring) > 1 {
		p.start = rng.IntN(len(p.ring))
	}
	return p
}

func rackOf(b *cluster.Broker) string {
	if b.Rack == nil {
		return ""
	}
	return *b.Rack
}

// cordoned says whether none of the broker's log directories takes new replicas
// (KIP-1066).
func cordoned(b *cluster.Broker) bool {
	return len(b.LogDirs) > 0 && len(b.CordonedLogDirs) >= len(b.LogDirs)
}

// check says whether so many replicas of one partition can be placed.
func (p *placer) check(factor int) error {
	all := len(p.ring) + len(p.spare)
	switch {
	case len(p.ring) == 0:
		return refuse(kafka.InvalidReplicationFactor,
			"Unable to replicate the partition %d time(s): All brokers are currently fenced or have all their log directories cordoned.", factor)
	case factor > all:
		return refuse(kafka.InvalidReplicationFactor,
			"Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.",
			factor, factor, all)
	}
	return nil
}

// replicas gives the brokers of partition number id, the preferred leader first.
// A rack gets a second replica only when every rack has one.
func (p *placer) replicas(id, factor int) []*cluster.Broker {
	n := len(p.ring)
	first := (p.start + id) % n
	out := []*cluster.Broker{p.ring[first]}
	used := map[string]int{rackOf(p.ring[first]): 1}
	for level := 1; len(out) < min(factor, n); level++ {
		for j := range n - 1 {
			b := p.ring[(first+1+(id/n+j)%(n-1))%n]
			if len(out) < factor && used[rackOf(b)] < level && !slices.Contains(out, b) {
				out = append(out, b)
				used[rackOf(b)]++
			}
		}
	}
	for j := n; j < factor; j++ {
		out = append(out, p.spare[(id+j)%len(p.spare)])
	}
	return out
}
