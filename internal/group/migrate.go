package group

import (
	"errors"
	"strings"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/consumer"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// Migration is group.consumer.migration.policy: which way a group may go from
// one protocol to the other while it has members (KIP-848).
//
//	             first heartbeat of the consumer protocol
//	classic ────────────────────────────────────────────────▶ consumer
//	        ◀────────────────────────────────────────────────
//	             last member of the consumer protocol is gone
//
// In between, the members of the classic protocol are members of the consumer
// group: what they send is answered from its state.
type Migration struct{ Up, Down bool }

// ParseMigration reads the property, whose case does not matter.
func ParseMigration(policy string) Migration {
	switch strings.ToLower(policy) {
	case "upgrade":
		return Migration{Up: true}
	case "downgrade":
		return Migration{Down: true}
	case "disabled":
		return Migration{}
	}
	return Migration{Up: true, Down: true}
}

// hosting is the consumer group that takes in members of the classic protocol
// under this name; false if there is none, or none that has members.
func (sh *shard) hosting(t *coordinator.Turn, id string) (hosting, bool) {
	k, ok := sh.kinds.Get(id)
	if !ok || k.Empty() {
		return hosting{}, false
	}
	g, ok := k.(*consumer.Group)
	return hosting{sh, t, g}, ok
}

// hosting is a consumer group, in a turn, to which somebody speaks in the classic
// protocol.
type hosting struct {
	sh *shard
	t  *coordinator.Turn
	g  *consumer.Group
}

// join lets a member of the classic protocol join a consumer group.
func (h hosting) join(who consumer.Who, req *msg.JoinGroupRequest) (classic.Joined, error) {
	in := consumer.ClassicJoin{
		Member: req.MemberID, Instance: req.GroupInstanceID, ProtocolType: req.ProtocolType,
		Session: req.SessionTimeoutMs, Rebalance: req.RebalanceTimeoutMs, NeedsID: who.Version >= 4,
	}
	if who.Version == 0 {
		in.Rebalance = in.Session
	}
	for _, p := range req.Protocols {
		in.Protocols = append(in.Protocols, consumer.Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	out, step, err := h.g.JoinClassic(h.t.Now, who, &in)
	if errors.Is(err, kafka.MemberIDRequired) {
		h.t.Soft()
		return classic.Joined{Code: kafka.MemberIDRequired, Generation: kafka.NoGeneration, MemberID: out.Member}, nil
	}
	if err != nil {
		return classic.Joined{}, err
	}
	h.sh.followKind(h.t, h.g, step)
	return classic.Joined{
		Generation: out.Generation, ProtocolType: new(classic.ConsumerType), Protocol: &out.Protocol, MemberID: out.Member,
	}, nil
}

// sync answers SyncGroup in a consumer group, which need not wait for
// anybody.
func (h hosting) sync(req *msg.SyncGroupRequest) (classic.Synced, error) {
	who := kind.Committer{Member: req.MemberID, Instance: req.GroupInstanceID, Epoch: req.GenerationID}
	assignment, step, err := h.g.SyncClassic(h.t.Now, who, req.ProtocolType, req.ProtocolName)
	h.follow(step, err)
	return classic.Synced{ProtocolType: req.ProtocolType, Protocol: req.ProtocolName, Assignment: assignment}, err
}

// heartbeat keeps a classic member of a consumer group alive.
func (h hosting) heartbeat(req *msg.HeartbeatRequest) error {
	step, err := h.g.HeartbeatClassic(h.t.Now, kind.Committer{Member: req.MemberID, Instance: req.GroupInstanceID, Epoch: req.GenerationID})
	h.follow(step, err)
	return err
}

// follow follows what a member began that was let in, though perhaps to be
// told to join again.
func (h hosting) follow(step kind.Step, err error) {
	if err == nil || errors.Is(err, kafka.RebalanceInProgress) {
		h.sh.followKind(h.t, h.g, step)
	}
}

// leave takes classic members out of a consumer group.
func (h hosting) leave(who []classic.Identity) []kafka.Code {
	them := make([]kind.Committer, len(who))
	for i, w := range who {
		them[i] = kind.Committer{Member: w.MemberID, Instance: w.InstanceID}
	}
	errs, step := h.g.LeaveClassic(h.t.Now, them)
	h.sh.followKind(h.t, h.g, step)
	codes := make([]kafka.Code, len(errs))
	for i, err := range errs {
		codes[i] = code(err)
	}
	return codes
}

// upgrade makes a consumer group of a classic one that has members. The group
// comes as its records will make it, so that the heartbeat that asked for it can
// be decided on; it counts when they are appended.
//
// Errors: GROUP_ID_NOT_FOUND.
func (sh *shard) upgrade(t *coordinator.Turn, old *classic.Group) (kind.Group, error) {
	id := old.ID()
	refuse := func(why string) error {
		return kind.Refuse(kafka.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because %s.", id, why)
	}
	s := old.Snapshot()
	switch most := sh.cfg.Consumer.MaxSize; {
	case !sh.cfg.Migration.Up:
		return nil, refuse("online upgrade is disabled")
	case old.ProtocolType() != classic.ConsumerType:
		return nil, refuse("the group does not use the consumer embedded protocol")
	case most > 0 && len(s.Members) > most:
		return nil, refuse("the group size exceeds the consumer group maximum size")
	}
	records, err := consumer.Upgrade(&sh.cfg.Consumer, converted(id, &s))
	if err != nil {
		return nil, err
	}
	g := sh.newKind(kind.Consumer, id)
	for _, r := range records {
		key, err := state.ParseKey(state.Group, r.Key)
		if err == nil {
			err = g.Replay(key, r.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	t.Delete(groupKey(id))
	for _, r := range records {
		t.Put(r.Key, r.Value)
	}
	sh.quiet(t, id)
	sh.followKind(t, g, g.Loaded(t.Now))
	sh.bornKind, sh.ahead = g, len(records)
	return g, nil
}

// converted is a classic group on its way up.
func converted(id string, s *classic.Snapshot) consumer.Converted {
	c := consumer.Converted{Group: id, Generation: s.Generation}
	if s.Protocol != nil {
		c.Protocol = *s.Protocol
	}
	for i := range s.Members {
		m := &s.Members[i]
		cm := consumer.ConvertedMember{
			ID: m.ID, Instance: m.Instance, ClientID: m.ClientID, ClientHost: m.ClientHost,
			Rebalance:  int32(m.Rebalance.Milliseconds()),
			Assignment: m.Assignment, Classic: consumer.Classic{Session: int32(m.Session.Milliseconds())},
		}
		for _, p := range m.Protocols {
			cm.Classic.Protocols = append(cm.Classic.Protocols, consumer.Protocol(p))
		}
		c.Members = append(c.Members, cm)
	}
	return c
}

// downgrade makes a classic group of the members of a consumer group, of which
// none speaks its protocol any more. The group's own tombstones go before the
// records.
func (sh *shard) downgrade(now time.Time, c consumer.Converted) ([]coordinator.Record, bool) {
	if !sh.cfg.Migration.Down || len(c.Members) == 0 || len(c.Members) > sh.cfg.Limits.MaxSize {
		return nil, false
	}
	members := make([]classic.MemberSnapshot, len(c.Members))
	for i, m := range c.Members {
		members[i] = classic.MemberSnapshot{
			ID: m.ID, Instance: m.Instance, ClientID: m.ClientID, ClientHost: m.ClientHost, Rebalance: millis(m.Rebalance),
			Session: millis(m.Classic.Session), Assignment: m.Assignment,
		}
		for _, p := range m.Classic.Protocols {
			members[i].Protocols = append(members[i].Protocols, classic.Protocol(p))
		}
	}
	g, step := classic.Convert(c.Group, &sh.cfg.Limits, now, &classic.Snapshot{
		ProtocolType: classic.ConsumerType, Generation: c.Generation, Leader: &members[0].ID, Since: now, Members: members,
	}, c.Rebalance)
	s := g.Snapshot()
	if c.Rebalance { // in memory alone, it would end with this coordinator
		s.Due()
	}
	sh.born, sh.bornStep = g, step
	return []coordinator.Record{{Key: groupKey(c.Group), Value: marshalGroup(&s)}}, true
}

// followDowngrade does what the classic group asks for that a consumer group has
// just become.
func (sh *shard) followDowngrade(t *coordinator.Turn, id string) {
	g := sh.born
	if g == nil || g.ID() != id {
		return
	}
	sh.follow(t, g, sh.bornStep)
	sh.bornStep = classic.Step{}
	t.After(func(m coordinator.Machine, t *coordinator.Turn, err error) {
		t.Soft()
		if sh := m.(*shard); err != nil && sh.born == g { // it never came to be
			sh.born = nil
		}
	})
}
