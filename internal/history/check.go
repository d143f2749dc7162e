package history

import (
	"fmt"
	"maps"
	"slices"
)

// value names one record of the model: no value is sent to a key twice.
type value struct {
	key string
	v   int64
}

// checker holds what follows from a history.
type checker struct {
	ops   []Op
	o     Options
	found []Anomaly

	writer  map[value]int   // the operation that tried to write it
	readers map[value][]int // operations that read it and were OK, in order
	anyRead map[value]bool  // by whatever operation
	log     map[string]map[int64][]int64
	slots   map[string][]int64 // values by place
	places  map[value][]int    // where a value stands in slots; more than one is a duplicate
}

func newChecker(ops []Op, o Options) *checker {
	c := &checker{
		ops: ops, o: o,
		writer: map[value]int{}, readers: map[value][]int{}, anyRead: map[value]bool{},
		log: map[string]map[int64][]int64{}, slots: map[string][]int64{}, places: map[value][]int{},
	}
	for i, op := range ops {
		for _, s := range op.Steps {
			if s.Send {
				c.writer[value{s.Sent.Key, s.Sent.Value}] = i
				continue
			}
			for _, r := range s.Polled {
				at := value{r.Key, r.Value}
				c.anyRead[at] = true
				if n := len(c.readers[at]); op.Outcome == OK && (n == 0 || c.readers[at][n-1] != i) {
					c.readers[at] = append(c.readers[at], i)
				}
			}
		}
	}
	for i, op := range ops {
		for _, s := range op.Steps {
			if s.Send && s.Sent.Offset != Unknown && c.happened(i) {
				c.stand(s.Sent)
			}
			for _, r := range s.Polled {
				c.stand(r)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.log)) {
		for _, off := range slices.Sorted(maps.Keys(c.log[key])) {
			v := slices.Min(c.log[key][off])
			at := value{key, v}
			c.places[at] = append(c.places[at], len(c.slots[key]))
			c.slots[key] = append(c.slots[key], v)
		}
	}
	return c
}

// stand notes that a value was seen at an offset.
func (c *checker) stand(r Record) {
	m := c.log[r.Key]
	if m == nil {
		m = map[int64][]int64{}
		c.log[r.Key] = m
	}
	if !slices.Contains(m[r.Offset], r.Value) {
		m[r.Offset] = append(m[r.Offset], r.Value)
	}
}

// happened says whether an operation must have taken effect: it was OK, or nobody
// knows and somebody whose own operation was OK saw one of its writes.
func (c *checker) happened(i int) bool {
	switch op := c.ops[i]; op.Outcome {
	case OK:
		return true
	case Info:
		for _, s := range op.Steps {
			if s.Send && len(c.readers[value{s.Sent.Key, s.Sent.Value}]) > 0 {
				return true
			}
		}
	}
	return false
}

func (c *checker) report(class Class, key string, ops []int, format string, args ...any) {
	c.found = append(c.found, Anomaly{Class: class, Key: key, Ops: ops, Detail: fmt.Sprintf(format, args...)})
}

// offsets looks for offsets with two values, and values with two offsets.
func (c *checker) offsets() {
	for _, key := range slices.Sorted(maps.Keys(c.log)) {
		at := map[int64][]int64{}
		for _, off := range slices.Sorted(maps.Keys(c.log[key])) {
			values := slices.Sorted(slices.Values(c.log[key][off]))
			if len(values) > 1 {
				c.report(InconsistentOffsets, key, c.touch(key, values...), "offset %d holds %v", off, values)
			}
			for _, v := range values {
				at[v] = append(at[v], off)
			}
		}
		for _, v := range slices.Sorted(maps.Keys(at)) {
			if len(at[v]) > 1 {
				c.report(Duplicate, key, c.touch(key, v), "%d stands at %v", v, at[v])
			}
		}
	}
}

// touch lists the operations that wrote or read one of the values.
func (c *checker) touch(key string, values ...int64) []int {
	var out []int
	for _, v := range values {
		if w, ok := c.writer[value{key, v}]; ok {
			out = append(out, w)
		}
		out = append(out, c.readers[value{key, v}]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reads looks at what each operation read: of whom, and whether it might.
func (c *checker) reads() {
	for i, op := range c.ops {
		for _, s := range op.Steps {
			for _, r := range s.Polled {
				w, ok := c.writer[value{r.Key, r.Value}]
				switch {
				case !ok:
					c.report(UnknownWriter, r.Key, []int{i}, "%v was sent by nobody", r)
				case c.o.Uncommitted:
				case w == i:
					c.report(PrecommittedRead, r.Key, []int{i}, "%v was read by who sends it", r)
				case c.ops[w].Outcome == Fail && op.Outcome == OK:
					c.report(AbortedRead, r.Key, []int{w, i}, "%v was read, and its writer failed", r)
				}
			}
		}
	}
}

// lost looks for values that readers went past, and for those that nobody saw
// though all was read at the end.
func (c *checker) lost() {
	bound := map[string]int{} // how far anybody who was OK has read, by place
	for at := range c.readers {
		if p := c.places[at]; len(p) > 0 {
			bound[at.key] = max(bound[at.key], p[0])
		}
	}
	for i, op := range c.ops {
		for _, s := range op.Steps {
			at := value{s.Sent.Key, s.Sent.Value}
			if !s.Send || len(c.readers[at]) > 0 || !c.happened(i) {
				continue
			}
			far, any := bound[at.key]
			p := c.places[at]
			switch {
			case any && len(p) > 0 && p[len(p)-1] <= far:
				c.report(LostWrite, at.key, []int{i}, "%v was never read, and readers came to the value %d behind it", s.Sent, c.slots[at.key][far])
			case c.o.Final && op.Outcome == OK:
				c.report(Unseen, at.key, []int{i}, "%v was acknowledged and nobody found it", s.Sent)
			}
		}
	}
}

// torn looks for transactions of which a part is there. It needs a final read,
// for what is missing may only not have been read yet.
func (c *checker) torn() {
	if !c.o.Final {
		return
	}
	for i, op := range c.ops {
		var there, missing []Record
		for _, s := range op.Steps {
			switch at := (value{s.Sent.Key, s.Sent.Value}); {
			case !s.Send:
			case len(c.readers[at]) > 0:
				there = append(there, s.Sent)
			default:
				missing = append(missing, s.Sent)
			}
		}
		if len(there) > 0 && len(missing) > 0 {
			c.report(TornTransaction, "", []int{i}, "%v can be read, %v cannot", there, missing)
		}
	}
}
