package group

import (
	"context"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// kindKey is the part of a record's key that all kinds have: whose record it is.
type kindKey struct {
	kind  kind.Type
	group string
	whole bool // without this record there is no group
}

// keyOf says of which kind of group a key is; false for those of the shard
// itself.
func keyOf(key any) (kindKey, bool) {
	switch k := key.(type) {
	case *state.ConsumerGroupMetadataKey:
		return kindKey{kind.Consumer, k.GroupID, true}, true
	case *state.ConsumerGroupPartitionMetadataKey:
		return kindKey{kind.Consumer, k.GroupID, false}, true
	case *state.ConsumerGroupMemberMetadataKey:
		return kindKey{kind.Consumer, k.GroupID, false}, true
	case *state.ConsumerGroupTargetAssignmentMetadataKey:
		return kindKey{kind.Consumer, k.GroupID, false}, true
	case *state.ConsumerGroupTargetAssignmentMemberKey:
		return kindKey{kind.Consumer, k.GroupID, false}, true
	case *state.ConsumerGroupCurrentMemberAssignmentKey:
		return kindKey{kind.Consumer, k.GroupID, false}, true
	case *state.ConsumerGroupRegularExpressionKey:
		return kindKey{kind.Consumer, k.GroupID, false}, true
	case *state.ShareGroupMetadataKey:
		return kindKey{kind.Share, k.GroupID, true}, true
	case *state.ShareGroupMemberMetadataKey:
		return kindKey{kind.Share, k.GroupID, false}, true
	case *state.ShareGroupTargetAssignmentMetadataKey:
		return kindKey{kind.Share, k.GroupID, false}, true
	case *state.ShareGroupTargetAssignmentMemberKey:
		return kindKey{kind.Share, k.GroupID, false}, true
	case *state.ShareGroupCurrentMemberAssignmentKey:
		return kindKey{kind.Share, k.GroupID, false}, true
	case *state.ShareGroupStatePartitionMetadataKey:
		return kindKey{kind.Share, k.GroupID, false}, true
	default:
		return streamsKey(key)
	}
}

func streamsKey(key any) (kindKey, bool) {
	switch k := key.(type) {
	case *state.StreamsGroupMetadataKey:
		return kindKey{kind.Streams, k.GroupID, true}, true
	case *state.StreamsGroupMemberMetadataKey:
		return kindKey{kind.Streams, k.GroupID, false}, true
	case *state.StreamsGroupTargetAssignmentMetadataKey:
		return kindKey{kind.Streams, k.GroupID, false}, true
	case *state.StreamsGroupTargetAssignmentMemberKey:
		return kindKey{kind.Streams, k.GroupID, false}, true
	case *state.StreamsGroupCurrentMemberAssignmentKey:
		return kindKey{kind.Streams, k.GroupID, false}, true
	case *state.StreamsGroupTopologyKey:
		return kindKey{kind.Streams, k.GroupID, false}, true
	}
	return kindKey{}, false
}

// replayKind applies a record of a group of one of the kinds, and makes the
// group if this is its first. A tombstone of what is not there is one that
// outlived what it deleted.
func (sh *shard) replayKind(at kindKey, key any, value []byte) error {
	g, ok := sh.kinds.Get(at.group)
	if ok && g.Type() != at.kind {
		if value == nil {
			return nil
		}
		ok = false // the name was given anew, and the old group's end compacted away
	}
	switch {
	case !ok && value == nil:
		return nil
	case !ok:
		if g = sh.newKind(at.kind, at.group); g == nil {
			sh.cfg.Logger.Warn("a record in "+kafka.OffsetsTopic+" is of a kind of group that this build does not have",
				"kind", at.kind, "group", at.group)
			return nil
		}
		sh.kinds.Put(at.group, g)
		delete(sh.loading, at.group)
		sh.dropClassic(at.group)
	}
	if sh.ahead > 0 {
		sh.ahead-- // the turn at work has applied it to decide on what follows, see upgrade
	} else if err := g.Replay(key, value); err != nil {
		return err
	}
	if at.whole && value == nil {
		sh.kinds.Delete(at.group)
	}
	return nil
}

// newKind makes a group, or takes the one that the turn at work has made; nil if
// there is no such kind.
func (sh *shard) newKind(typ kind.Type, id string) kind.Group {
	if g := sh.bornKind; g != nil && g.ID() == id && g.Type() == typ {
		sh.bornKind = nil
		return g
	}
	if build := sh.makers[typ]; build != nil {
		return build(id)
	}
	return nil
}

// dropClassic ends the classic group of this name, which has no members: its
// tombstone stands in the same batch.
func (sh *shard) dropClassic(id string) {
	if g, ok := sh.groups.Get(id); ok {
		g.Kill()
		sh.groups.Delete(id)
	}
}

// host finds the group for a decision, or makes one if create is true. A classic
// group without members gives way to a consumer or a streams group, as in Kafka;
// with members it may become a consumer group.
//
// Errors: GROUP_ID_NOT_FOUND.
func (sh *shard) host(t *coordinator.Turn, id string, typ kind.Type, create bool) (kind.Group, error) {
	sh.bornKind, sh.ahead = nil, 0
	if g, ok := sh.kinds.Get(id); ok {
		if g.Type() != typ {
			return nil, notOfKind(id, typ)
		}
		return g, nil
	}
	old, ok := sh.groups.Get(id)
	switch {
	case !create:
		if ok {
			return nil, notOfKind(id, typ)
		}
		return nil, notFound(id)
	case ok && old.State() != classic.Empty && typ == kind.Consumer:
		return sh.upgrade(t, old)
	case ok && (old.State() != classic.Empty || typ == kind.Share):
		return nil, notOfKind(id, typ)
	case ok:
		t.Delete(groupKey(id))
		sh.quiet(t, id)
	}
	g := sh.newKind(typ, id)
	if g == nil {
		return nil, kafka.UnsupportedVersion
	}
	sh.bornKind = g
	return g, nil
}

// notOfKind is what is said of a group whose name is that of another kind.
func notOfKind(id string, typ kind.Type) error {
	return kind.Refuse(kafka.GroupIDNotFound, "Group %s is not a %s group.", id, typ)
}

func notFound(id string) error { return kind.Refuse(kafka.GroupIDNotFound, "Group %s not found.", id) }

// followKind does what a step of a group asks for.
func (sh *shard) followKind(t *coordinator.Turn, g kind.Group, step kind.Step) {
	sh.stats.follow(t.Now, g.Type(), &step)
	for _, m := range step.Gone {
		sh.cfg.Logger.Info("a member is out of its group", "group", g.ID(), "kind", g.Type(), "member", m.Member,
			"client", m.ClientID, "why", m.Why)
	}
	for _, r := range step.Records {
		t.Put(r.Key, r.Value)
	}
	sh.wake(t, g.ID(), step.Wake)
	sh.followDowngrade(t, g.ID())
}

// end deletes a group of a kind, which has no members.
func (sh *shard) end(t *coordinator.Turn, g kind.Group) {
	for _, r := range g.Tombstones() {
		t.Put(r.Key, r.Value)
	}
	sh.quiet(t, g.ID())
}

// wake sets a group's alarm; a zero time drops it.
func (sh *shard) wake(t *coordinator.Turn, id string, at time.Time) {
	switch was, ok := sh.armed[id]; {
	case at.IsZero() && ok:
		sh.quiet(t, id)
	case at.IsZero() || ok && was.Equal(at):
	default:
		sh.armed[id] = at
		t.Wake(groupAlarm+id, at)
	}
}

// quiet drops a group's alarm.
func (sh *shard) quiet(t *coordinator.Turn, id string) {
	delete(sh.armed, id)
	t.Quiet(groupAlarm + id)
}

// decide runs f on a group of a kind and returns when what it wants is
// committed. If create is true a group that is not there is made, and a classic
// one of the name that has no members, such as one of offsets only, gives way;
// it is f's records that make the group.
//
// Errors: GROUP_ID_NOT_FOUND, if the group is not there or of another kind, f's
// own, and those of the runtime. f runs at most once, and its error appends
// nothing.
func (s *Service) decide(ctx context.Context, id string, typ kind.Type, create bool, f kindDecision) error {
	return s.rt.WriteFor(ctx, id, func(sh *shard, t *coordinator.Turn) error {
		if _, ok := sh.find(id); !ok && !create {
			name := string(typ)
			return kind.Refuse(kafka.GroupIDNotFound, "%s group %s not found.", strings.ToUpper(name[:1])+name[1:], id)
		}
		g, err := sh.host(t, id, typ, create)
		if err != nil {
			return err
		}
		step, err := f(g, t.Now, s.cfg.topics())
		if err != nil {
			return err
		}
		sh.followKind(t, g, step)
		return nil
	})
}

// kindDecision decides on a group's newest state.
type kindDecision func(g kind.Group, now time.Time, topics kind.Topics) (kind.Step, error)

// look shows a group of a kind to f, which must not change it, and returns when
// all that f could see is committed. Errors: GROUP_ID_NOT_FOUND, f's own, and
// those of the runtime.
func (s *Service) look(ctx context.Context, id string, typ kind.Type, f func(g kind.Group, topics kind.Topics) error) error {
	return s.rt.WriteFor(ctx, id, func(sh *shard, t *coordinator.Turn) error {
		g, err := sh.host(t, id, typ, false)
		if err != nil {
			return err
		}
		return f(g, s.cfg.topics())
	})
}
