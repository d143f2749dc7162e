package tasks

import "container/heap"

// process is one process with its members, in the order of their ids.
type process struct {
	id      string
	members []*member
	count   int
	has     map[Task]bool
	idle    *idle // its members by what they have to do; nil: not up to date
}

// member is a member while tasks are given out.
type member struct {
	id      string
	process *process
	count   int
	share   Share
}

func (p *process) add(id string) *member {
	m := &member{id: id, process: p}
	p.members = append(p.members, m)
	return m
}

// load is the number of tasks for each member.
func (p *process) load() float64 { return float64(p.count) / float64(len(p.members)) }

// give gives a task to a member, which then has as many as it says.
func (p *process) give(m *member, t Task, active bool) int {
	p.idle = nil
	return p.put(m, t, active)
}

func (p *process) put(m *member, t Task, active bool) int {
	if active {
		m.share.Active = append(m.share.Active, t)
	} else {
		m.share.Standby = append(m.share.Standby, t)
	}
	p.has[t] = true
	p.count++
	m.count++
	return m.count
}

// giveLeastLoaded gives a task to the member with the least to do.
func (p *process) giveLeastLoaded(t Task, active bool) int {
	if p.idle == nil {
		p.idle = new(idle)
		for _, m := range p.members {
			heap.Push(p.idle, m)
		}
	}
	m := heap.Pop(p.idle).(*member)
	n := p.put(m, t, active)
	heap.Push(p.idle, m)
	return n
}

// leastLoaded is the first of the members, unless another one has less to do
// itself and as a process. Members of processes that have the task already do not
// count, if it is given.
func leastLoaded(members []*member, unless *Task) *member {
	var best *member
	for _, m := range members {
		if unless != nil && m.process.has[*unless] {
			continue
		}
		if best == nil || m.process.load() < best.process.load() && m.count < best.count {
			best = m
		}
	}
	return best
}

// idle are members, the one with the least to do first.
type idle []*member

func (h idle) Len() int           { return len(h) }
func (h idle) Less(i, j int) bool { return h[i].count < h[j].count }
func (h idle) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *idle) Push(x any)        { *h = append(*h, x.(*member)) }
func (h *idle) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// queue are processes, the one with the least to do first.
type queue []*process

func (a *assignment) queue() *queue {
	q := new(queue)
	for _, p := range a.processes {
		heap.Push(q, p)
	}
	return q
}

func (h queue) Len() int           { return len(h) }
func (h queue) Less(i, j int) bool { return h[i].load() < h[j].load() }
func (h queue) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *queue) Push(x any)        { *h = append(*h, x.(*process)) }
func (h *queue) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
