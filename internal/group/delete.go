package group

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/myelin-stream/myelin/internal/coordinator"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// tombstonesATurn bounds how many offsets one turn deletes, so that its batch
// stays small and others get their turn.
const tombstonesATurn = 1000

// OffsetDelete answers OffsetDelete (key 47, KIP-496). Offsets of topics to
// which a member subscribes stay.
func (s *Service) OffsetDelete(ctx context.Context, _ Client, req *msg.OffsetDeleteRequest) *msg.OffsetDeleteResponse {
	resp := msg.NewOffsetDeleteResponse()
	if req.GroupID == "" {
		resp.ErrorCode = int16(kafka.InvalidGroupID)
		return &resp
	}
	err := s.rt.WriteFor(ctx, req.GroupID, func(sh *shard, t *coordinator.Turn) error {
		g, ok := sh.find(req.GroupID)
		if !ok {
			return notFound(req.GroupID)
		}
		if err := g.checkOffsetDelete(); err != nil {
			return err
		}
		for i := range req.Topics {
			topic := &req.Topics[i]
			rt := msg.OffsetDeleteResponseTopic{Name: topic.Name}
			for _, p := range topic.Partitions {
				rp := msg.OffsetDeleteResponseTopicPartition{PartitionIndex: p.PartitionIndex}
				if g.subscribed(topic.Name) {
					rp.ErrorCode = int16(kafka.GroupSubscribedToTopic)
				} else if sh.forget(t, req.GroupID, kafka.TopicPartition{Topic: topic.Name, Partition: p.PartitionIndex}) {
					sh.stats.Deleted.Add(1)
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return nil
	})
	if err != nil {
		resp.Topics = nil
		resp.ErrorCode = int16(code(err))
	}
	return &resp
}

// forget deletes an offset if there is one, pending ones included.
func (l *ledger) forget(t *coordinator.Turn, group string, tp kafka.TopicPartition) bool {
	if !l.hasOffset(group, tp) && !l.pending.has(group, tp) {
		return false
	}
	t.Delete(offsetKey(group, tp))
	return true
}

func (l *ledger) hasOffset(group string, tp kafka.TopicPartition) bool {
	offsets := l.offsets[group]
	if offsets == nil {
		return false
	}
	_, ok := offsets.Get(tp)
	return ok
}

// Delete answers DeleteGroups (key 42): groups without members go, with all
// their offsets.
func (s *Service) Delete(ctx context.Context, _ Client, req *msg.DeleteGroupsRequest) *msg.DeleteGroupsResponse {
	resp := msg.NewDeleteGroupsResponse()
	for i, id := range req.GroupsNames {
		if slices.Contains(req.GroupsNames[:i], id) { // one answer for each, as in Kafka
			continue
		}
		resp.Results = append(resp.Results, msg.DeleteGroupsResponseResult{
			GroupID: id, ErrorCode: int16(s.deleteGroup(ctx, id)),
		})
	}
	return &resp
}

func (s *Service) deleteGroup(ctx context.Context, id string) kafka.Code {
	if err := s.shares.dissolve(ctx, id); err != nil {
		return s.shares.code(err)
	}
	for more := true; more; {
		err := s.rt.WriteFor(ctx, id, func(sh *shard, t *coordinator.Turn) error {
			g, ok := sh.find(id)
			switch {
			case !ok:
				return notFound(id)
			case !g.empty():
				return kafka.NonEmptyGroup
			}
			more = sh.deleteOffsets(t, id, func(kafka.TopicPartition) bool { return true })
			if !more {
				sh.remove(t, id, g)
			}
			return nil
		})
		if err != nil {
			return code(err)
		}
	}
	return kafka.None
}

// partitions are those of which a group has an offset, or one pending.
func (l *ledger) partitions(group string) []kafka.TopicPartition {
	var all []kafka.TopicPartition
	if offsets := l.offsets[group]; offsets != nil {
		all = offsets.Keys()
	}
	for _, tp := range l.pending.partitions(group) {
		if !l.hasOffset(group, tp) {
			all = append(all, tp)
		}
	}
	return all
}

// deleteOffsets deletes the offsets of a group that match, up to the bound of a
// turn; more says that the bound was reached.
func (l *ledger) deleteOffsets(t *coordinator.Turn, group string, match func(kafka.TopicPartition) bool) (more bool) {
	n := 0
	for _, tp := range l.partitions(group) {
		if !match(tp) {
			continue
		}
		if n == tombstonesATurn {
			return true
		}
		t.Delete(offsetKey(group, tp))
		n++
	}
	return false
}

// TopicsDeleted drops the offsets of topics that are no more, in all groups of
// this broker, so that a topic created later under the same name begins anew; what
// was committed to that one already stays. It returns when that is committed. With
// an error some partitions may have to be told again, and so has another broker that
// takes over; until then [Config.TopicID] keeps such offsets from clients.
func (s *Service) TopicsDeleted(ctx context.Context, names []string) error {
	gone := make(map[string]bool, len(names))
	for _, n := range names {
		gone[n] = true
	}
	var errs []error
	for _, p := range s.rt.Owned() {
		for more := true; more; {
			err := s.rt.Write(ctx, p, func(sh *shard, t *coordinator.Turn) error {
				t.Soft()
				more = false
				for _, id := range sh.groupIDs() {
					more = sh.deleteOffsets(t, id, func(tp kafka.TopicPartition) bool { return gone[tp.Topic] && !sh.current(id, tp) })
					if more {
						return nil
					}
				}
				return nil
			})
			if err != nil {
				errs = append(errs, fmt.Errorf("%s-%d: %w", kafka.OffsetsTopic, p, err))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// current says whether a group has an offset, or one pending, that is known to be
// of the topic that now has the name.
func (l *ledger) current(group string, tp kafka.TopicPartition) bool {
	if l.cfg.TopicID == nil {
		return false
	}
	id := l.cfg.TopicID(tp.Topic)
	if id.IsZero() {
		return false
	}
	if offsets := l.offsets[group]; offsets != nil {
		if o, ok := offsets.Get(tp); ok && o.TopicID == id {
			return true
		}
	}
	return l.pending.names(group, tp, id)
}
