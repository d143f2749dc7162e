package group

import (
	"context"
	"unicode/utf16"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/group/classic"
	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/invariant"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// OffsetCommit answers OffsetCommit (key 8). Topics are taken by name; an id
// beside it is stored with the offset.
func (s *Service) OffsetCommit(ctx context.Context, c Client, req *msg.OffsetCommitRequest) *msg.OffsetCommitResponse {
	resp := msg.NewOffsetCommitResponse()
	var bad kafka.Code
	var codes [][]kafka.Code // by topic and partition
	err := s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		who := kind.Committer{
			Member: req.MemberID, Instance: req.GroupInstanceID, Epoch: req.GenerationIDOrMemberEpoch, Version: c.Version,
		}
		if bad = sh.checkCommit(t, req.GroupID, who, req.Topics); bad != kafka.None {
			t.Soft()
			return nil
		}
		codes = sh.commit(t, req.GroupID, req.Topics, req.RetentionTimeMs)
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
func (sh *shard) checkCommit(t *coordinator.Turn, id string, who kind.Committer, topics []msg.OffsetCommitRequestTopic) kafka.Code {
	g, ok := sh.find(id)
	switch {
	case ok && g.kind != nil:
		bad := checkKind(g.kind, who, topics)
		if who.Txn && bad == kafka.StaleMemberEpoch && !knowsEpochs(who) {
			return kafka.IllegalGeneration
		}
		return bad
	case ok:
		bad, step := g.classic.CheckCommit(t.Now, classic.Identity{
			MemberID: who.Member, InstanceID: who.Instance, Generation: who.Epoch,
		}, who.Txn)
		sh.follow(t, g.classic, step)
		if (bad == kafka.IllegalGeneration || bad == kafka.UnknownMemberID) && invariant.Planted("group/generation") {
			return kafka.None
		}
		return bad
	case who.Epoch < 0:
		return kafka.None // from outside: the offset makes the group
	case knowsEpochs(who):
		return kafka.GroupIDNotFound
	default:
		return kafka.IllegalGeneration
	}
}

// knowsEpochs says whether the version that somebody speaks has the errors of
// KIP-848: OffsetCommit 9, TxnOffsetCommit 6 (KIP-1319).
func knowsEpochs(who kind.Committer) bool {
	return who.Version >= 9 || who.Txn && who.Version >= 6
}

// checkKind asks the group, and for each partition too if it wants that. One that
// is refused refuses the whole commit.
func checkKind(g kind.Group, who kind.Committer, topics []msg.OffsetCommitRequestTopic) kafka.Code {
	bad := g.CheckCommit(who)
	each, ok := g.(kind.PartitionChecker)
	if bad != kafka.None || !ok {
		return bad
	}
	for i := range topics {
		for _, p := range topics[i].Partitions {
			if bad := each.CheckPartition(who, topics[i].Name, p.PartitionIndex); bad != kafka.None {
				return bad
			}
		}
	}
	return kafka.None
}

// commit puts the records of a commit. keep is how long they are kept, in ms; -1:
// by retention.
func (sh *shard) commit(t *coordinator.Turn, group string, topics []msg.OffsetCommitRequestTopic, keep int64) [][]kafka.Code {
	now := t.Now.UnixMilli()
	codes := make([][]kafka.Code, len(topics))
	for i := range topics {
		topic := &topics[i]
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
			if keep != -1 {
				o.Expires = now + keep
			}
			t.Put(offsetKey(group, kafka.TopicPartition{Topic: topic.Name, Partition: p.PartitionIndex}), o.marshal())
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
