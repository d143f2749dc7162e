package wirecmp

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Topics that Setup makes on both brokers.
const (
	Topic   = "wire-a"       // three partitions; four batches of three records in partition 0
	Compact = "wire-compact" // one partition, cleanup.policy=compact
	Doomed  = "wire-doomed"  // what cases may damage
)

func ptr[T any](v T) *T { return &v }

// Ordinary is, by API key, a request that succeeds on a broker after Setup,
// with the fields of all versions filled in.
func Ordinary(p *Peer) map[int16]Build {
	id := p.TopicIDs[Topic]
	m := map[int16]Build{
		kafka.KeyAPIVersions: func(string) msg.Request {
			r := msg.NewAPIVersionsRequest()
			r.ClientSoftwareName, r.ClientSoftwareVersion = "wirecmp", "1.0"
			return &r
		},
		kafka.KeyMetadata: func(string) msg.Request {
			r := msg.NewMetadataRequest()
			r.Topics = []msg.MetadataRequestTopic{{Name: ptr(Topic)}}
			r.AllowAutoTopicCreation = false
			return &r
		},
		kafka.KeyDescribeCluster: func(string) msg.Request {
			r := msg.NewDescribeClusterRequest()
			return &r
		},
		kafka.KeyDescribeTopicPartitions: func(string) msg.Request {
			r := msg.NewDescribeTopicPartitionsRequest()
			r.Topics = []msg.DescribeTopicPartitionsRequestTopic{{Name: Topic}}
			r.Cursor = &msg.DescribeTopicPartitionsRequestCursor{TopicName: Topic, PartitionIndex: 1}
			return &r
		},
		kafka.KeyDescribeQuorum: func(string) msg.Request {
			r := msg.NewDescribeQuorumRequest()
			r.Topics = []msg.DescribeQuorumRequestTopic{{TopicName: "__cluster_metadata", Partitions: []msg.DescribeQuorumRequestTopicPartition{{}}}}
			return &r
		},
	}
	streamsRequests(m)
	dataRequests(m, id)
	topicRequests(m, id)
	configRequests(m)
	userRequests(m)
	clusterRequests(m)
	groupRequests(m, id)
	shareRequests(m, id)
	txnRequests(m, p, id)
	return m
}

func dataRequests(m map[int16]Build, id kafka.UUID) {
	m[kafka.KeyProduce] = func(string) msg.Request {
		r := msg.NewProduceRequest()
		r.Acks, r.TimeoutMs = 1, 2000
		r.TopicData = []msg.ProduceRequestTopicData{{Name: Topic, TopicID: id,
			PartitionData: []msg.ProduceRequestTopicDataPartitionData{{Index: 1, Records: Batch(3)}}}}
		return &r
	}
	m[kafka.KeyFetch] = func(string) msg.Request {
		r := msg.NewFetchRequest()
		r.MaxWaitMs, r.MinBytes, r.MaxBytes, r.SessionEpoch = 0, 1, 1<<20, -1
		part := msg.NewFetchRequestTopicPartition()
		part.FetchOffset, part.PartitionMaxBytes = 4, 1<<20
		r.Topics = []msg.FetchRequestTopic{{Topic: Topic, TopicID: id, Partitions: []msg.FetchRequestTopicPartition{part}}}
		return &r
	}
	m[kafka.KeyListOffsets] = func(string) msg.Request {
		r := msg.NewListOffsetsRequest()
		r.ReplicaID = -1
		part := msg.NewListOffsetsRequestTopicPartition()
		part.Timestamp = -1
		r.Topics = []msg.ListOffsetsRequestTopic{{Name: Topic, Partitions: []msg.ListOffsetsRequestTopicPartition{part}}}
		return &r
	}
	m[kafka.KeyOffsetForLeaderEpoch] = func(string) msg.Request {
		r := msg.NewOffsetForLeaderEpochRequest()
		part := msg.NewOffsetForLeaderEpochRequestTopicPartition()
		part.CurrentLeaderEpoch = -1
		r.ReplicaID = -1
		r.Topics = []msg.OffsetForLeaderEpochRequestTopic{{Topic: Topic, Partitions: []msg.OffsetForLeaderEpochRequestTopicPartition{part}}}
		return &r
	}
	m[kafka.KeyInitProducerID] = func(string) msg.Request {
		r := msg.NewInitProducerIDRequest()
		r.TransactionTimeoutMs = 60000
		return &r
	}
	m[kafka.KeyDescribeProducers] = func(string) msg.Request {
		r := msg.NewDescribeProducersRequest()
		r.Topics = []msg.DescribeProducersRequestTopic{{Name: Topic, PartitionIndexes: []int32{0}}}
		return &r
	}
	m[kafka.KeyDeleteRecords] = func(string) msg.Request {
		r := msg.NewDeleteRecordsRequest()
		r.TimeoutMs = 2000
		r.Topics = []msg.DeleteRecordsRequestTopic{{Name: Topic, Partitions: []msg.DeleteRecordsRequestTopicPartition{{PartitionIndex: 0, Offset: 1}}}}
		return &r
	}
}

func topicRequests(m map[int16]Build, id kafka.UUID) {
	m[kafka.KeyCreateTopics] = func(label string) msg.Request {
		r := msg.NewCreateTopicsRequest()
		r.TimeoutMs = 5000
		r.Topics = []msg.CreateTopicsRequestTopic{{Name: label, NumPartitions: 2, ReplicationFactor: 1,
			Configs: []msg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("100000")}}}}
		return &r
	}
	m[kafka.KeyDeleteTopics] = func(string) msg.Request {
		r := msg.NewDeleteTopicsRequest()
		r.TimeoutMs = 5000
		r.TopicNames = []string{"no-such-topic"}
		r.Topics = []msg.DeleteTopicsRequestTopic{{Name: ptr("no-such-topic")}}
		return &r
	}
	m[kafka.KeyCreatePartitions] = func(string) msg.Request {
		r := msg.NewCreatePartitionsRequest()
		r.TimeoutMs, r.ValidateOnly = 5000, true
		r.Topics = []msg.CreatePartitionsRequestTopic{{Name: Topic, Count: 5,
			Assignments: []msg.CreatePartitionsRequestTopicAssignment{{BrokerIDs: []int32{1}}, {BrokerIDs: []int32{1}}}}}
		return &r
	}
	m[kafka.KeyAlterReplicaLogDirs] = func(string) msg.Request {
		r := msg.NewAlterReplicaLogDirsRequest()
		r.Dirs = []msg.AlterReplicaLogDirsRequestDir{{Path: "/no-such-directory",
			Topics: []msg.AlterReplicaLogDirsRequestDirTopic{{Name: Topic, Partitions: []int32{0, 99}}}}}
		return &r
	}
	m[kafka.KeyAlterPartitionReassignments] = func(string) msg.Request {
		r := msg.NewAlterPartitionReassignmentsRequest()
		r.TimeoutMs = 5000
		r.Topics = []msg.AlterPartitionReassignmentsRequestTopic{{Name: Topic, Partitions: []msg.AlterPartitionReassignmentsRequestTopicPartition{
			{PartitionIndex: 0, Replicas: []int32{1}}, {PartitionIndex: 1, Replicas: []int32{7}}, {PartitionIndex: 1}, {PartitionIndex: 99}}}}
		return &r
	}
	m[kafka.KeyListPartitionReassignments] = func(string) msg.Request {
		r := msg.NewListPartitionReassignmentsRequest()
		r.TimeoutMs = 5000
		return &r
	}
	m[kafka.KeyDescribeLogDirs] = func(string) msg.Request {
		r := msg.NewDescribeLogDirsRequest()
		r.Topics = []msg.DescribeLogDirsRequestTopic{{Topic: Topic, Partitions: []int32{2}}}
		return &r
	}
}

func configRequests(m map[int16]Build) {
	m[kafka.KeyDescribeConfigs] = func(string) msg.Request {
		r := msg.NewDescribeConfigsRequest()
		r.Resources = []msg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: Topic,
			ConfigurationKeys: []string{"retention.ms", "cleanup.policy"}}}
		r.IncludeSynonyms = true
		return &r
	}
	m[kafka.KeyAlterConfigs] = func(string) msg.Request {
		r := msg.NewAlterConfigsRequest()
		r.Resources = []msg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: Doomed,
			Configs: []msg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("200000")}}}}
		return &r
	}
	m[kafka.KeyIncrementalAlterConfigs] = func(string) msg.Request {
		r := msg.NewIncrementalAlterConfigsRequest()
		r.Resources = []msg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: Doomed,
			Configs: []msg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("300000")}}}}
		return &r
	}
	m[kafka.KeyListConfigResources] = func(string) msg.Request {
		r := msg.NewListConfigResourcesRequest()
		r.ResourceTypes = []int8{2}
		return &r
	}
}

func groupRequests(m map[int16]Build, id kafka.UUID) {
	m[kafka.KeyFindCoordinator] = func(label string) msg.Request {
		r := msg.NewFindCoordinatorRequest()
		r.CoordinatorKey, r.CoordinatorKeys = label, []string{label}
		return &r
	}
	m[kafka.KeyJoinGroup] = func(label string) msg.Request {
		r := msg.NewJoinGroupRequest()
		r.GroupID, r.SessionTimeoutMs, r.RebalanceTimeoutMs, r.ProtocolType = label, 6000, 6000, "consumer"
		r.Protocols = []msg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
		return &r
	}
	m[kafka.KeySyncGroup] = func(label string) msg.Request {
		r := msg.NewSyncGroupRequest()
		r.GroupID, r.GenerationID, r.MemberID = label, 1, "nobody"
		r.ProtocolType, r.ProtocolName = ptr("consumer"), ptr("range")
		r.Assignments = []msg.SyncGroupRequestAssignment{{MemberID: "nobody", Assignment: []byte{1}}}
		return &r
	}
	m[kafka.KeyHeartbeat] = func(label string) msg.Request {
		r := msg.NewHeartbeatRequest()
		r.GroupID, r.GenerationID, r.MemberID = label, 1, "nobody"
		return &r
	}
	m[kafka.KeyLeaveGroup] = func(label string) msg.Request {
		r := msg.NewLeaveGroupRequest()
		r.GroupID, r.MemberID = label, "nobody"
		r.Members = []msg.LeaveGroupRequestMember{{MemberID: "nobody"}}
		return &r
	}
	m[kafka.KeyDescribeGroups] = func(string) msg.Request {
		r := msg.NewDescribeGroupsRequest()
		r.Groups = []string{CommittedGroup}
		return &r
	}
	m[kafka.KeyListGroups] = func(string) msg.Request {
		r := msg.NewListGroupsRequest()
		r.StatesFilter, r.TypesFilter = []string{"Stable"}, []string{"classic"}
		return &r
	}
	m[kafka.KeyDeleteGroups] = func(label string) msg.Request {
		r := msg.NewDeleteGroupsRequest()
		r.GroupsNames = []string{label}
		return &r
	}
	offsetRequests(m, id)
	consumerRequests(m)
}

func offsetRequests(m map[int16]Build, id kafka.UUID) {
	m[kafka.KeyOffsetCommit] = func(label string) msg.Request {
		r := msg.NewOffsetCommitRequest()
		r.GroupID, r.GenerationIDOrMemberEpoch = label, -1
		part := msg.NewOffsetCommitRequestTopicPartition()
		part.CommittedOffset, part.CommittedMetadata = 7, ptr("note")
		r.Topics = []msg.OffsetCommitRequestTopic{{Name: Topic, TopicID: id, Partitions: []msg.OffsetCommitRequestTopicPartition{part}}}
		return &r
	}
	m[kafka.KeyOffsetFetch] = func(string) msg.Request {
		r := msg.NewOffsetFetchRequest()
		r.GroupID = CommittedGroup
		r.Topics = []msg.OffsetFetchRequestTopic{{Name: Topic, PartitionIndexes: []int32{0}}}
		g := msg.NewOffsetFetchRequestGroup()
		g.GroupID = CommittedGroup
		g.Topics = []msg.OffsetFetchRequestGroupTopic{{Name: Topic, TopicID: id, PartitionIndexes: []int32{0}}}
		r.Groups = []msg.OffsetFetchRequestGroup{g}
		return &r
	}
	m[kafka.KeyOffsetDelete] = func(string) msg.Request {
		r := msg.NewOffsetDeleteRequest()
		r.GroupID = CommittedGroup
		r.Topics = []msg.OffsetDeleteRequestTopic{{Name: Topic, Partitions: []msg.OffsetDeleteRequestTopicPartition{{PartitionIndex: 2}}}}
		return &r
	}
}
