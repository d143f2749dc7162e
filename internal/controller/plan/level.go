package plan

import (
	"cmp"
	"slices"
)

// step is one or two replicas that change places: one goes from a to z, and
// perhaps another the other way.
type step struct {
	out, back int // partitions; back is -1 where nothing comes back
	a, z      int
	gain      int64 // by how much less is wrong
	bytes     int64 // that it copies
}

// better prefers the step that mends more for each byte, then the larger one.
func (s *step) better(t *step) bool {
	if t == nil {
		return true
	}
	l, r := float64(s.gain)*float64(t.bytes), float64(t.gain)*float64(s.bytes)
	if l != r {
		return l > r
	}
	return s.gain > t.gain
}

// level makes steps from the fullest nodes to the emptiest until all are within
// the slack or no step mends anything.
func (b *board) level() {
	for range 4 * len(b.now) * (1 + len(b.nodes)) {
		if b.wrong() == 0 {
			return
		}
		s := b.best()
		if s == nil {
			return
		}
		b.move(s.out, s.a, s.z)
		if s.back >= 0 {
			b.move(s.back, s.z, s.a)
		}
	}
}

// best finds a step: first a single move, and only if none helps an exchange.
func (b *board) best() *step {
	order := slices.Clone(b.open)
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(b.load[y], b.load[x]) })
	held := make([][]int, len(b.nodes))
	for i, replicas := range b.now {
		for _, n := range replicas {
			held[n] = append(held[n], i)
		}
	}
	var found *step
	try := func(a, z int) {
		for _, i := range held[a] {
			if s := b.weigh(i, -1, a, z); s != nil && s.better(found) && b.fits(i, a, z) {
				found = s
			}
		}
	}
	if ends := 3; len(order) > 2*ends && len(b.now) > large { // the first look is at the fullest and the emptiest
		pairs(b, slices.Concat(order[:ends], order[len(order)-ends:]), try)
	}
	if found == nil {
		pairs(b, order, try)
	}
	if found != nil {
		return found
	}
	tried := 0
	pairs(b, order, func(a, z int) {
		for _, i := range held[a] {
			for _, j := range held[z] {
				if tried++; tried > maxTries || b.bytes[j] >= b.bytes[i] {
					continue
				}
				if s := b.weigh(i, j, a, z); s != nil && s.better(found) && b.fits(i, a, z) && b.fits(j, z, a) {
					found = s
				}
			}
		}
	})
	return found
}

// large is how many partitions make a cluster too large for looking at all there is.
const large = 2000

// maxTries bounds the exchanges that are weighed for one step.
const maxTries = 1 << 20

// pairs goes through the pairs of nodes of which the first is fuller and one is
// out of the slack.
func pairs(b *board, order []int, f func(a, z int)) {
	for x, a := range order {
		for _, z := range order[x+1:] {
			if b.off(b.load[a]) > 0 || b.off(b.load[z]) > 0 {
				f(a, z)
			}
		}
	}
}

// weigh says what a step mends and costs, nil if it mends nothing.
func (b *board) weigh(i, j, a, z int) *step {
	diff := b.bytes[i]
	s := &step{out: i, back: j, a: a, z: z, bytes: b.copies(i, a, z)}
	if j >= 0 {
		diff -= b.bytes[j]
		s.bytes += b.copies(j, z, a)
	}
	s.gain = b.off(b.load[a]) + b.off(b.load[z]) - b.off(b.load[a]-diff) - b.off(b.load[z]+diff)
	if s.gain <= 0 {
		return nil
	}
	s.bytes = max(1, s.bytes)
	return s
}

// copies is what it costs to bring a replica of i from a to z: nothing, less than
// nothing, where it goes back to where it is now or has already been moved.
func (b *board) copies(i, a, z int) int64 {
	switch was := b.was[i]; {
	case slices.Contains(was, z) && slices.Contains(was, a):
		return 0
	case slices.Contains(was, z):
		return -b.bytes[i]
	case !slices.Contains(was, a):
		return 0
	}
	return b.bytes[i]
}
