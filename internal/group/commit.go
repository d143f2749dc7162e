package group

import (
	"context"
	"unicode/utf16"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// OffsetCommit answers OffsetCommit (key 8). Topics are taken by name; an id
// beside it is stored with the offset.
func (s *Service) OffsetCommit(ctx context.Context, c Client, req *msg.OffsetCommitRequest) *msg.OffsetCommitResponse {
	resp := msg.NewOffsetCommitResponse()
	var bad kafka.Code
	var codes [][]kafka.Code // by topic and partition
	err := s.write(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		if bad = sh.checkCommit(t, c, req); bad != kafka.None {
			t.Soft()
			return nil
		}
		codes = sh.commit(t, req)
		return nil
	})
	if err != nil {
		bad = commitCode(err)
	}
	for i, topic := range req.Topics {
		rt := msg.OffsetCommitResponseTopic{Name: topic.Name, TopicID: topic.TopicID}
		for j, p := range topic.Partitions {
			code := bad
			if bad == kafka.None {
				code = codes[i][j]
			}
			rt.Partitions = append(rt.Partitions, msg.OffsetCommitResponseTopicPartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: int16(code),
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return &resp
}

// commitCode is what a committer is told of an error of the runtime or its log.
func commitCode(err error) kafka.Code {
	switch kafka.CodeOf(err) {
	case kafka.MessageTooLarge, kafka.RecordListTooLarge, kafka.InvalidFetchSize:
		return kafka.InvalidCommitOffsetSize
	}
	return code(err)
}

// checkCommit says whether the group lets this commit in.
func (sh *shard) checkCommit(t *coordinator.Turn, c Client, req *msg.OffsetCommitRequest) kafka.Code {
	g, ok := sh.groups.Get(req.GroupID)
	k, other := sh.kinds.Get(req.GroupID)
	switch {
	case other:
		return k.CheckCommit(kind.Committer{
			Member: req.MemberID, Instance: req.GroupInstanceID, Epoch: req.GenerationIDOrMemberEpoch, Version: c.Version,
		})
	case ok:
		bad, step := g.CheckCommit(t.Now, classic.Identity{
			MemberID: req.MemberID, InstanceID: req.GroupInstanceID, Generation: req.GenerationIDOrMemberEpoch,
		})
		sh.follow(t, g, step)
		return bad
	case req.GenerationIDOrMemberEpoch < 0:
		return kafka.None // from outside: the offset makes the group
	case c.Version >= 9:
		return kafka.GroupIDNotFound
	default:
		return kafka.IllegalGeneration
	}
}

// commit puts the records of a commit.
func (sh *shard) commit(t *coordinator.Turn, req *msg.OffsetCommitRequest) [][]kafka.Code {
	now := t.Now.UnixMilli()
	codes := make([][]kafka.Code, len(req.Topics))
	for i := range req.Topics {
		topic := &req.Topics[i]
		codes[i] = make([]kafka.Code, len(topic.Partitions))
		for j := range topic.Partitions {
			p := &topic.Partitions[j]
			o := offset{
				Offset: p.CommittedOffset, LeaderEpoch: p.CommittedLeaderEpoch,
				Committed: now, Expires: -1, TopicID: topic.TopicID,
			}
			if p.CommittedMetadata != nil {
				o.Metadata = *p.CommittedMetadata
			}
			if utf16Len(o.Metadata) > sh.cfg.MetadataMax {
				codes[i][j] = kafka.OffsetMetadataTooLarge
				continue
			}
			if req.RetentionTimeMs != -1 {
				o.Expires = now + req.RetentionTimeMs
			}
			t.Put(offsetKey(req.GroupID, kafka.TopicPartition{Topic: topic.Name, Partition: p.PartitionIndex}), o.marshal())
		}
	}
	return codes
}

// utf16Len is the length by which Kafka, which keeps strings in UTF-16, bounds
// them.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}
