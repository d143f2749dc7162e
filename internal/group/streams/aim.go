package streams

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/assign/tasks"
	"github.com/myelin-stream/myelin/internal/coordinator"
)

// Why tasks are not assigned right now.
const (
	gathering = "The group waits for more members before its first assignment."
	tooSoon   = "The last assignment was a moment ago."
	upToDate  = "up to date"
)

// wait says why there is no assignment to be made for an epoch of the group now; ""
// if there is.
func (g *Group) wait(now time.Time, epoch int32, between time.Duration) string {
	switch {
	case !g.gather.IsZero():
		return gathering
	case g.assignment >= epoch:
		return upToDate
	case g.assigned != 0 && between > 0 && now.UnixMilli()-g.assigned < between.Milliseconds():
		return tooSoon
	}
	return ""
}

// members are the group's with this one as it will be, and without the one whose
// place it takes.
func (b *beat) members() map[string]*member {
	all := maps.Clone(b.g.members)
	if b.replaced != nil {
		delete(all, b.replaced.id)
	}
	all[b.next.id] = b.next
	return all
}

// targets are the members' as they will be.
func (b *beat) targets() map[string]*roles {
	if b.replaced == nil {
		return b.g.targets
	}
	all := maps.Clone(b.g.targets)
	if t := all[b.replaced.id]; t != nil {
		delete(all, b.replaced.id)
		all[b.next.id] = t
	}
	return all
}

// aiming is what an assignment is made of, and the targets that were made.
type aiming struct {
	members  map[string]*member
	targets  map[string]*roles
	topology *topology
	ready    *configured
	standbys int
	made     map[string]*roles
}

// aim makes the targets for an epoch of the group.
func (g *Group) aim(now time.Time, epoch int32, a *aiming) []coordinator.Record {
	var records []coordinator.Record
	a.made = map[string]*roles{}
	shares := g.assign(a)
	for _, id := range slices.Sorted(maps.Keys(a.members)) {
		s := shares[id]
		made := &roles{active: s.Active, standby: s.Standby}
		if was := a.targets[id]; was == nil || !was.equal(made) {
			records = append(records, g.targetRecord(id, made))
		}
		a.made[id] = made
	}
	return append(records, g.targetEpochRecord(epoch, now.UnixMilli()))
}

// assign asks the assignor. While the topology is not ready nobody gets a task.
func (g *Group) assign(a *aiming) map[string]tasks.Share {
	if a.ready.wrong != nil {
		return nil
	}
	var parts []tasks.Subtopology
	for i := range a.topology.subtopologies {
		s := &a.topology.subtopologies[i]
		parts = append(parts, tasks.Subtopology{
			ID: s.SubtopologyID, Tasks: a.ready.tasks[s.SubtopologyID], Stateful: len(s.StateChangelogTopics) > 0,
		})
	}
	var members []tasks.Member
	for _, id := range slices.Sorted(maps.Keys(a.members)) {
		m := a.members[id]
		members = append(members, tasks.Member{
			ID: id, Process: m.process, Active: m.assigned.active, Standby: m.assigned.standby, Offsets: g.offsets[id].at,
		})
	}
	return tasks.Assign(members, parts, a.standbys)
}
