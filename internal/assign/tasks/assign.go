package tasks

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// Task is one partition of a subtopology.
type Task struct {
	Subtopology string
	Partition   int32
}

// Compare orders tasks by subtopology, then partition.
func (t Task) Compare(o Task) int {
	return cmp.Or(strings.Compare(t.Subtopology, o.Subtopology), cmp.Compare(t.Partition, o.Partition))
}

// byPartition orders tasks by partition, then subtopology, so that who takes some
// of them takes of all subtopologies.
func byPartition(a, b Task) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), strings.Compare(a.Subtopology, b.Subtopology))
}

// Subtopology is a part of the topology that runs by itself.
type Subtopology struct {
	ID       string
	Tasks    int32
	Stateful bool
}

// Member is one member with what it has now.
type Member struct {
	ID, Process     string
	Active, Standby []Task
	Offsets         map[Task]int64 // how far it says that the state on its disk is; perhaps nil
}

// Share is what a member is to have, in the order of the tasks.
type Share struct {
	Active, Standby []Task
}

// Assign gives every task to one member, and up to the wanted number of standbys
// of each stateful task to members of other processes. All members are in the
// result. Without members there is nothing to assign to.
func Assign(members []Member, topology []Subtopology, standbys int) map[string]Share {
	a := newAssignment(members, topology, standbys)
	if len(members) > 0 {
		a.assignActive()
		if standbys > 0 {
			a.assignStandby()
		}
	}
	shares := make(map[string]Share, len(members))
	for _, p := range a.processes {
		for _, m := range p.members {
			slices.SortFunc(m.share.Active, Task.Compare)
			slices.SortFunc(m.share.Standby, Task.Compare)
			shares[m.id] = m.share
		}
	}
	return shares
}

// assignment is one under way.
type assignment struct {
	processes []*process // in the order of their ids
	tasks     []Task     // all
	stateful  []Task     // those with standbys
	standbys  int

	wasActive map[Task]*member   // who has it
	copies    map[Task][]*member // who has a copy of its state, the best first

	active, all quota
}

// quota is how many tasks each member may have that has room yet.
type quota struct {
	tasks, members int // not given out, with room
	each           int
}

func newQuota(tasks, members int) quota {
	q := quota{tasks: tasks, members: members}
	q.share()
	return q
}

func (q *quota) share() {
	q.each = 0
	if q.members > 0 {
		q.each = (q.tasks + q.members - 1) / q.members
	}
}

// has takes note that a member has come to n tasks. One that is full leaves the
// rest to be shared by the others.
func (q *quota) has(n int) {
	if n == q.each {
		q.members--
		q.tasks -= n
		q.share()
	}
}

// candidate is a member with a copy of a task's state.
type candidate struct {
	member  *member
	standby bool // it is the task's standby; otherwise the state lies on its disk
	offset  int64
}

func newAssignment(members []Member, topology []Subtopology, standbys int) *assignment {
	a := &assignment{standbys: standbys, wasActive: map[Task]*member{}, copies: map[Task][]*member{}}
	for _, s := range topology {
		for p := range s.Tasks {
			t := Task{s.ID, p}
			a.tasks = append(a.tasks, t)
			if s.Stateful {
				a.stateful = append(a.stateful, t)
			}
		}
	}
	members = slices.SortedFunc(slices.Values(members), func(x, y Member) int { return strings.Compare(x.ID, y.ID) })
	a.active = newQuota(len(a.tasks), len(members))
	a.all = newQuota(len(a.tasks)+len(a.stateful)*standbys, len(members))
	byID := map[string]*process{}
	found := map[Task][]candidate{}
	for i := range members {
		p := byID[members[i].Process]
		if p == nil {
			p = &process{id: members[i].Process, has: map[Task]bool{}}
			byID[p.id] = p
			a.processes = append(a.processes, p)
		}
		m := p.add(members[i].ID)
		for _, t := range members[i].Active {
			a.wasActive[t] = m
		}
		collect(found, m, &members[i])
	}
	slices.SortFunc(a.processes, func(x, y *process) int { return strings.Compare(x.id, y.id) })
	for t, c := range found {
		slices.SortStableFunc(c, func(x, y candidate) int {
			if x.standby != y.standby {
				if x.standby {
					return -1
				}
				return 1
			}
			return cmp.Compare(y.offset, x.offset)
		})
		for i := range c {
			a.copies[t] = append(a.copies[t], c[i].member)
		}
	}
	return a
}

// collect takes note of the states that a member has copies of. A member that
// began anew knows of them by what lies on its disk only.
func collect(found map[Task][]candidate, m *member, from *Member) {
	standby := make(map[Task]bool, len(from.Standby))
	for _, t := range from.Standby {
		standby[t] = true
		found[t] = append(found[t], candidate{m, true, from.Offsets[t]})
	}
	for t, offset := range from.Offsets {
		if !standby[t] {
			found[t] = append(found[t], candidate{m, false, offset})
		}
	}
}

func (a *assignment) assignActive() {
	slices.SortFunc(a.tasks, byPartition)
	a.tasks = slices.DeleteFunc(a.tasks, func(t Task) bool { return a.activeTo(a.wasActive[t], t) })
	a.tasks = slices.DeleteFunc(a.tasks, func(t Task) bool { return a.activeTo(leastLoaded(a.copies[t], nil), t) })
	slices.SortFunc(a.tasks, Task.Compare)
	queue := a.queue()
	for _, t := range a.tasks {
		p := heap.Pop(queue).(*process)
		a.gave(p.giveLeastLoaded(t, true), true)
		heap.Push(queue, p)
	}
}

// activeTo gives a task to a member, if there is one and it has room.
func (a *assignment) activeTo(m *member, t Task) bool {
	if m == nil || m.count >= a.active.each {
		return false
	}
	a.gave(m.process.give(m, t, true), true)
	return true
}

// gave takes note that a member has come to n tasks.
func (a *assignment) gave(n int, active bool) {
	if active {
		a.active.has(n)
	}
	a.all.has(n)
}

// short is a task that lacks standbys.
type short struct {
	task    Task
	missing int
}

func (a *assignment) assignStandby() {
	slices.SortFunc(a.stateful, func(x, y Task) int { return byPartition(y, x) })
	var rest []short
	for _, t := range a.stateful {
		for i := range a.standbys {
			if a.standbyTo(a.wasActive[t], t) || a.standbyTo(leastLoaded(a.copies[t], &t), t) {
				continue
			}
			rest = append(rest, short{t, a.standbys - i})
			break
		}
	}
	slices.SortFunc(rest, func(x, y short) int { return y.task.Compare(x.task) })
	queue := a.queue()
	for _, r := range rest {
		for range r.missing {
			if !a.standbyToLeastLoaded(queue, r.task) {
				break // there are not enough processes
			}
		}
	}
}

// standbyTo gives a standby to a member, if there is one, its process does not
// have the task and it has room.
func (a *assignment) standbyTo(m *member, t Task) bool {
	if m == nil || m.process.has[t] || m.count >= a.all.each {
		return false
	}
	a.gave(m.process.give(m, t, false), false)
	return true
}

// standbyToLeastLoaded gives a standby to the process with the least to do of
// those that do not have the task.
func (a *assignment) standbyToLeastLoaded(q *queue, t Task) bool {
	var passed []*process
	found := false
	for !found && q.Len() > 0 {
		p := heap.Pop(q).(*process)
		passed = append(passed, p)
		if !p.has[t] {
			a.gave(p.giveLeastLoaded(t, false), false)
			found = true
		}
	}
	for _, p := range slices.Backward(passed) {
		heap.Push(q, p)
	}
	return found
}
