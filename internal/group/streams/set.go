package streams

import (
	"slices"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
)

// set is a set of tasks, in their order.
type set []tasks.Task

func newSet(s set) set {
	slices.SortFunc(s, tasks.Task.Compare)
	return slices.Compact(s)
}

func (s set) has(t tasks.Task) bool {
	_, ok := slices.BinarySearchFunc(s, t, tasks.Task.Compare)
	return ok
}

// filter gives the tasks that keep says yes to.
func (s set) filter(keep func(tasks.Task) bool) set {
	var out set
	for _, t := range s {
		if keep(t) {
			out = append(out, t)
		}
	}
	return out
}

func (s set) and(o set) set   { return s.filter(o.has) }
func (s set) minus(o set) set { return s.filter(func(t tasks.Task) bool { return !o.has(t) }) }

func (s set) plus(o set) set {
	if len(o) == 0 {
		return s
	}
	return newSet(slices.Concat(s, o))
}

// groups calls yield for each subtopology with the partitions of its tasks.
func (s set) groups(yield func(subtopology string, partitions []int32)) {
	for len(s) > 0 {
		n := 0
		var partitions []int32
		for n < len(s) && s[n].Subtopology == s[0].Subtopology {
			partitions = append(partitions, s[n].Partition)
			n++
		}
		yield(s[0].Subtopology, partitions)
		s = s[n:]
	}
}

// roles are tasks by what a member does with them.
type roles struct {
	active, standby, warmup set
}

func (r *roles) empty() bool { return len(r.active)+len(r.standby)+len(r.warmup) == 0 }

func (r *roles) equal(o *roles) bool {
	return slices.Equal(r.active, o.active) && slices.Equal(r.standby, o.standby) && slices.Equal(r.warmup, o.warmup)
}

// meets says whether the two have a task in common, in the same role.
func (r *roles) meets(o *roles) bool {
	return slices.ContainsFunc(o.active, r.active.has) || slices.ContainsFunc(o.standby, r.standby.has) ||
		slices.ContainsFunc(o.warmup, r.warmup.has)
}

// within says whether all of r is in o, in the same role.
func (r *roles) within(o *roles) bool {
	return len(r.active.minus(o.active))+len(r.standby.minus(o.standby))+len(r.warmup.minus(o.warmup)) == 0
}
