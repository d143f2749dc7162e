package errand

import (
	"context"
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// The versions of Produce and ListOffsets that are used: topics by name, no
// transactions.
const (
	produceVersion     = 9
	listOffsetsVersion = 7
)

// Leads says whether this broker leads a partition, or should know best what
// became of it.
func (e *Errands) Leads(tp kafka.TopicPartition) bool {
	node, err := e.leader(tp)
	return err == nil && node == e.cfg.Self || kafka.CodeOf(err) == kafka.UnknownTopicOrPartition
}

// Append has another broker append a batch, and returns when it is on stable
// storage of all in-sync replicas.
//
// Errors: what the leader answers, LEADER_NOT_AVAILABLE, NETWORK_EXCEPTION.
func (e *Errands) Append(ctx context.Context, tp kafka.TopicPartition, batch []byte) error {
	node, err := e.leader(tp)
	if err != nil {
		return err
	}
	req, resp := msg.NewProduceRequest(), msg.NewProduceResponse()
	req.Acks, req.TimeoutMs = -1, int32(e.cfg.Patience.Milliseconds())
	req.TopicData = []msg.ProduceRequestTopicData{{Name: tp.Topic,
		PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: tp.Partition, Records: batch}}}}
	if err := e.ask(ctx, e.cfg.Records, node, question{&req, &resp, produceVersion}); err != nil {
		return err
	}
	for _, t := range resp.Responses {
		for _, p := range t.PartitionResponses {
			if t.Name == tp.Topic && p.Index == tp.Partition {
				return told(tp, node, p.ErrorCode, p.ErrorMessage)
			}
		}
	}
	return fmt.Errorf("%s: broker %d does not answer for it: %w", tp, node, kafka.UnknownServerError)
}

// EndOffset is the high watermark of a partition that another broker leads.
//
// Errors: what the leader answers, LEADER_NOT_AVAILABLE, NETWORK_EXCEPTION.
func (e *Errands) EndOffset(ctx context.Context, tp kafka.TopicPartition) (int64, error) {
	node, err := e.leader(tp)
	if err != nil {
		return 0, err
	}
	req, resp := msg.NewListOffsetsRequest(), msg.NewListOffsetsResponse()
	req.ReplicaID = kafka.NoBroker
	req.Topics = []msg.ListOffsetsRequestTopic{{Name: tp.Topic, Partitions: []msg.ListOffsetsRequestTopicPartition{{
		PartitionIndex: tp.Partition, CurrentLeaderEpoch: kafka.NoEpoch, Timestamp: kafka.LatestTimestamp}}}}
	if err := e.ask(ctx, e.cfg.Records, node, question{&req, &resp, listOffsetsVersion}); err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if t.Name == tp.Topic && p.PartitionIndex == tp.Partition {
				return p.Offset, told(tp, node, p.ErrorCode, nil)
			}
		}
	}
	return 0, fmt.Errorf("%s: broker %d does not answer for it: %w", tp, node, kafka.UnknownServerError)
}

// told is what a leader says, nil for NONE.
func told(tp kafka.TopicPartition, node int32, code int16, text *string) error {
	c := kafka.Code(code)
	switch {
	case c == kafka.None:
		return nil
	case text != nil:
		return fmt.Errorf("%s at broker %d: %w: %s", tp, node, c, *text)
	}
	return fmt.Errorf("%s at broker %d: %w", tp, node, c)
}
