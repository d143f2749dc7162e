package group

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// shard is the state of one partition of __consumer_offsets.
//
// Of a group, the log knows only its last complete generation; a [classic.Group]
// knows also who is joining right now. That part lives in memory and is lost
// with the coordinator, and its members join again.
type shard struct {
	cfg    *Config
	stats  *Stats
	groups *coordinator.Table[string, *classic.Group]
	kinds  *coordinator.Table[string, kind.Group] // the other kinds; no id is in both
	ledger

	loading  map[string]*classic.Snapshot // what the log says so far, nil of a group with offsets only; nil when loaded
	born     *classic.Group               // made by the turn at work, whose record is not replayed yet
	bornStep classic.Step                 // what it asks for, if it was a consumer group
	bornKind kind.Group                   // the same, of another kind
	ahead    int                          // how many of its records it has already
	makers   map[kind.Type]func(id string) kind.Group
	armed    map[string]time.Time // group -> its alarm
	verified map[int64]*guard     // by producer, until its next marker

	drawn classic.Ticket
	joins map[classic.Ticket]chan<- classic.Joined
	syncs map[classic.Ticket]chan<- classic.Synced
}

func newShard(all *Config, stats *Stats, tl *coordinator.Timeline) *shard {
	cfg := new(*all)
	sh := &shard{
		cfg:     cfg,
		stats:   stats,
		groups:  coordinator.NewTable[string, *classic.Group](tl, strings.Compare),
		kinds:   coordinator.NewTable[string, kind.Group](tl, strings.Compare),
		ledger:  ledger{cfg: cfg, tl: tl, offsets: map[string]offsets{}, pending: newPending()},
		loading: map[string]*classic.Snapshot{},
		armed:   map[string]time.Time{},

		verified: map[int64]*guard{},
		joins:    map[classic.Ticket]chan<- classic.Joined{},
		syncs:    map[classic.Ticket]chan<- classic.Synced{},
	}
	cfg.Consumer.NoClassic = cfg.Migration == Migration{}
	cfg.Consumer.Downgrade = sh.downgrade
	sh.makers = constructors(cfg)
	return sh
}

// Replay applies one record. Types and versions of a newer Kafka are passed
// over, as Kafka does (KIP-915).
func (sh *shard) Replay(r coordinator.Record) error {
	key, err := state.ParseKey(state.Group, r.Key)
	if err != nil {
		return sh.unknown(err)
	}
	switch k := key.(type) {
	case *state.OffsetCommitKey:
		err = sh.replayOffset(k.Group, kafka.TopicPartition{Topic: k.Topic, Partition: k.Partition}, r)
	case *state.LegacyOffsetCommitKey:
		err = sh.replayOffset(k.Group, kafka.TopicPartition{Topic: k.Topic, Partition: k.Partition}, r)
	case *state.GroupMetadataKey:
		err = sh.replayGroup(k.Group, r.Value)
	default:
		if at, ok := keyOf(key); ok {
			err = sh.replayKind(at, key, r.Value)
		}
	}
	return sh.unknown(err)
}

// unknown lets an error pass that only says that a newer Kafka wrote a record.
func (sh *shard) unknown(err error) error {
	if errors.Is(err, state.ErrUnknown) {
		sh.cfg.Logger.Warn("a record in "+kafka.OffsetsTopic+" is not understood and left alone", "err", err)
		return nil
	}
	return err
}

func (sh *shard) replayOffset(group string, tp kafka.TopicPartition, r coordinator.Record) error {
	if r.Value == nil {
		if t := sh.offsets[group]; t != nil {
			t.Delete(tp)
		}
		sh.pending.drop(group, tp)
		return nil
	}
	o, err := parseOffset(r.Value)
	if err != nil {
		return err
	}
	sh.tableOf(group).Put(tp, &o)
	sh.committed(1)
	sh.pending.superseded(group, tp, r.Offset)
	sh.confirmOffsets(group)
	return nil
}

// committed counts offsets that were just committed.
func (sh *shard) committed(n int) {
	if sh.loading == nil {
		sh.stats.Commits.Add(int64(n))
	}
}

// confirmOffsets sees to it that there is a group to which offsets belong.
func (sh *shard) confirmOffsets(group string) {
	if _, ok := sh.kinds.Get(group); ok {
		return
	}
	if sh.loading == nil {
		sh.confirm(group)
	} else if _, ok := sh.loading[group]; !ok {
		sh.loading[group] = nil
	}
}

func (sh *shard) replayGroup(group string, value []byte) error {
	if value == nil {
		delete(sh.loading, group)
		if g, ok := sh.groups.Get(group); ok {
			sh.answer(g.Close(kafka.RebalanceInProgress)) // who waits finds a group of another kind
			g.Kill()
			sh.groups.Delete(group)
		}
		return nil
	}
	s, err := parseGroup(value)
	if err != nil {
		return err
	}
	if _, ok := sh.kinds.Get(group); ok { // one of another kind gave way
		sh.kinds.Delete(group)
	}
	if sh.loading != nil {
		sh.loading[group] = s
		return nil
	}
	sh.confirm(group) // which is the state that the record was made of
	return nil
}

// confirm sees to it that a group exists for which a record was just appended.
func (sh *shard) confirm(id string) {
	if _, ok := sh.groups.Get(id); ok {
		return
	}
	if sh.born == nil || sh.born.ID() != id {
		sh.born = classic.New(id, &sh.cfg.Limits, sh.cfg.Now())
	}
	sh.groups.Put(id, sh.born)
	sh.born = nil
}

// Loaded makes groups of what the log says, and starts their clocks.
func (sh *shard) Loaded(t *coordinator.Turn) {
	for _, id := range slices.Sorted(maps.Keys(sh.loading)) {
		s := sh.loading[id]
		if s == nil {
			sh.groups.Put(id, classic.New(id, &sh.cfg.Limits, t.Now))
			continue
		}
		g, step := classic.Restore(id, &sh.cfg.Limits, t.Now, s)
		sh.groups.Put(id, g)
		sh.follow(t, g, step)
	}
	sh.loading = nil
	for _, id := range sh.kinds.Keys() {
		g, _ := sh.kinds.Get(id)
		sh.followKind(t, g, g.Loaded(t.Now))
	}
	t.Wake(expireAlarm, t.Now.Add(sh.cfg.CheckEvery))
}

// Alarms are the one that looks for expired offsets, and one for each group that
// waits for something.
const (
	expireAlarm = "expire"
	groupAlarm  = "group "
)

// Alarm lets time pass for a group, or for the offsets.
func (sh *shard) Alarm(name string, t *coordinator.Turn) {
	t.Soft()
	if name == expireAlarm {
		sh.expire(t)
		return
	}
	id := strings.TrimPrefix(name, groupAlarm)
	delete(sh.armed, id)
	if g, ok := sh.groups.Get(id); ok {
		sh.follow(t, g, g.Tick(t.Now))
	} else if g, ok := sh.kinds.Get(id); ok {
		sh.followKind(t, g, g.Tick(t.Now))
	}
}

// Closed tells all who wait to look for the coordinator elsewhere.
func (sh *shard) Closed(why error) {
	for _, id := range sh.groups.Keys() {
		g, _ := sh.groups.Get(id)
		sh.answer(g.Close(code(why)))
	}
}

// create makes a group that the log is told of in this turn.
func (sh *shard) create(t *coordinator.Turn, id string) *classic.Group {
	g := classic.New(id, &sh.cfg.Limits, t.Now)
	s := g.Snapshot()
	t.Put(groupKey(id), marshalGroup(&s))
	t.After(func(m coordinator.Machine, t *coordinator.Turn, err error) {
		t.Soft()
		if err != nil { // it never came to be
			m.(*shard).answer(g.Close(code(err)))
		}
	})
	sh.born = g
	return g
}

// follow does what a group's step asks for.
func (sh *shard) follow(t *coordinator.Turn, g *classic.Group, step classic.Step) {
	sh.answer(step)
	for _, m := range step.Gone {
		sh.cfg.Logger.Info("a member is out of its group", "group", g.ID(), "member", m.Member, "client", m.ClientID,
			"why", m.Why, "left", m.Left)
		if m.Expired {
			sh.stats.Classic.Sessions.Add(1)
		}
	}
	if s := step.Store; s != nil {
		if s.Rebalanced() {
			sh.stats.Classic.rebalanced(t.Now)
		}
		t.Put(groupKey(g.ID()), marshalGroup(&s.Snapshot))
		t.After(func(m coordinator.Machine, t *coordinator.Turn, err error) {
			t.Soft()
			m.(*shard).follow(t, g, g.Persisted(t.Now, s, code(err)))
		})
	}
	sh.wake(t, g.ID(), step.Wake)
}

// answer sends answers to the requests that wait for them. Their channels have
// room for it.
func (sh *shard) answer(step classic.Step) {
	for _, a := range step.Joins {
		if ch, ok := sh.joins[a.Ticket]; ok {
			delete(sh.joins, a.Ticket)
			ch <- a.Joined
		}
	}
	for _, a := range step.Syncs {
		if ch, ok := sh.syncs[a.Ticket]; ok {
			delete(sh.syncs, a.Ticket)
			ch <- a.Synced
		}
	}
}
