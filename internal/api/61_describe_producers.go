package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeProducers answers DescribeProducers (key 61, version 0; KIP-664): the
// idempotent and transactional producers that the leader of a partition knows.
//
//	authorize  TOPIC_AUTHORIZATION_FAILED
//	locate     INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION,
//	           NOT_LEADER_OR_FOLLOWER
func (h *AdminHandlers) describeProducers(c *Call, req *msg.DescribeProducersRequest) *msg.DescribeProducersResponse {
	resp := msg.NewDescribeProducersResponse()
	for _, t := range req.Topics {
		out := msg.DescribeProducersResponseTopic{Name: t.Name}
		for _, p := range t.PartitionIndexes {
			row := msg.DescribeProducersResponseTopicPartition{PartitionIndex: p}
			if err := h.producersOf(c, t.Name, p, &row); err != nil {
				row.ErrorCode = int16(kafka.CodeOf(err))
				if text := textOf(err); text != "" {
					row.ErrorMessage = &text
				}
			}
			out.Partitions = append(out.Partitions, row)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return &resp
}

func (h *AdminHandlers) producersOf(c *Call, topic string, partition int32, row *msg.DescribeProducersResponseTopicPartition) error {
	if err := controller.CheckTopicName(topic); err != nil {
		return err
	}
	t := h.Metadata.Image().Topic(topic)
	switch {
	case !c.Allowed(auth.Read, auth.Topic, topic):
		return refuse(kafka.TopicAuthorizationFailed, unauthorizedText)
	case t == nil:
		return refuse(kafka.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	case t.Partition(partition) == nil:
		return kafka.UnknownTopicOrPartition
	}
	r, err := h.Replicas.Get(topic, partition)
	switch {
	case kafka.CodeOf(err) == kafka.UnknownTopicOrPartition, err == nil && !r.Leads():
		return kafka.NotLeaderOrFollower
	case err != nil:
		return kafka.CodeOf(err)
	}
	for _, p := range r.Producers() {
		row.ActiveProducers = append(row.ActiveProducers, msg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: p.ID, ProducerEpoch: int32(p.Epoch), LastSequence: p.LastSequence, LastTimestamp: p.LastTimestamp,
			CoordinatorEpoch: p.CoordinatorEpoch, CurrentTxnStartOffset: p.TxnFirst})
	}
	return nil
}
