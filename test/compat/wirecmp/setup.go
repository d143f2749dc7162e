package wirecmp

import (
	"fmt"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// CommittedGroup is a group without members that has committed offset 5 of
// partition 0 of Topic.
const CommittedGroup = "wire-group"

// Setup brings a fresh broker to the state that the cases start from.
func (p *Peer) Setup() error {
	create := msg.NewCreateTopicsRequest()
	create.TimeoutMs = 10000
	compact, forever := "compact", "-1"
	create.Topics = []msg.CreateTopicsRequestTopic{
		{Name: Topic, NumPartitions: 3, ReplicationFactor: 1, Configs: []msg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: &forever}}},
		{Name: Compact, NumPartitions: 1, ReplicationFactor: 1, Configs: []msg.CreateTopicsRequestTopicConfig{{Name: "cleanup.policy", Value: &compact}}},
		{Name: Doomed, NumPartitions: 1, ReplicationFactor: 1},
	}
	var created msg.CreateTopicsResponse
	if err := p.Do(&create, 7, &created); err != nil {
		return err
	}
	for _, t := range created.Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("%s: creating %s: %w", p.Name, t.Name, kafka.Code(t.ErrorCode))
		}
		p.TopicIDs[t.Name] = t.TopicID
	}
	for i := range 4 {
		if err := p.until(func() (kafka.Code, error) { return p.produce() }); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
	}
	if err := p.until(p.findCoordinator); err != nil {
		return err
	}
	if err := p.until(p.initProducerID); err != nil {
		return err
	}
	if err := p.until(p.commit); err != nil {
		return err
	}
	if _, err := p.Producer("wire-setup"); err != nil { // whoever asks first has __transaction_state made
		return err
	}
	if err := p.setupUsers(); err != nil {
		return err
	}
	return p.setupShare()
}

// until repeats a step while its error is one that clients retry, as a topic
// that was just made may not be led yet.
func (p *Peer) until(step func() (kafka.Code, error)) error {
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		code, err := step()
		if err != nil || code == kafka.None {
			return err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("%s: %w after 20 s", p.Name, code)
		}
	}
}

func (p *Peer) produce() (kafka.Code, error) {
	req := msg.NewProduceRequest()
	req.Acks, req.TimeoutMs = -1, 5000
	req.TopicData = []msg.ProduceRequestTopicData{{Name: Topic, PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Records: Batch(3)}}}}
	var resp msg.ProduceResponse
	if err := p.Do(&req, 9, &resp); err != nil {
		return 0, err
	}
	return kafka.Code(resp.Responses[0].PartitionResponses[0].ErrorCode), nil
}

func (p *Peer) findCoordinator() (kafka.Code, error) {
	req := msg.NewFindCoordinatorRequest()
	req.CoordinatorKey = CommittedGroup
	var resp msg.FindCoordinatorResponse
	err := p.Do(&req, 2, &resp)
	return kafka.Code(resp.ErrorCode), err
}

// initProducerID asks until the broker has its first block of ids.
func (p *Peer) initProducerID() (kafka.Code, error) {
	req := msg.NewInitProducerIDRequest()
	var resp msg.InitProducerIDResponse
	err := p.Do(&req, 4, &resp)
	return kafka.Code(resp.ErrorCode), err
}

func (p *Peer) commit() (kafka.Code, error) {
	req := msg.NewOffsetCommitRequest()
	req.GroupID, req.GenerationIDOrMemberEpoch = CommittedGroup, -1
	part := msg.NewOffsetCommitRequestTopicPartition()
	part.CommittedOffset = 5
	req.Topics = []msg.OffsetCommitRequestTopic{{Name: Topic, Partitions: []msg.OffsetCommitRequestTopicPartition{part}}}
	var resp msg.OffsetCommitResponse
	if err := p.Do(&req, 7, &resp); err != nil {
		return 0, err
	}
	return kafka.Code(resp.Topics[0].Partitions[0].ErrorCode), nil
}
