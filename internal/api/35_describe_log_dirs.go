package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// describeLogDirs answers DescribeLogDirs (key 35, versions 1 to 5; KIP-113):
// the size of each partition in each log directory of this broker, of all topics
// for null. The lag is that of the log's end behind the high watermark, that of a
// copy on its way to another directory behind the log's end.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED; before version 3 an empty answer
//	describe   per directory KAFKA_STORAGE_ERROR
//
// Versions: 3 top-level error, 4 bytes of the volume (KIP-827), 5 cordoned
// directories (KIP-1066).
func (h *AdminHandlers) describeLogDirs(c *Call, req *msg.DescribeLogDirsRequest) *msg.DescribeLogDirsResponse {
	resp := msg.NewDescribeLogDirsResponse()
	if !c.AllowedCluster(auth.Describe) {
		resp.ErrorCode = int16(kafka.ClusterAuthorizationFailed)
		return &resp
	}
	wanted := map[kafka.TopicPartition]bool{}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			wanted[kafka.TopicPartition{Topic: t.Topic, Partition: p}] = true
		}
	}
	for _, d := range h.LogDirs() {
		out := msg.NewDescribeLogDirsResponseResult()
		out.LogDir = d.Path
		if d.Err != nil {
			out.ErrorCode = int16(kafka.KafkaStorageError)
			resp.Results = append(resp.Results, out)
			continue
		}
		out.TotalBytes, out.UsableBytes, out.IsCordoned = d.Total, d.Free, d.Cordoned
		h.Replicas.Standings(func(s *replica.Standing) {
			if req.Topics != nil && !wanted[s.TopicPartition] {
				return
			}
			if s.Directory == d.Path {
				addReplica(&out, s.TopicPartition, s.Size, max(0, s.HW-s.End), false)
			}
			if s.Replica == nil {
				return
			}
			if dir, size, lag, ok := s.Replica.Future(); ok && dir == d.Path {
				addReplica(&out, s.TopicPartition, size, lag, true)
			}
		})
		resp.Results = append(resp.Results, out)
	}
	return &resp
}

// addReplica adds a replica, or the copy of one that is to take its place; those
// of one topic come one after the other.
func addReplica(out *msg.DescribeLogDirsResponseResult, tp kafka.TopicPartition, size, lag int64, future bool) {
	if n := len(out.Topics); n == 0 || out.Topics[n-1].Name != tp.Topic {
		out.Topics = append(out.Topics, msg.DescribeLogDirsResponseResultTopic{Name: tp.Topic})
	}
	t := &out.Topics[len(out.Topics)-1]
	t.Partitions = append(t.Partitions, msg.DescribeLogDirsResponseResultTopicPartition{
		PartitionIndex: tp.Partition, PartitionSize: size, OffsetLag: lag, IsFutureKey: future})
}
