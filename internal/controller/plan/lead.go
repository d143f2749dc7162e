package plan

import (
	"cmp"
	"slices"
)

// lead chooses the preferred leaders: from a node that leads too much, along
// partitions whose other replicas lead less, until all are within the slack or no
// such way is left. Then, where a node has too few replicas to lead its part, it
// gets the smallest ones of who leads too much.
func (b *board) lead() {
	l := &leads{board: b, count: make([]int, len(b.nodes))}
	for _, replicas := range b.now {
		if len(replicas) > 0 {
			l.count[replicas[0]]++
		}
	}
	if len(b.open) == 0 {
		return
	}
	mean := float64(len(b.now)) / float64(len(b.open))
	l.lo, l.hi = int(mean*(1-Slack)+0.999999), int(mean*(1+Slack))
	if l.lo > int(mean) { // fewer than ten for each
		l.lo = int(mean)
	}
	l.hi = max(l.hi, int(mean+0.999999))
	for range 2 * len(b.now) {
		if !l.shift() && !l.take() {
			return
		}
	}
}

type leads struct {
	*board
	count  []int // preferred leaders by node
	lo, hi int
}

// shift moves one leadership from a node that leads too much to one that leads
// less, or from one that leads more to one that leads too little; the others on
// the way keep their number.
func (l *leads) shift() bool {
	order := slices.Clone(l.open)
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(l.count[y], l.count[x]) })
	for _, a := range order {
		last := order[len(order)-1]
		if l.count[a] <= l.hi && l.count[last] >= l.lo {
			return false
		}
		if l.count[a]-l.count[last] < 2 {
			return false
		}
		fits := func(z int) bool {
			return l.count[a]-l.count[z] >= 2 && (l.count[a] > l.hi || l.count[z] < l.lo)
		}
		if l.along(a, fits) {
			return true
		}
	}
	return false
}

// along looks for the shortest way from a to a node that fits and goes it.
func (l *leads) along(a int, fits func(int) bool) bool {
	by := make([]int, len(l.nodes)) // the partition by which a node was reached
	from := make([]int, len(l.nodes))
	for n := range by {
		by[n] = -1
	}
	led := make([][]int, len(l.nodes))
	for i, replicas := range l.now {
		if len(replicas) > 1 {
			led[replicas[0]] = append(led[replicas[0]], i)
		}
	}
	end := -1
	for queue := []int{a}; len(queue) > 0 && end < 0; queue = queue[1:] {
		n := queue[0]
		for _, i := range led[n] {
			for _, z := range l.now[i][1:] {
				if z == a || by[z] >= 0 || l.nodes[z].Drained {
					continue
				}
				by[z], from[z] = i, n
				queue = append(queue, z)
				if end < 0 && fits(z) {
					end = z
				}
			}
		}
	}
	if end < 0 {
		return false
	}
	l.count[a]--
	l.count[end]++
	for z := end; z != a; z = from[z] {
		l.first(by[z], z)
	}
	return true
}

// first makes a node the preferred leader of partition i.
func (l *leads) first(i, n int) {
	at := slices.Index(l.now[i], n)
	l.now[i][0], l.now[i][at] = l.now[i][at], l.now[i][0]
}

// take brings the node that leads too little the smallest replica that it can
// lead, of a node that leads more and can spare the bytes.
func (l *leads) take() bool {
	z := l.open[0]
	for _, n := range l.open {
		if l.count[n] < l.count[z] {
			z = n
		}
	}
	a := l.open[0]
	for _, n := range l.open {
		if l.count[n] > l.count[a] {
			a = n
		}
	}
	if l.count[z] >= l.lo && l.count[a] <= l.hi || l.count[a]-l.count[z] < 2 {
		return false
	}
	best, cost := -1, int64(0)
	before := l.wrong()
	for i, replicas := range l.now {
		if len(replicas) == 0 || l.count[replicas[0]]-l.count[z] < 2 || !l.fits(i, replicas[0], z) {
			continue
		}
		from, c := replicas[0], l.copies(i, replicas[0], z)
		if best >= 0 && c >= cost {
			continue
		}
		l.move(i, from, z)
		if l.wrong() <= before {
			best, cost = i, c
		}
		l.move(i, z, from)
	}
	if best < 0 {
		return false
	}
	from := l.now[best][0]
	l.move(best, from, z)
	l.count[from]--
	l.count[z]++
	return true
}
