package group

import (
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Fetch answers one group's part of OffsetFetch (key 9) from what is committed.
// Null topics mean all. Of what the group never committed the offset is -1,
// without an error. Topics are taken by name; an id beside it is returned.
func (s *Service) Fetch(c Client, req *msg.OffsetFetchRequestGroup) msg.OffsetFetchResponseGroup {
	resp := msg.OffsetFetchResponseGroup{GroupID: req.GroupID}
	err := s.read(req.GroupID, func(sh *shard) error {
		if bad := sh.checkFetch(c, req); bad != kafka.None {
			return bad
		}
		if req.Topics == nil {
			resp.Topics = sh.allOffsets(req.GroupID)
			return nil
		}
		for _, t := range req.Topics {
			rt := msg.OffsetFetchResponseGroupTopic{Name: t.Name, TopicID: t.TopicID}
			for _, p := range t.PartitionIndexes {
				rt.Partitions = append(rt.Partitions, sh.committed(req.GroupID, kafka.TopicPartition{Topic: t.Name, Partition: p}))
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return nil
	})
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
		who.Member = *req.MemberID
	}
	return g.CheckFetch(who)
}

// committed is the committed offset of one partition.
func (sh *shard) committed(group string, tp kafka.TopicPartition) msg.OffsetFetchResponseGroupTopicPartition {
	none := noOffset(tp.Partition)
	t := sh.offsets[group]
	if t == nil {
		return none
	}
	o, ok := t.Committed(tp)
	if !ok || sh.outlived(tp.Topic, &o) {
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
func (sh *shard) allOffsets(group string) []msg.OffsetFetchResponseGroupTopic {
	var list []msg.OffsetFetchResponseGroupTopic
	t := sh.offsets[group]
	if t == nil {
		return nil
	}
	for _, tp := range t.CommittedKeys() {
		if o, _ := t.Committed(tp); sh.outlived(tp.Topic, &o) {
			continue
		}
		if n := len(list); n == 0 || list[n-1].Name != tp.Topic {
			list = append(list, msg.OffsetFetchResponseGroupTopic{Name: tp.Topic})
		}
		last := &list[len(list)-1]
		last.Partitions = append(last.Partitions, sh.committed(group, tp))
	}
	return list
}

// outlived says that an offset belongs to a topic that was deleted, and that
// there is another of its name.
func (sh *shard) outlived(topic string, o *offset) bool {
	if sh.cfg.TopicID == nil || o.TopicID.IsZero() {
		return false
	}
	id := sh.cfg.TopicID(topic)
	return !id.IsZero() && id != o.TopicID
}
