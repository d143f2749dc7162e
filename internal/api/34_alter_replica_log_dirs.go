package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// alterReplicaLogDirs answers AlterReplicaLogDirs (key 34, versions 1 and 2;
// KIP-113): copies of this broker are to move to other log directories of it. The
// answer says that they are on their way; DescribeLogDirs shows how far.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED, for each partition
//	move       LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR, INVALID_REPLICA_ASSIGNMENT,
//	           UNKNOWN_TOPIC_OR_PARTITION, REPLICA_NOT_AVAILABLE,
//	           INVALID_TOPIC_EXCEPTION
//
// A partition that is named twice moves to where it is named last.
func (h *AdminHandlers) alterReplicaLogDirs(c *Call, req *msg.AlterReplicaLogDirsRequest) *msg.AlterReplicaLogDirsResponse {
	resp := msg.NewAlterReplicaLogDirsResponse()
	allowed := c.AllowedCluster(auth.Alter)
	order, to := wantedDirs(req)
	for _, tp := range order {
		code := kafka.ClusterAuthorizationFailed
		if allowed {
			code = h.move(tp, to[tp])
		}
		n := len(resp.Results)
		if n == 0 || resp.Results[n-1].TopicName != tp.Topic {
			resp.Results = append(resp.Results, msg.AlterReplicaLogDirsResponseResult{TopicName: tp.Topic})
			n++
		}
		t := &resp.Results[n-1]
		t.Partitions = append(t.Partitions, msg.AlterReplicaLogDirsResponseResultPartition{PartitionIndex: tp.Partition, ErrorCode: int16(code)})
	}
	return &resp
}

// move has one replica moved. One that is not here may be elsewhere or nowhere.
func (h *AdminHandlers) move(tp kafka.TopicPartition, dir string) kafka.Code {
	code := kafka.CodeOf(h.Replicas.Move(tp, dir))
	if code == kafka.ReplicaNotAvailable && h.Metadata.Image().Topic(tp.Topic).Partition(tp.Partition) == nil {
		return kafka.UnknownTopicOrPartition
	}
	return code
}

// wantedDirs is what a request asks for, each partition once, and those of one
// topic one after the other.
func wantedDirs(req *msg.AlterReplicaLogDirsRequest) (order []kafka.TopicPartition, to map[kafka.TopicPartition]string) {
	to = map[kafka.TopicPartition]string{}
	topics := map[string][]kafka.TopicPartition{}
	var names []string
	for _, d := range req.Dirs {
		for _, t := range d.Topics {
			if _, known := topics[t.Name]; !known {
				names = append(names, t.Name)
				topics[t.Name] = nil
			}
			for _, p := range t.Partitions {
				tp := kafka.TopicPartition{Topic: t.Name, Partition: p}
				if _, known := to[tp]; !known {
					topics[t.Name] = append(topics[t.Name], tp)
				}
				to[tp] = d.Path
			}
		}
	}
	for _, name := range names {
		order = append(order, topics[name]...)
	}
	return order, to
}
