package streams

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
)

// The epochs in a heartbeat that are none.
const (
	joins        int32 = 0  // wants to be a member
	leaves       int32 = -1 // is no more
	leavesAWhile int32 = -2 // a static member that will be back
)

// memberState is how far a member has come with its target. The values are those
// of the records.
type memberState int8

const (
	stable     memberState = 1
	unrevoked  memberState = 2   // it was told to give up tasks
	unreleased memberState = 3   // it lacks tasks that others have
	unknown    memberState = 127 // of a newer version
)

// member is one member of a group. It does not change; a changed one is a copy.
type member struct {
	id            string
	epoch         int32
	previous      int32 // epoch
	state         memberState
	instance      *string // nil: dynamic
	rack          *string
	clientID      string
	clientHost    string
	rebalance     int32 // ms; -1: none
	topologyEpoch int32
	process       string
	endpoint      *endpoint
	tags          []tag // by key

	assigned roles                // what it has
	revoking roles                // what it was told to give up
	since    map[tasks.Task]int32 // the epochs in which it got the active tasks among both
}

// endpoint is where a member answers queries about its state.
type endpoint struct {
	host string
	port uint16
}

type tag struct{ key, value string }

func newMember(id string) *member {
	return &member{id: id, state: stable, rebalance: -1, topologyEpoch: -1}
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func (m *member) sameIdentity(o *member) bool {
	return m.id == o.id && same(m.instance, o.instance) && same(m.rack, o.rack) && m.clientID == o.clientID &&
		m.clientHost == o.clientHost && m.rebalance == o.rebalance && m.topologyEpoch == o.topologyEpoch &&
		m.process == o.process && same(m.endpoint, o.endpoint) && slices.Equal(m.tags, o.tags)
}

func (m *member) sameProgress(o *member) bool {
	return m.epoch == o.epoch && m.previous == o.previous && m.state == o.state && m.sameTasks(o) &&
		m.revoking.equal(&o.revoking)
}

// sameTasks says whether both have the same tasks since the same epochs.
func (m *member) sameTasks(o *member) bool {
	return m.assigned.equal(&o.assigned) && maps.Equal(m.epochs(m.assigned.active), o.epochs(o.assigned.active))
}

// epochs are those in which it got some of its active tasks.
func (m *member) epochs(of set) map[tasks.Task]int32 {
	e := make(map[tasks.Task]int32, len(of))
	for _, t := range of {
		e[t] = m.since[t]
	}
	return e
}

// matters says whether two states of a static member differ in what tasks are
// assigned by.
func (m *member) matters(o *member) bool {
	return m.topologyEpoch != o.topologyEpoch || !same(m.rack, o.rack) || !slices.Equal(m.tags, o.tags) || m.process != o.process
}

// reconciled says that it has come to the target of an epoch.
func (m *member) reconciled(epoch int32) bool { return m.state == stable && m.epoch == epoch }

func (m *member) rebalanceTime() time.Duration { return time.Duration(m.rebalance) * time.Millisecond }

// tag is the value of one of its tags.
func (m *member) tag(key string) bool {
	return slices.ContainsFunc(m.tags, func(t tag) bool { return t.key == key })
}
