package history

import (
	"cmp"
	"maps"
	"slices"
)

// forward looks at each process: its reads of a key go forward one value at a time,
// its sends go forward.
func (c *checker) forward() {
	last := map[int]*position{} // by process
	for i, op := range c.ops {
		p := last[op.Process]
		if p == nil {
			p = &position{read: map[string]spot{}, sent: map[string]spot{}}
			last[op.Process] = p
		}
		for _, key := range op.Moved {
			delete(p.read, key)
		}
		c.orderOfReads(i, p)
		c.orderOfSends(i, p)
	}
}

// position is how far a process has come in each key.
type position struct{ read, sent map[string]spot }

// spot is the place of a value, and the operation that touched it.
type spot struct{ place, op int }

func (c *checker) place(key string, v int64) (int, bool) {
	p := c.places[value{key, v}]
	if len(p) == 0 {
		return 0, false
	}
	return p[0], true
}

func (c *checker) orderOfReads(i int, p *position) {
	op := c.ops[i]
	inner := map[string]int{}
	for _, s := range op.Steps {
		for _, r := range s.Polled {
			at, ok := c.place(r.Key, r.Value)
			if !ok {
				continue
			}
			was, again := inner[r.Key]
			before, known := p.read[r.Key]
			switch {
			case again && slices.Contains(op.Moved, r.Key):
			case again && at > was+1:
				c.report(InnerPollSkip, r.Key, []int{i}, "%v, %d values after the one before", r, at-was)
			case again && at <= was:
				c.report(InnerNonmonotonicPoll, r.Key, []int{i}, "%v does not come after the one before", r)
			case again || !known || op.Group:
			case at > before.place+1:
				c.report(PollSkip, r.Key, []int{before.op, i}, "%v, %d values after the last that was read", r, at-before.place)
			case at <= before.place:
				c.report(NonmonotonicPoll, r.Key, []int{before.op, i}, "%v does not come after the last that was read", r)
			}
			inner[r.Key] = at
		}
	}
	if op.Outcome == OK {
		for key, at := range inner {
			p.read[key] = spot{at, i}
		}
	}
}

func (c *checker) orderOfSends(i int, p *position) {
	op := c.ops[i]
	inner := map[string]int{}
	for _, s := range op.Steps {
		at, ok := c.place(s.Sent.Key, s.Sent.Value)
		if !s.Send || !ok {
			continue
		}
		was, again := inner[s.Sent.Key]
		before, known := p.sent[s.Sent.Key]
		switch {
		case again && at <= was:
			c.report(InnerNonmonotonicSend, s.Sent.Key, []int{i}, "%v stands before what was sent before it", s.Sent)
		case !again && known && at <= before.place:
			c.report(NonmonotonicSend, s.Sent.Key, []int{before.op, i}, "%v stands before what was sent before it", s.Sent)
		}
		inner[s.Sent.Key] = at
	}
	if op.Outcome != Fail {
		for key, at := range inner {
			p.sent[key] = spot{at, i}
		}
	}
}

// circles looks for operations that all read what another of them wrote, in a
// circle: then none of them can have come first. Only reads count; two
// transactions may well write in between each other, since Kafka does not isolate
// writes.
func (c *checker) circles() {
	edges := make([][]int, len(c.ops)) // writer -> reader
	for _, at := range slices.SortedFunc(maps.Keys(c.readers), compareValues) {
		w, ok := c.writer[at]
		if !ok {
			continue
		}
		for _, r := range c.readers[at] {
			if r != w {
				edges[w] = append(edges[w], r)
			}
		}
	}
	for _, circle := range components(edges) {
		if len(circle) > 1 {
			c.report(Circular, "", circle, "each read what another of them wrote")
		}
	}
}

// components are the strongly connected components of a graph (Tarjan, 1972),
// each sorted. It keeps its own stack, since a history may be one long chain.
func components(edges [][]int) (out [][]int) {
	const unseen = -1
	index := make([]int, len(edges))
	low := make([]int, len(edges))
	for i := range index {
		index[i] = unseen
	}
	open := make([]bool, len(edges))
	var stack []int
	next := 0
	type frame struct{ node, edge int }
	for root := range edges {
		if index[root] != unseen {
			continue
		}
		walk := []frame{{root, 0}}
		for len(walk) > 0 {
			f := &walk[len(walk)-1]
			n := f.node
			if f.edge == 0 && index[n] == unseen {
				index[n], low[n] = next, next
				next++
				stack, open[n] = append(stack, n), true
			}
			if f.edge < len(edges[n]) {
				to := edges[n][f.edge]
				f.edge++
				if index[to] == unseen {
					walk = append(walk, frame{to, 0})
				} else if open[to] {
					low[n] = min(low[n], index[to])
				}
				continue
			}
			if walk = walk[:len(walk)-1]; len(walk) > 0 {
				up := walk[len(walk)-1].node
				low[up] = min(low[up], low[n])
			}
			if low[n] == index[n] {
				at := len(stack) - 1 // the component is on top
				for stack[at] != n {
					at--
				}
				group := slices.Sorted(slices.Values(stack[at:]))
				for _, m := range group {
					open[m] = false
				}
				stack = stack[:at]
				out = append(out, group)
			}
		}
	}
	return out
}

func compareValues(a, b value) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.v, b.v)) }
