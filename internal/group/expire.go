package group

import (
	"maps"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
)

// expire deletes offsets that nobody has needed for the retention time
// (KIP-211), and groups that have nothing left:
//
//	a group without members    counts from when the last one left
//	a consumer group           topics nobody subscribes to, from their commit
//	a group never joined       from the commit
//	groups of other kinds      topics nobody reads, from their commit
//	other groups with members  never
//
// A commit that asked for a time of its own (version 4 and below) has that. An
// offset of a topic that was deleted and made again goes at once. What an open
// transaction has committed stays, and with it the group.
func (sh *shard) expire(t *coordinator.Turn) {
	left, now := tombstonesATurn, t.Now
	if sh.cfg.Safe != nil {
		now = sh.cfg.Safe(now)
	}
	for _, id := range sh.groupIDs() {
		g, ok := sh.find(id)
		if !ok {
			sh.tidy(id)
			continue
		}
		kept := 0
		if offsets := sh.offsets[id]; offsets != nil {
			kept = offsets.Len()
			for _, tp := range offsets.Keys() {
				o, _ := offsets.Get(tp)
				if left > 0 && sh.expired(g, tp, o, now) && !sh.pending.has(id, tp) {
					t.Delete(offsetKey(id, tp))
					sh.stats.Expired.Add(1)
					kept--
					left--
				}
			}
			sh.tidy(id)
		}
		if kept == 0 && g.empty() && g.typ() != kind.Share && !sh.pending.of(id) && left > 0 {
			sh.remove(t, id, g)
			left--
		}
		if left == 0 { // the rest at once, in the next turn
			t.Wake(expireAlarm, t.Now)
			return
		}
	}
	t.Wake(expireAlarm, t.Now.Add(sh.cfg.CheckEvery))
}

// tidy drops a group's table of offsets when there is nothing in it, nor was as far
// as is committed.
func (sh *shard) tidy(id string) {
	if offsets := sh.offsets[id]; offsets != nil && offsets.Idle() {
		delete(sh.offsets, id)
	}
}

// groupIDs are all ids that have a group or a table of offsets.
func (sh *shard) groupIDs() []string {
	ids := append(sh.groups.Keys(), sh.kinds.Keys()...)
	for _, id := range slices.Sorted(maps.Keys(sh.offsets)) {
		if _, ok := sh.find(id); !ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func (sh *shard) expired(g anyGroup, tp kafka.TopicPartition, o *offset, now time.Time) bool {
	from := time.UnixMilli(o.Committed)
	c := g.classic
	switch {
	case sh.outlived(tp.Topic, o):
		return true
	case g.subscribed(tp.Topic):
		return false
	case c == nil || c.ProtocolType() == "":
	case c.State() == classic.Empty:
		if !c.Since().IsZero() {
			from = c.Since()
		}
	case c.State() == classic.Stable && c.ProtocolType() == classic.ConsumerType:
	default:
		return false
	}
	if o.Expires != -1 {
		return now.UnixMilli() >= o.Expires
	}
	return now.Sub(from) >= sh.cfg.Retention
}
