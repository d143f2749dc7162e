package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// sharer is a member of a share group (KIP-932): it is given records one by one,
// accepts most of them and gives some back.
type sharer struct {
	*agent
	group string
	id    string
	epoch int32
	parts []tp
	since time.Time
	open  map[int32]int32 // epochs of share sessions, by leader
	told  bool            // the last heartbeat was answered; if not, the next one says all again
}

func newSharer(a *agent, group string) (func() error, func()) {
	s := &sharer{agent: a, group: group, open: map[int32]int32{}}
	return s.round, nil
}

func (s *sharer) round() error {
	var err error
	if s.epoch == 0 || time.Since(s.since) > 900*time.Millisecond {
		err = s.heartbeat()
	}
	if err == nil && len(s.parts) > 0 {
		err = s.share()
	}
	if errors.Is(err, errExpelled) {
		s.epoch, s.parts = 0, nil
		clear(s.open)
	}
	s.rest(10*time.Millisecond, 200*time.Millisecond)
	return err
}

func (s *sharer) heartbeat() error {
	if len(s.view.ids) == 0 {
		if err := s.refresh(); err != nil {
			return err
		}
	}
	if s.id == "" {
		s.id = uuidText(s.agent)
	}
	req := msg.NewShareGroupHeartbeatRequest()
	req.GroupID, req.MemberID, req.MemberEpoch = s.group, s.id, s.epoch
	if s.epoch == 0 || !s.told {
		req.SubscribedTopicNames = []string{shared}
	}
	s.told = false
	var resp msg.ShareGroupHeartbeatResponse
	if err := s.askCoordinator(ofGroup, s.group, &req, 1, &resp); err != nil {
		return err
	}
	if c := kafka.Code(resp.ErrorCode); c != kafka.None {
		return s.memberError(s.group, "ShareGroupHeartbeat", c)
	}
	s.since, s.epoch, s.told = time.Now(), resp.MemberEpoch, true
	if resp.Assignment != nil {
		s.parts = nil
		for _, t := range resp.Assignment.TopicPartitions {
			for _, n := range t.Partitions {
				s.parts = append(s.parts, tp{s.view.names[t.TopicID], n})
			}
		}
		slices.SortFunc(s.parts, compareTP)
		s.trace("shares %v in %d", s.parts, s.epoch)
	}
	return nil
}

// share fetches from the leader of one partition and acknowledges what came.
func (s *sharer) share() error {
	p := s.parts[s.rand.IntN(len(s.parts))]
	leader, err := s.lead(p)
	if err != nil {
		return err
	}
	done := map[tp]map[int64]bool{} // the session may give records of each of them
	for _, q := range s.fleet.parts(shared) {
		done[q] = s.fleet.book.done(groupKey(s.group, q))
	}
	req := msg.NewShareFetchRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &s.group, &s.id, s.open[leader]
	req.MaxWaitMs, req.MinBytes, req.MaxBytes, req.MaxRecords, req.BatchSize = 100, 1, 64<<10, 20, 10
	req.Topics = []msg.ShareFetchRequestTopic{{TopicID: s.view.ids[p.topic], Partitions: []msg.ShareFetchRequestTopicPartition{{PartitionIndex: p.part}}}}
	var resp msg.ShareFetchResponse
	if err := s.ask(leader, &req, 1, &resp); err != nil {
		return s.lost(leader, err)
	}
	if c := kafka.Code(resp.ErrorCode); c != kafka.None {
		return s.lost(leader, s.refused("ShareFetch", c))
	}
	s.open[leader] = max(1, s.open[leader]+1)
	return s.take(leader, &resp, done)
}

// take acknowledges what came, of whichever partitions of the session.
func (s *sharer) take(leader int32, resp *msg.ShareFetchResponse, done map[tp]map[int64]bool) error {
	for _, t := range resp.Responses {
		for _, r := range t.Partitions {
			p := tp{s.view.names[t.TopicID], r.PartitionIndex}
			if c := kafka.Code(r.ErrorCode); c != kafka.None {
				if c == kafka.NotLeaderOrFollower || c == kafka.FencedLeaderEpoch {
					s.learn(p, r.CurrentLeader.LeaderID, r.CurrentLeader.LeaderEpoch)
				}
				return s.lost(leader, s.refused("ShareFetch of "+p.String(), c))
			}
			for _, got := range r.AcquiredRecords {
				s.fleet.book.give(groupKey(s.group, p), got.FirstOffset, got.LastOffset)
				for o := got.FirstOffset; o <= got.LastOffset; o++ {
					if done[p][o] {
						return fmt.Errorf("%s was given offset %d of %v (delivery %d), which had been accepted before it asked", s.group, o, p, got.DeliveryCount)
					}
				}
			}
			if err := s.acknowledge(leader, p, r.AcquiredRecords); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sharer) acknowledge(leader int32, p tp, got []msg.ShareFetchResponseResponsePartitionAcquiredRecord) error {
	if len(got) == 0 || s.rand.IntN(20) == 0 {
		return nil // the lock runs out
	}
	part := msg.ShareAcknowledgeRequestTopicPartition{PartitionIndex: p.part}
	release := s.rand.IntN(15) == 0
	for _, g := range got {
		kind := int8(1)
		if release {
			kind = 2
		}
		part.AcknowledgementBatches = append(part.AcknowledgementBatches, msg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{
			FirstOffset: g.FirstOffset, LastOffset: g.LastOffset, AcknowledgeTypes: []int8{kind}})
	}
	req := msg.NewShareAcknowledgeRequest()
	req.GroupID, req.MemberID, req.ShareSessionEpoch = &s.group, &s.id, s.open[leader]
	req.Topics = []msg.ShareAcknowledgeRequestTopic{{TopicID: s.view.ids[p.topic], Partitions: []msg.ShareAcknowledgeRequestTopicPartition{part}}}
	var resp msg.ShareAcknowledgeResponse
	if err := s.ask(leader, &req, 1, &resp); err != nil {
		return s.lost(leader, err)
	}
	if c := kafka.Code(resp.ErrorCode); c != kafka.None {
		return s.lost(leader, s.refused("ShareAcknowledge", c))
	}
	s.open[leader]++
	for _, t := range resp.Responses {
		for _, r := range t.Partitions {
			c := kafka.Code(r.ErrorCode)
			s.trace("acknowledged %v release=%t of %v: %s", got, release, p, c.Name())
			if c != kafka.None {
				return s.lost(leader, s.refused("ShareAcknowledge of "+p.String(), c))
			}
			if release {
				continue
			}
			for _, g := range got {
				s.fleet.book.finish(groupKey(s.group, p), g.FirstOffset, g.LastOffset)
			}
		}
	}
	return nil
}

// refused is memberError for what share sessions and leaders say.
func (s *sharer) refused(what string, c kafka.Code) error {
	switch c {
	case kafka.UnknownServerError: // as in Kafka, whatever the share coordinator's log answers
		fallthrough
	case kafka.ShareSessionNotFound, kafka.InvalidShareSessionEpoch, kafka.InvalidRecordState, kafka.FencedStateEpoch, kafka.ShareSessionLimitReached:
		s.trace("%s: %s", what, c.Name())
		return fmt.Errorf("%w: %s answered %s", errRetry, what, c.Name())
	}
	return s.memberError(s.group, what, c)
}

// lost gives the session at a leader up.
func (s *sharer) lost(leader int32, err error) error {
	delete(s.open, leader)
	s.line(leader).close()
	_ = s.refresh()
	return err
}
