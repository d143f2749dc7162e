package api

import (
	"maps"
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/controller"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeTopicPartitions answers DescribeTopicPartitions (key 75, version 0;
// KIP-966).
//
// It describes topics in the order of their names, up to so many partitions, and
// tells by a cursor where the next request goes on.
//
//	cursor    INVALID_REQUEST: a place that is none of what is asked for
//	describe  INVALID_TOPIC_EXCEPTION, UNKNOWN_TOPIC_OR_PARTITION,
//	          TOPIC_AUTHORIZATION_FAILED, and per partition LEADER_NOT_AVAILABLE
func (h *ClusterHandlers) describeTopicPartitions(c *Call, req *msg.DescribeTopicPartitionsRequest) *msg.DescribeTopicPartitionsResponse {
	resp := msg.NewDescribeTopicPartitionsResponse()
	img := h.Metadata.Image()
	asked := map[string]bool{}
	for _, t := range req.Topics {
		asked[t.Name] = true
	}
	from, first := "", int32(0)
	if cur := req.Cursor; cur != nil {
		from, first = cur.TopicName, cur.PartitionIndex
		if from == "" || first < 0 || len(asked) > 0 && !asked[from] {
			return refuseDescription(req)
		}
	}
	d := &description{h: h, c: c, img: img, resp: &resp,
		left: max(1, min(int(req.ResponsePartitionLimit), h.Metadata.Properties().Int("max.request.partition.size.limit")))}
	if len(asked) > 0 {
		for _, name := range slices.Sorted(maps.Keys(asked)) {
			if name >= from && !d.topic(name, img.Topic(name), startOf(name, from, first), true) {
				break
			}
		}
		return &resp
	}
	for t := range img.TopicsFrom(from) {
		if !d.topic(t.Name, t, startOf(t.Name, from, first), false) {
			break
		}
	}
	return &resp
}

func startOf(name, from string, first int32) int32 {
	if name == from {
		return first
	}
	return 0
}

func refuseDescription(req *msg.DescribeTopicPartitionsRequest) *msg.DescribeTopicPartitionsResponse {
	resp := msg.NewDescribeTopicPartitionsResponse()
	for _, t := range req.Topics {
		resp.Topics = append(resp.Topics, msg.DescribeTopicPartitionsResponseTopic{
			ErrorCode: int16(kafka.InvalidRequest), Name: &t.Name, TopicAuthorizedOperations: NotAsked})
	}
	return &resp
}

// description gathers one answer.
type description struct {
	h    *ClusterHandlers
	c    *Call
	img  *cluster.Image
	resp *msg.DescribeTopicPartitionsResponse
	left int // partitions that may still be told
}

// topic adds a topic, t nil when there is none of that name; false when the
// answer is full. One that was not named and may not be seen is left out.
func (d *description) topic(name string, t *cluster.Topic, first int32, named bool) bool {
	if !d.c.Allowed(auth.Describe, auth.Topic, name) {
		if named {
			d.resp.Topics = append(d.resp.Topics, msg.DescribeTopicPartitionsResponseTopic{
				ErrorCode: int16(kafka.TopicAuthorizationFailed), Name: &name, TopicAuthorizedOperations: NotAsked})
		}
		return true
	}
	if d.left == 0 {
		d.resp.NextCursor = &msg.DescribeTopicPartitionsResponseNextCursor{TopicName: name, PartitionIndex: first}
		return false
	}
	row := msg.DescribeTopicPartitionsResponseTopic{Name: &name, IsInternal: kafka.IsInternalTopic(name),
		TopicAuthorizedOperations: d.c.AuthorizedOperations(auth.Topic, name)}
	switch {
	case t == nil && controller.CheckTopicName(name) != nil:
		row.ErrorCode = int16(kafka.InvalidTopicException)
	case t == nil:
		row.ErrorCode = int16(kafka.UnknownTopicOrPartition)
	default:
		row.TopicID = t.ID
		for ; int(first) < len(t.Partitions) && d.left > 0; first++ {
			row.Partitions = append(row.Partitions, d.partition(t.Partition(first)))
			d.left--
		}
		if int(first) < len(t.Partitions) {
			d.resp.NextCursor = &msg.DescribeTopicPartitionsResponseNextCursor{TopicName: name, PartitionIndex: first}
		}
	}
	d.resp.Topics = append(d.resp.Topics, row)
	return d.resp.NextCursor == nil
}

func (d *description) partition(p *cluster.Partition) msg.DescribeTopicPartitionsResponseTopicPartition {
	leader, offline, code := d.h.partitionState(d.c, d.img, p, true)
	row := msg.DescribeTopicPartitionsResponseTopicPartition{
		ErrorCode: int16(code), PartitionIndex: p.ID, LeaderID: leader, LeaderEpoch: p.LeaderEpoch,
		ReplicaNodes: p.Replicas, ISRNodes: p.ISR, OfflineReplicas: offline,
		EligibleLeaderReplicas: p.ELR, LastKnownELR: p.LastKnownELR,
	}
	if row.EligibleLeaderReplicas == nil {
		row.EligibleLeaderReplicas = []int32{}
	}
	if row.LastKnownELR == nil {
		row.LastKnownELR = []int32{}
	}
	return row
}
