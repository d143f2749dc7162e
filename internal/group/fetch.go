package group

import (
	"context"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// OffsetFetch answers OffsetFetch (key 9) from what is committed. Null topics
// mean all. Of what the group never committed the offset is -1, without an
// error. Topics are taken by name; an id beside it is returned.
func (s *Service) OffsetFetch(_ context.Context, c Client, req *msg.OffsetFetchRequest) *msg.OffsetFetchResponse {
	resp := msg.NewOffsetFetchResponse()
	if c.Version >= 8 {
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, s.fetch(c, &req.Groups[i]))
		}
		return &resp
	}
	one := msg.OffsetFetchRequestGroup{GroupID: req.GroupID, MemberEpoch: -1}
	if req.Topics != nil {
		one.Topics = []msg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		one.Topics = append(one.Topics, msg.OffsetFetchRequestGroupTopic{Name: t.Name, PartitionIndexes: t.PartitionIndexes})
	}
	got := s.fetch(c, &one)
	resp.ErrorCode = got.ErrorCode
	for _, t := range got.Topics {
		old := msg.OffsetFetchResponseTopic{Name: t.Name}
		for _, p := range t.Partitions {
			old.Partitions = append(old.Partitions, msg.OffsetFetchResponseTopicPartition(p))
		}
		resp.Topics = append(resp.Topics, old)
	}
	return &resp
}

// fetch answers for one group.
func (s *Service) fetch(c Client, req *msg.OffsetFetchRequestGroup) msg.OffsetFetchResponseGroup {
	resp := msg.OffsetFetchResponseGroup{GroupID: req.GroupID}
	err := s.read(req.GroupID, func(sh *shard) error {
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
	if err == nil {
		return resp
	}
	resp.ErrorCode, resp.Topics = int16(code(err)), nil
	if c.Version < 2 { // which has no other place for it
		for _, t := range req.Topics {
			rt := msg.OffsetFetchResponseGroupTopic{Name: t.Name}
			for _, p := range t.PartitionIndexes {
				none := noOffset(p)
				none.ErrorCode = resp.ErrorCode
				rt.Partitions = append(rt.Partitions, none)
			}
			resp.Topics = append(resp.Topics, rt)
		}
	}
	return resp
}

// committed is the committed offset of one partition.
func (sh *shard) committed(group string, tp kafka.TopicPartition) msg.OffsetFetchResponseGroupTopicPartition {
	none := noOffset(tp.Partition)
	t := sh.offsets[group]
	if t == nil {
		return none
	}
	o, ok := t.Committed(tp)
	if !ok {
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
		if n := len(list); n == 0 || list[n-1].Name != tp.Topic {
			list = append(list, msg.OffsetFetchResponseGroupTopic{Name: tp.Topic})
		}
		last := &list[len(list)-1]
		last.Partitions = append(last.Partitions, sh.committed(group, tp))
	}
	return list
}
