package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Replica ids that are not a broker's: a consumer's, and that of a tool which
// reads from any replica.
const (
	consumerReplica  = -1
	debuggingReplica = -2
)

// listOffsets answers ListOffsets (key 2, versions 1 to 11).
//
// A timestamp finds the first record that is not older, exact to the record; a
// sentinel finds a place of the log. Where there is none, offset, timestamp and
// epoch are -1 and there is no error.
//
//	authorize  TOPIC_AUTHORIZATION_FAILED
//	locate     UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER
//	check      INVALID_REQUEST for a partition listed twice, UNSUPPORTED_VERSION
//	           for a sentinel that the version does not know
//	look up    FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR,
//	           OFFSET_NOT_AVAILABLE (before v5 LEADER_NOT_AVAILABLE)
//
// Versions: 2 isolation level, 4 leader epoch, 6 flexible, 7 max timestamp
// (KIP-734), 8 earliest local (KIP-405), 9 latest tiered (KIP-1005), 10 timeout
// (KIP-1075), 11 earliest pending upload (KIP-1023).
func (h *DataHandlers) listOffsets(c *Call, req *msg.ListOffsetsRequest) *msg.ListOffsetsResponse {
	resp := msg.NewListOffsetsResponse()
	for _, t := range mergeOffsetTopics(req.Topics) {
		out := msg.ListOffsetsResponseTopic{Name: t.Name}
		ref := topicRef{name: t.Name}
		twice := listedTwice(t.Partitions)
		var refused []msg.ListOffsetsResponseTopicPartition
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if n := twice[p.PartitionIndex]; n > 1 {
				twice[p.PartitionIndex] = -1 // one row for all of them
				refused = append(refused, offsetRow(p.PartitionIndex, kafka.InvalidRequest))
			} else if n >= 0 {
				out.Partitions = append(out.Partitions, h.listOffset(c, req, &ref, p))
			}
		}
		out.Partitions = append(out.Partitions, refused...)
		resp.Topics = append(resp.Topics, out)
	}
	return &resp
}

// mergeOffsetTopics makes one entry of a topic that is listed twice, and none of
// one without partitions, as Kafka does.
func mergeOffsetTopics(topics []msg.ListOffsetsRequestTopic) []msg.ListOffsetsRequestTopic {
	at := make(map[string]int, len(topics))
	merged := make([]msg.ListOffsetsRequestTopic, 0, len(topics))
	for _, t := range topics {
		if len(t.Partitions) == 0 {
			continue
		}
		if i, ok := at[t.Name]; ok {
			merged[i].Partitions = append(merged[i].Partitions, t.Partitions...)
			continue
		}
		at[t.Name] = len(merged)
		merged = append(merged, t)
	}
	return merged
}

// listedTwice counts partitions, nil if each stands once.
func listedTwice(parts []msg.ListOffsetsRequestTopicPartition) map[int32]int {
	ordered := true
	for i := 1; i < len(parts); i++ {
		ordered = ordered && parts[i].PartitionIndex > parts[i-1].PartitionIndex
	}
	if ordered {
		return nil
	}
	n := make(map[int32]int, len(parts))
	for i := range parts {
		n[parts[i].PartitionIndex]++
	}
	return n
}

func offsetRow(partition int32, code kafka.Code) msg.ListOffsetsResponseTopicPartition {
	row := msg.NewListOffsetsResponseTopicPartition()
	row.PartitionIndex, row.ErrorCode = partition, int16(code)
	return row
}

func (h *DataHandlers) listOffset(c *Call, req *msg.ListOffsetsRequest, t *topicRef,
	p *msg.ListOffsetsRequestTopicPartition) msg.ListOffsetsResponseTopicPartition {
	r, err := h.readable(c, t, p.PartitionIndex, auth.Describe)
	switch {
	case err != nil:
		return offsetRow(p.PartitionIndex, kafka.CodeOf(err))
	case p.Timestamp < oldestSentinel(c.Version):
		return offsetRow(p.PartitionIndex, kafka.UnsupportedVersion)
	case req.IsolationLevel < 0 || req.IsolationLevel > 1:
		return offsetRow(p.PartitionIndex, kafka.UnknownServerError)
	}
	q := replica.OffsetQuery{Timestamp: p.Timestamp, Isolation: replica.Isolation(req.IsolationLevel),
		CurrentEpoch: p.CurrentLeaderEpoch, FromLeader: req.ReplicaID != debuggingReplica}
	if req.ReplicaID != consumerReplica {
		q.Isolation = replica.ReadAll
	}
	found, err := r.OffsetFor(q)
	if err != nil {
		code := kafka.CodeOf(err)
		if code == kafka.OffsetNotAvailable && c.Version < 5 {
			code = kafka.LeaderNotAvailable
		}
		return offsetRow(p.PartitionIndex, code)
	}
	row := offsetRow(p.PartitionIndex, kafka.None)
	row.Offset, row.Timestamp, row.LeaderEpoch = found.Offset, found.Timestamp, found.Epoch
	return row
}

// oldestSentinel is the least timestamp that a version knows.
func oldestSentinel(version int16) int64 {
	switch {
	case version >= 11:
		return kafka.EarliestPendingUploadTimestamp
	case version >= 9:
		return kafka.LatestTieredTimestamp
	case version >= 8:
		return kafka.EarliestLocalTimestamp
	case version >= 7:
		return kafka.MaxTimestamp
	}
	return kafka.EarliestTimestamp
}
