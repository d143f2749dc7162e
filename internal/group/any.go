package group

import (
	"slices"
	"strings"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// anyGroup is a group of whatever kind, as those see it who care for offsets and
// for the end of groups. One of the two is set.
type anyGroup struct {
	classic *classic.Group
	kind    kind.Group
}

// find is the newest state of a group.
func (sh *shard) find(id string) (anyGroup, bool) {
	if g, ok := sh.groups.Get(id); ok && g.State() != classic.Dead {
		return anyGroup{classic: g}, true
	}
	if g, ok := sh.kinds.Get(id); ok {
		return anyGroup{kind: g}, true
	}
	return anyGroup{}, false
}

// findCommitted is a group whose existence is committed.
func (sh *shard) findCommitted(id string) (anyGroup, bool) {
	if g, ok := sh.groups.Committed(id); ok {
		return anyGroup{classic: g}, true
	}
	if g, ok := sh.kinds.Committed(id); ok {
		return anyGroup{kind: g}, true
	}
	return anyGroup{}, false
}

// committedIDs are the ids of all groups whose existence is committed, in order.
func (sh *shard) committedIDs() []string {
	ids := append(sh.groups.CommittedKeys(), sh.kinds.CommittedKeys()...)
	slices.SortFunc(ids, strings.Compare)
	return slices.Compact(ids)
}

func (g anyGroup) typ() kind.Type {
	if g.kind != nil {
		return g.kind.Type()
	}
	return kind.Classic
}

func (g anyGroup) state() string {
	if g.kind != nil {
		return g.kind.State()
	}
	return g.classic.State().String()
}

// protocolType is what ListGroups calls so; it is the kind's name but for
// classic groups.
func (g anyGroup) protocolType() string {
	if g.kind != nil {
		return string(g.kind.Type())
	}
	return g.classic.ProtocolType()
}

func (g anyGroup) empty() bool {
	if g.kind != nil {
		return g.kind.Empty()
	}
	return g.classic.State() == classic.Empty
}

func (g anyGroup) subscribed(topic string) bool {
	if g.kind != nil {
		return g.kind.Subscribed(topic)
	}
	return g.classic.Subscribed(topic)
}

// checkOffsetDelete says whether offsets of topics that nobody reads may be
// deleted. Share groups have none of that kind.
func (g anyGroup) checkOffsetDelete() error {
	if g.kind != nil && g.kind.Type() == kind.Share {
		return kafka.GroupIDNotFound
	}
	c := g.classic
	if c != nil && c.State() != classic.Empty && c.ProtocolType() != classic.ConsumerType {
		return kafka.NonEmptyGroup
	}
	return nil
}

// remove deletes a group, which is empty and has no offsets any more.
func (sh *shard) remove(t *coordinator.Turn, id string, g anyGroup) {
	if g.kind != nil {
		sh.end(t, g.kind)
		return
	}
	t.Delete(groupKey(id))
	sh.quiet(t, id)
}
