package group

import (
	"maps"
	"math"
	"slices"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// pending are the offsets that were committed in transactions which are still
// open (KIP-98). They are in the log, so nobody's table has to be wound back:
// what becomes of them stands there too, in the marker.
//
// Of two commits of one partition the later one in the log counts, whichever
// transaction ends last: after compaction the log has only that one.
type pending struct {
	txns    map[int64]*openTxn        // by producer
	byGroup map[string]map[int64]bool // who has offsets of a group
}

// openTxn is what one producer's transaction has committed in this partition.
type openTxn struct {
	epoch  int16
	groups map[string]map[kafka.TopicPartition]pendingOffset
}

// pendingOffset is an offset with its place in the log.
type pendingOffset struct {
	offset
	at   int64 // where its record stands
	late bool  // a later commit of the partition counts already
}

func newPending() pending {
	return pending{txns: map[int64]*openTxn{}, byGroup: map[string]map[int64]bool{}}
}

// put takes a producer's offset in.
func (p *pending) put(who coordinator.Producer, group string, tp kafka.TopicPartition, o pendingOffset) {
	t := p.txns[who.ID]
	if t == nil {
		t = &openTxn{groups: map[string]map[kafka.TopicPartition]pendingOffset{}}
		p.txns[who.ID] = t
	}
	t.epoch = who.Epoch
	if t.groups[group] == nil {
		t.groups[group] = map[kafka.TopicPartition]pendingOffset{}
	}
	if p.byGroup[group] == nil {
		p.byGroup[group] = map[int64]bool{}
	}
	t.groups[group][tp] = o
	p.byGroup[group][who.ID] = true
}

// end takes a producer's transaction out.
func (p *pending) end(producer int64) *openTxn {
	t := p.txns[producer]
	if t == nil {
		return nil
	}
	delete(p.txns, producer)
	for group := range t.groups {
		p.leave(group, producer)
	}
	return t
}

func (p *pending) leave(group string, producer int64) {
	delete(p.byGroup[group], producer)
	if len(p.byGroup[group]) == 0 {
		delete(p.byGroup, group)
	}
}

// superseded notes that an offset counts whose record stands there in the log:
// what stands before it will not.
func (p *pending) superseded(group string, tp kafka.TopicPartition, at int64) {
	for producer := range p.byGroup[group] {
		of := p.txns[producer].groups[group]
		if o, ok := of[tp]; ok && o.at < at {
			o.late = true
			of[tp] = o
		}
	}
}

// drop forgets what is pending for a partition: its offset was deleted.
func (p *pending) drop(group string, tp kafka.TopicPartition) {
	for producer := range p.byGroup[group] {
		t := p.txns[producer]
		delete(t.groups[group], tp)
		if len(t.groups[group]) == 0 {
			delete(t.groups, group)
			p.leave(group, producer)
		}
	}
}

// has says whether an offset of the partition is pending.
func (p *pending) has(group string, tp kafka.TopicPartition) bool {
	for producer := range p.byGroup[group] {
		if _, ok := p.txns[producer].groups[group][tp]; ok {
			return true
		}
	}
	return false
}

// names says whether an offset is pending for a partition of the topic with this id.
func (p *pending) names(group string, tp kafka.TopicPartition, id kafka.UUID) bool {
	for producer := range p.byGroup[group] {
		if o, ok := p.txns[producer].groups[group][tp]; ok && o.TopicID == id {
			return true
		}
	}
	return false
}

// of says whether anything of a group is pending.
func (p *pending) of(group string) bool { return len(p.byGroup[group]) > 0 }

// partitions are those of a group that have something pending, in order.
func (p *pending) partitions(group string) []kafka.TopicPartition {
	found := map[kafka.TopicPartition]bool{}
	for producer := range p.byGroup[group] {
		for tp := range p.txns[producer].groups[group] {
			found[tp] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), kafka.TopicPartition.Compare)
}

// ongoing says whether a producer has a transaction of this epoch open here.
func (p *pending) ongoing(who coordinator.Producer) bool {
	t := p.txns[who.ID]
	return t != nil && t.epoch == who.Epoch
}

// late says that a marker is of an earlier transaction than the one that is open.
// With an epoch for each, what is open under the marker's own is the next one.
func (p *pending) late(m coordinator.Marker) bool {
	return m.Version >= 2 && m.ProducerEpoch < math.MaxInt16 && p.ongoing(coordinator.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch})
}

var _ coordinator.Observer = (*shard)(nil)

// ReplayTxn keeps an offset until its transaction ends. Whatever else stands in
// a transaction counts at once, as in Kafka, which writes only offsets so.
func (sh *shard) ReplayTxn(p coordinator.Producer, r coordinator.Record) error {
	key, err := state.ParseKey(state.Group, r.Key)
	k, ok := key.(*state.OffsetCommitKey)
	if err != nil || !ok || r.Value == nil {
		return sh.Replay(r)
	}
	o, err := parseOffset(r.Value)
	if err != nil {
		return sh.unknown(err)
	}
	sh.pending.put(p, k.Group, kafka.TopicPartition{Topic: k.Topic, Partition: k.Partition}, pendingOffset{offset: o, at: r.Offset})
	sh.confirmOffsets(k.Group)
	return nil
}

// Marker lets the offsets of a transaction count, or forgets them.
func (sh *shard) Marker(m coordinator.Marker) error {
	if g := sh.verified[m.ProducerID]; g != nil && g.voids(m) {
		delete(sh.verified, m.ProducerID)
	}
	t := sh.pending.end(m.ProducerID)
	if t == nil || !m.Commit {
		return nil
	}
	for _, group := range slices.Sorted(maps.Keys(t.groups)) {
		of := t.groups[group]
		for _, tp := range slices.SortedFunc(maps.Keys(of), kafka.TopicPartition.Compare) {
			if o := of[tp]; !o.late {
				sh.tableOf(group).Put(tp, &o.offset)
				sh.committed(1)
				sh.pending.superseded(group, tp, o.at)
			}
		}
		sh.confirmOffsets(group)
	}
	return nil
}
