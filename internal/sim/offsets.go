package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

func commitKey(group string, p *part) string { return fmt.Sprintf("%s/%s/%d", group, p.topic, p.id) }

// ready finds out whether the group's coordinator is up, which makes the
// internal topic on first use.
func (p *play) ready(group string) (bool, error) {
	req := msg.NewFindCoordinatorRequest()
	req.CoordinatorKey = group
	var resp msg.FindCoordinatorResponse
	if err := p.client.ask(&req, 3, &resp); err != nil {
		return false, err
	}
	if resp.ErrorCode != 0 {
		p.trace("coordinator of %s: %d", group, resp.ErrorCode)
		return false, p.tolerate(kafka.Code(resp.ErrorCode))
	}
	return true, nil
}

// commitOffset commits from outside a group.
func (p *play) commitOffset() error {
	to := p.somePart()
	group := fmt.Sprintf("g%d", p.rand.IntN(3))
	if to == nil {
		return nil
	}
	if ok, err := p.ready(group); !ok {
		return err
	}
	return p.commitAs(group, "", -1, to)
}

func (p *play) commitAs(group, member string, generation int32, to *part) error {
	req := msg.NewOffsetCommitRequest()
	req.GroupID, req.MemberID, req.GenerationIDOrMemberEpoch = group, member, generation
	cp := msg.NewOffsetCommitRequestTopicPartition()
	cp.PartitionIndex, cp.CommittedOffset = to.id, int64(p.serial)
	req.Topics = []msg.OffsetCommitRequestTopic{{Name: to.topic, Partitions: []msg.OffsetCommitRequestTopicPartition{cp}}}
	c := p.model.commit(commitKey(group, to))
	c.maybes = append(c.maybes, cp.CommittedOffset)
	var resp msg.OffsetCommitResponse
	if err := p.client.ask(&req, 7, &resp); err != nil {
		return err
	}
	code := kafka.Code(resp.Topics[0].Partitions[0].ErrorCode)
	p.trace("committed %d as %s of %s-%d: %d", cp.CommittedOffset, group, to.topic, to.id, code)
	if code == kafka.UnknownMemberID && member == "" {
		return nil // a member that lost its connection is still there
	}
	if code != kafka.None {
		return p.tolerate(code)
	}
	c.acked, c.maybes = cp.CommittedOffset, nil
	return nil
}

// fetchOffset reads a committed offset back.
func (p *play) fetchOffset() error {
	of := p.somePart()
	group := fmt.Sprintf("g%d", p.rand.IntN(3))
	if of == nil || p.model.commits[commitKey(group, of)] == nil {
		return nil
	}
	if ok, err := p.ready(group); !ok {
		return err
	}
	_, err := p.committed(group, of)
	return err
}

func (p *play) committed(group string, of *part) (kafka.Code, error) {
	req := msg.NewOffsetFetchRequest()
	req.GroupID = group
	req.Topics = []msg.OffsetFetchRequestTopic{{Name: of.topic, PartitionIndexes: []int32{of.id}}}
	var resp msg.OffsetFetchResponse
	if err := p.client.ask(&req, 5, &resp); err != nil {
		return 0, err
	}
	if resp.ErrorCode != 0 {
		return kafka.Code(resp.ErrorCode), p.tolerate(kafka.Code(resp.ErrorCode))
	}
	got := resp.Topics[0].Partitions[0].CommittedOffset
	key := commitKey(group, of)
	p.trace("committed of %s is %d", key, got)
	return 0, p.model.commit(key).check(key, got)
}

// auditCommits reads back every offset that was ever committed.
func (p *play) auditCommits() error {
	for _, key := range slices.Sorted(maps.Keys(p.model.commits)) {
		for _, t := range p.model.topics {
			for _, part := range t.parts {
				for g := range 3 {
					if group := fmt.Sprintf("g%d", g); commitKey(group, part) == key {
						if err := p.auditCommit(group, part); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

// auditCommit waits, as clients do, for a coordinator that is still loading.
func (p *play) auditCommit(group string, of *part) error {
	for range 100 {
		if ok, err := p.ready(group); err != nil {
			return err
		} else if ok {
			code, err := p.committed(group, of)
			if err != nil || code == kafka.None {
				return err
			}
		}
		if err := p.wait(); err != nil {
			return err
		}
	}
	return errors.New("the coordinator of " + group + " did not come up")
}

// groupRound is the whole life of a member: join, sync, heartbeat, commit,
// leave.
func (p *play) groupRound() error {
	to := p.somePart()
	group := "g2"
	if to == nil {
		return nil
	}
	if ok, err := p.ready(group); !ok {
		return err
	}
	join := msg.NewJoinGroupRequest()
	join.GroupID, join.SessionTimeoutMs, join.RebalanceTimeoutMs, join.ProtocolType = group, 10000, 10000, "consumer"
	join.Protocols = []msg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	var joined msg.JoinGroupResponse
	if err := p.client.ask(&join, 3, &joined); err != nil {
		return err
	}
	p.trace("joined: %d generation %d", joined.ErrorCode, joined.GenerationID)
	if joined.ErrorCode != 0 {
		return p.tolerate(kafka.Code(joined.ErrorCode))
	}
	sync := msg.NewSyncGroupRequest()
	sync.GroupID, sync.GenerationID, sync.MemberID = group, joined.GenerationID, joined.MemberID
	sync.Assignments = []msg.SyncGroupRequestAssignment{{MemberID: joined.MemberID, Assignment: []byte("a")}}
	var synced msg.SyncGroupResponse
	if err := p.client.ask(&sync, 3, &synced); err != nil {
		return err
	}
	p.trace("synced: %d", synced.ErrorCode)
	if synced.ErrorCode != 0 {
		return p.tolerate(kafka.Code(synced.ErrorCode))
	}
	if err := p.commitAs(group, joined.MemberID, joined.GenerationID, to); err != nil {
		return err
	}
	leave := msg.NewLeaveGroupRequest()
	leave.GroupID, leave.MemberID = group, joined.MemberID
	var left msg.LeaveGroupResponse
	if err := p.client.ask(&leave, 2, &left); err != nil {
		return err
	}
	p.trace("left: %d", left.ErrorCode)
	return nil
}
