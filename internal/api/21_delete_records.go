package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// deleteRecords answers DeleteRecords (key 21, versions 0 to 2; KIP-107): it
// moves the start of partitions that this broker leads up to an offset, or to
// the high watermark for -1.
//
//	authorize  TOPIC_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER
//	delete     INVALID_TOPIC_EXCEPTION on internal topics, OFFSET_OUT_OF_RANGE,
//	           POLICY_VIOLATION on a compacted topic, KAFKA_STORAGE_ERROR
func (h *AdminHandlers) deleteRecords(c *Call, req *msg.DeleteRecordsRequest) *msg.DeleteRecordsResponse {
	resp := msg.NewDeleteRecordsResponse()
	at := map[string]int{} // a topic, and a partition, that is named twice has one row
	rowOf := map[kafka.TopicPartition]int{}
	for i := range req.Topics {
		t := &req.Topics[i]
		if len(t.Partitions) == 0 {
			continue // as in Kafka, which answers by partition
		}
		n, ok := at[t.Name]
		if !ok {
			n = len(resp.Topics)
			at[t.Name] = n
			resp.Topics = append(resp.Topics, msg.DeleteRecordsResponseTopic{Name: t.Name})
		}
		row := &resp.Topics[n]
		allowed := c.Allowed(auth.Delete, auth.Topic, t.Name)
		for _, p := range t.Partitions {
			out := msg.DeleteRecordsResponseTopicPartition{PartitionIndex: p.PartitionIndex, LowWatermark: kafka.NoOffset}
			if !allowed {
				out.ErrorCode = int16(kafka.TopicAuthorizationFailed)
			} else if low, err := h.deleteTo(t.Name, p.PartitionIndex, p.Offset); err != nil {
				out.ErrorCode = int16(kafka.CodeOf(err))
			} else {
				out.LowWatermark = low
			}
			tp := kafka.TopicPartition{Topic: t.Name, Partition: p.PartitionIndex}
			if n, ok := rowOf[tp]; ok {
				row.Partitions[n] = out
				continue
			}
			rowOf[tp] = len(row.Partitions)
			row.Partitions = append(row.Partitions, out)
		}
	}
	return &resp
}

func (h *AdminHandlers) deleteTo(topic string, partition int32, offset int64) (low int64, err error) {
	p := h.Metadata.Image().Topic(topic).Partition(partition)
	switch {
	case p == nil:
		return 0, kafka.UnknownTopicOrPartition
	case kafka.IsInternalTopic(topic):
		return 0, kafka.InvalidTopicException
	}
	r, err := h.Replicas.Get(topic, partition)
	if kafka.CodeOf(err) == kafka.UnknownTopicOrPartition {
		return 0, kafka.NotLeaderOrFollower
	}
	if err != nil {
		return 0, err
	}
	return r.DeleteRecords(offset)
}
