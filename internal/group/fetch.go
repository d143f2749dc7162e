package group

import (
	"context"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Fetch answers one group's part of OffsetFetch (key 9) from what is committed.
// Null topics mean all. Of what the group never committed the offset is -1,
// without an error. Topics are taken by name; an id beside it is returned.
//
// Stable asks that a partition of which an open transaction has committed an
// offset be refused with UNSTABLE_OFFSET_COMMIT (KIP-447), and waits for what is
// on its way.
func (s *Service) Fetch(ctx context.Context, c Client, req *msg.OffsetFetchRequestGroup, stable bool) msg.OffsetFetchResponseGroup {
	resp := msg.OffsetFetchResponseGroup{GroupID: req.GroupID}
	look := func(sh *shard) error {
		if bad := sh.checkFetch(c, req); bad != kafka.None {
			return bad
		}
		if req.Topics == nil {
			resp.Topics = sh.allOffsets(req.GroupID, stable)
			return nil
		}
		for _, t := range req.Topics {
			rt := msg.OffsetFetchResponseGroupTopic{Name: t.Name, TopicID: t.TopicID}
			for _, p := range t.PartitionIndexes {
				rt.Partitions = append(rt.Partitions, sh.offsetOf(req.GroupID, kafka.TopicPartition{Topic: t.Name, Partition: p}, stable))
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return nil
	}
	var err error
	if stable {
		err = s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, _ *coordinator.Turn) error { return look(sh) })
	} else {
		err = s.rt.ReadFor(req.GroupID, look)
	}
	if err != nil {
		resp.ErrorCode, resp.Topics = int16(code(err)), nil
	}
	return resp
}

// checkFetch says whether a group that knows its members by epochs lets one of
// them, or somebody from outside, read.
func (sh *shard) checkFetch(c Client, req *msg.OffsetFetchRequestGroup) kafka.Code {
	g, ok := sh.kinds.Committed(req.GroupID)
	if !ok {
		return kafka.None
	}
	who := kind.Committer{Epoch: req.MemberEpoch, Version: c.Version}
	if req.MemberID != nil {
		who.Member, who.Named = *req.MemberID, true
	}
	return g.CheckFetch(who)
}

// offsetOf is the committed offset of one partition or, to one who asks for
// stable ones and so waits for the commit, the newest.
func (l *ledger) offsetOf(group string, tp kafka.TopicPartition, stable bool) msg.OffsetFetchResponseGroupTopicPartition {
	none := noOffset(tp.Partition)
	if stable && l.pending.has(group, tp) {
		none.ErrorCode = int16(kafka.UnstableOffsetCommit)
		return none
	}
	t := l.offsets[group]
	if t == nil {
		return none
	}
	o, ok := t.Committed(tp)
	if stable {
		o, ok = t.Get(tp)
	}
	if !ok || l.outlived(tp.Topic, o) {
		return none
	}
	return msg.OffsetFetchResponseGroupTopicPartition{
		PartitionIndex: tp.Partition, CommittedOffset: o.Offset, CommittedLeaderEpoch: o.LeaderEpoch, Metadata: &o.Metadata,
	}
}

func noOffset(partition int32) msg.OffsetFetchResponseGroupTopicPartition {
	return msg.OffsetFetchResponseGroupTopicPartition{
		PartitionIndex: partition, CommittedOffset: kafka.NoOffset, CommittedLeaderEpoch: kafka.NoEpoch, Metadata: new(""),
	}
}

// allOffsets lists what a group has committed, by topic and partition.
func (l *ledger) allOffsets(group string, stable bool) []msg.OffsetFetchResponseGroupTopic {
	var list []msg.OffsetFetchResponseGroupTopic
	t := l.offsets[group]
	if t == nil {
		return nil
	}
	keys, get := t.CommittedKeys, t.Committed
	if stable {
		keys, get = t.Keys, t.Get
	}
	for _, tp := range keys() {
		if o, _ := get(tp); l.outlived(tp.Topic, o) {
			continue
		}
		if n := len(list); n == 0 || list[n-1].Name != tp.Topic {
			list = append(list, msg.OffsetFetchResponseGroupTopic{Name: tp.Topic})
		}
		last := &list[len(list)-1]
		last.Partitions = append(last.Partitions, l.offsetOf(group, tp, stable))
	}
	return list
}

// outlived says that an offset belongs to a topic that was deleted, and that
// there is another of its name.
func (l *ledger) outlived(topic string, o *offset) bool {
	if l.cfg.TopicID == nil || o.TopicID.IsZero() {
		return false
	}
	id := l.cfg.TopicID(topic)
	return !id.IsZero() && id != o.TopicID
}
