package plan

import (
	"cmp"
	"math/bits"
	"slices"
)

// refine takes back what is not needed and then, if there are few replicas,
// looks for the best of all plans.
func (b *board) refine() {
	for range len(b.now) + 1 {
		if !b.takeBack() {
			break
		}
	}
	b.search()
}

// takeBack returns moved replicas, the largest first, where no more is wrong
// without the move, and moves a smaller one in place of another where that does.
func (b *board) takeBack() (any bool) {
	var moved []replica
	for i, replicas := range b.now {
		for _, n := range replicas {
			if !slices.Contains(b.was[i], n) {
				moved = append(moved, replica{i, n})
			}
		}
	}
	slices.SortStableFunc(moved, func(x, y replica) int { return cmp.Compare(b.bytes[y.i], b.bytes[x.i]) })
	for _, r := range moved {
		for _, home := range b.was[r.i] {
			if slices.Contains(b.now[r.i], home) || !slices.Contains(b.now[r.i], r.on) || !b.fits(r.i, r.on, home) {
				continue
			}
			before := b.wrong()
			b.move(r.i, r.on, home)
			if b.wrong() <= before || len(b.now) <= large && b.instead(r, home, before) {
				any = true
				break
			}
			b.move(r.i, home, r.on)
		}
	}
	return any
}

// instead looks for a smaller replica that may go where r went from home.
func (b *board) instead(r replica, home int, before int64) bool {
	best := -1
	for i, replicas := range b.now {
		if b.bytes[i] >= b.bytes[r.i] || best >= 0 && b.bytes[i] >= b.bytes[best] ||
			!slices.Contains(replicas, home) || !b.fits(i, home, r.on) || b.copies(i, home, r.on) >= b.bytes[r.i] {
			continue
		}
		b.move(i, home, r.on)
		if b.wrong() <= before {
			best = i
		}
		b.move(i, r.on, home)
	}
	if best < 0 {
		return false
	}
	b.move(best, home, r.on)
	return true
}

// The search is for clusters of which all plans can be looked through.
const (
	maxSearched = 24     // partitions
	maxSets     = 256    // sets of nodes that may have one of them
	maxVisits   = 300000 // unfinished plans
)

// search finds the plan that leaves the least wrong and of those the one that
// moves the fewest bytes, by branch and bound over the sets of nodes that each
// partition may be on. It gives up after maxVisits and keeps the best until then.
func (b *board) search() {
	if len(b.now) > maxSearched || len(b.nodes) > 16 {
		return
	}
	s := &searcher{board: b, wrong: b.wrong(), load: make([]int64, len(b.nodes)), pick: make([]uint16, len(b.now))}
	for i := range b.now {
		sets := b.sets(i)
		if len(sets) == 0 || len(sets) > maxSets {
			return
		}
		s.sets = append(s.sets, sets)
		s.order = append(s.order, i)
		s.cost += b.bytes[i] * int64(bits.OnesCount16(mask(b.now[i])&^mask(b.was[i])))
		s.rest += b.bytes[i] * int64(len(b.now[i]))
	}
	slices.SortStableFunc(s.order, func(x, y int) int { return cmp.Compare(b.bytes[y], b.bytes[x]) })
	s.from(0, 0)
	if s.found == nil {
		return
	}
	for i, set := range s.found {
		for at, n := range b.now[i] {
			if set&(1<<n) == 0 {
				fresh := bits.TrailingZeros16(set &^ mask(b.now[i]))
				b.load[n] -= b.bytes[i]
				b.load[fresh] += b.bytes[i]
				b.now[i][at] = fresh
			}
		}
	}
}

func mask(nodes []int) (m uint16) {
	for _, n := range nodes {
		m |= 1 << n
	}
	return m
}

// sets are the sets of nodes that partition i may be on, those first that keep
// the most of what it has.
func (b *board) sets(i int) []uint16 {
	racks := func(set uint16) int {
		var seen []string
		for n := range b.nodes {
			if rack := b.nodes[n].Rack; set&(1<<n) != 0 && rack != "" && !slices.Contains(seen, rack) {
				seen = append(seen, rack)
			}
		}
		return len(seen)
	}
	open := mask(b.open)
	var all []uint16
	most := 0
	for set := uint16(0); ; set = (set - open) & open { // every subset of open
		if bits.OnesCount16(set) == len(b.now[i]) {
			all = append(all, set)
			most = max(most, racks(set))
		}
		if set == open {
			break
		}
	}
	most = min(most, racks(mask(b.was[i])))
	all = slices.DeleteFunc(all, func(set uint16) bool { return racks(set) < most })
	was := mask(b.was[i])
	slices.SortStableFunc(all, func(x, y uint16) int { return bits.OnesCount16(x&^was) - bits.OnesCount16(y&^was) })
	return all
}

// searcher is a search under way: the first few partitions of order are on the
// sets in pick, and load is of those.
type searcher struct {
	*board
	sets   [][]uint16
	order  []int
	load   []int64
	pick   []uint16
	rest   int64 // bytes of all replicas that are not placed yet
	wrong  int64 // of the best plan so far, with its cost
	cost   int64
	found  []uint16
	visits int
}

func (s *searcher) from(depth int, cost int64) {
	if s.visits++; s.visits > maxVisits {
		return
	}
	var over, under int64
	for _, n := range s.open {
		over += max(0, s.load[n]-s.hi)
		under += max(0, s.lo-s.load[n])
	}
	if least := over + max(0, under-s.rest); least > s.wrong || least == s.wrong && cost >= s.cost {
		return
	}
	if depth == len(s.order) {
		s.wrong, s.cost, s.found = over+under, cost, slices.Clone(s.pick)
		return
	}
	i := s.order[depth]
	was := mask(s.was[i])
	size := s.bytes[i] * int64(len(s.now[i]))
	s.rest -= size
	for _, set := range s.sets[i] {
		s.put(set, s.bytes[i])
		s.pick[i] = set
		s.from(depth+1, cost+s.bytes[i]*int64(bits.OnesCount16(set&^was)))
		s.put(set, -s.bytes[i])
	}
	s.rest += size
}

func (s *searcher) put(set uint16, bytes int64) {
	for ; set != 0; set &= set - 1 {
		s.load[bits.TrailingZeros16(set)] += bytes
	}
}
