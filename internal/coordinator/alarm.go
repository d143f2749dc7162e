package coordinator

import (
	"cmp"
	"container/heap"
	"time"
)

// alarms holds the alarms of one machine, the earliest first; of two for the
// same instant, the one set first.
type alarms struct {
	queue  alarmQueue
	byName map[string]*alarm
	drawn  uint64
}

type alarm struct {
	name  string
	at    time.Time
	order uint64
	index int // in the queue
}

// set adds an alarm, or moves the one of this name.
func (a *alarms) set(name string, at time.Time) {
	a.drawn++
	if old, ok := a.byName[name]; ok {
		old.at, old.order = at, a.drawn
		heap.Fix(&a.queue, old.index)
		return
	}
	if a.byName == nil {
		a.byName = map[string]*alarm{}
	}
	n := &alarm{name: name, at: at, order: a.drawn}
	a.byName[name] = n
	heap.Push(&a.queue, n)
}

// drop removes the alarm of this name, if there is one.
func (a *alarms) drop(name string) {
	if old, ok := a.byName[name]; ok {
		heap.Remove(&a.queue, old.index)
		delete(a.byName, name)
	}
}

// due takes out the first alarm that is due at now.
func (a *alarms) due(now time.Time) (name string, ok bool) {
	if len(a.queue) == 0 || a.queue[0].at.After(now) {
		return "", false
	}
	name = a.queue[0].name
	a.drop(name)
	return name, true
}

// next is when the first alarm rings.
func (a *alarms) next() (at time.Time, ok bool) {
	if len(a.queue) == 0 {
		return time.Time{}, false
	}
	return a.queue[0].at, true
}

// alarmQueue is a heap.
type alarmQueue []*alarm

func (q alarmQueue) Len() int { return len(q) }

func (q alarmQueue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].order, q[j].order)) < 0
}

func (q alarmQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *alarmQueue) Push(x any) {
	a := x.(*alarm)
	a.index = len(*q)
	*q = append(*q, a)
}

func (q *alarmQueue) Pop() any {
	last := len(*q) - 1
	a := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return a
}
