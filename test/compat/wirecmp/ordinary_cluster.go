package wirecmp

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// clusterRequests are about leaders and brokers, of which a single node has one.
func clusterRequests(m map[int16]Build) {
	m[kafka.KeyElectLeaders] = func(string) msg.Request {
		r := msg.NewElectLeadersRequest()
		r.TimeoutMs = 10000
		r.TopicPartitions = []msg.ElectLeadersRequestTopicPartition{{Topic: Topic, Partitions: []int32{0}}}
		return &r
	}
	m[kafka.KeyUnregisterBroker] = func(string) msg.Request { return &msg.UnregisterBrokerRequest{BrokerID: 99} }
}
