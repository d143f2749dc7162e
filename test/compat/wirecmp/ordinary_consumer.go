package wirecmp

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// consumerRequests are those of consumer groups (KIP-848).
func consumerRequests(m map[int16]Build) {
	m[kafka.KeyConsumerGroupHeartbeat] = func(label string) msg.Request {
		r := msg.NewConsumerGroupHeartbeatRequest()
		r.GroupID, r.MemberID, r.RebalanceTimeoutMs = label, "member-"+label, 60000
		r.InstanceID, r.RackID, r.ServerAssignor = ptr("instance"), ptr("rack"), ptr("uniform")
		r.SubscribedTopicNames, r.SubscribedTopicRegex = []string{Topic}, ptr("no-such-.*")
		r.TopicPartitions = []msg.ConsumerGroupHeartbeatRequestTopicPartition{}
		return &r
	}
	m[kafka.KeyConsumerGroupDescribe] = func(label string) msg.Request {
		r := msg.NewConsumerGroupDescribeRequest()
		r.GroupIDs = []string{label, CommittedGroup}
		r.IncludeAuthorizedOperations = true
		return &r
	}
}
