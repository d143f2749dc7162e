package wirecmp

import (
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// What Setup leaves for share groups.
const (
	// ShareGroup has no members; it begins at offset 3 of partition 0 of Topic.
	ShareGroup = "wire-share"

	// shareMember reads for it.
	shareMember = "vlbxxVYyQs2iVTvsUvHZkQ"

	// StateGroup has the state of partition 0 of Topic with the share coordinator,
	// from offset 2 on in state epoch 1. No group coordinator knows of it.
	StateGroup = "wire-state"
)

// setupShare makes __share_group_state and what the constants above say.
func (p *Peer) setupShare() error {
	if err := p.until(p.findShareCoordinator); err != nil {
		return err
	}
	if err := p.until(p.initializeState); err != nil {
		return err
	}
	return p.until(p.alterShareOffsets)
}

func (p *Peer) findShareCoordinator() (kafka.Code, error) {
	req := msg.NewFindCoordinatorRequest()
	req.KeyType, req.CoordinatorKeys = 2, []string{StateGroup + ":" + p.TopicIDs[Topic].String() + ":0"}
	var resp msg.FindCoordinatorResponse
	if err := p.Do(&req, 6, &resp); err != nil {
		return 0, err
	}
	return kafka.Code(resp.Coordinators[0].ErrorCode), nil
}

func (p *Peer) initializeState() (kafka.Code, error) {
	var resp msg.InitializeShareGroupStateResponse
	if err := p.Do(initializeRequest(StateGroup, p.TopicIDs[Topic]), 0, &resp); err != nil {
		return 0, err
	}
	return kafka.Code(resp.Results[0].Partitions[0].ErrorCode), nil
}

func initializeRequest(group string, id kafka.UUID) *msg.InitializeShareGroupStateRequest {
	r := msg.NewInitializeShareGroupStateRequest()
	r.GroupID = group
	r.Topics = []msg.InitializeShareGroupStateRequestTopic{{TopicID: id,
		Partitions: []msg.InitializeShareGroupStateRequestTopicPartition{{Partition: 0, StateEpoch: 1, StartOffset: 2}}}}
	return &r
}

func (p *Peer) alterShareOffsets() (kafka.Code, error) {
	var resp msg.AlterShareGroupOffsetsResponse
	if err := p.Do(alterRequest(ShareGroup), 0, &resp); err != nil {
		return 0, err
	}
	if resp.ErrorCode != 0 {
		return kafka.Code(resp.ErrorCode), nil
	}
	return kafka.Code(resp.Responses[0].Partitions[0].ErrorCode), nil
}

func alterRequest(group string) *msg.AlterShareGroupOffsetsRequest {
	r := msg.NewAlterShareGroupOffsetsRequest()
	r.GroupID = group
	r.Topics = []msg.AlterShareGroupOffsetsRequestTopic{{TopicName: Topic,
		Partitions: []msg.AlterShareGroupOffsetsRequestTopicPartition{{PartitionIndex: 0, StartOffset: 3}}}}
	return &r
}

func shareRequests(m map[int16]Build, id kafka.UUID) {
	m[kafka.KeyShareGroupHeartbeat] = func(label string) msg.Request {
		r := msg.NewShareGroupHeartbeatRequest()
		r.GroupID, r.MemberID, r.RackID, r.SubscribedTopicNames = label, "wire-member-0001", ptr("r"), []string{Topic}
		return &r
	}
	// Of a session that is not open. What is read and acquired changes what the next
	// request finds, so that is compared in sequences.
	m[kafka.KeyShareFetch] = func(string) msg.Request {
		r := msg.NewShareFetchRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch = ptr(ShareGroup), ptr(shareMember), 1
		r.MaxWaitMs, r.MaxRecords, r.BatchSize = 50, 10, 10
		r.Topics = []msg.ShareFetchRequestTopic{{TopicID: id, Partitions: []msg.ShareFetchRequestTopicPartition{{PartitionIndex: 0}}}}
		return &r
	}
	m[kafka.KeyShareAcknowledge] = func(string) msg.Request {
		r := msg.NewShareAcknowledgeRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch = ptr(ShareGroup), ptr(shareMember), 1
		r.Topics = []msg.ShareAcknowledgeRequestTopic{{TopicID: id, Partitions: []msg.ShareAcknowledgeRequestTopicPartition{{
			AcknowledgementBatches: []msg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{{
				FirstOffset: 3, LastOffset: 4, AcknowledgeTypes: []int8{1}}}}}}}
		return &r
	}
	m[kafka.KeyShareGroupDescribe] = func(string) msg.Request {
		r := msg.NewShareGroupDescribeRequest()
		r.GroupIDs = []string{ShareGroup}
		return &r
	}
	m[kafka.KeyDescribeShareGroupOffsets] = func(string) msg.Request {
		r := msg.NewDescribeShareGroupOffsetsRequest()
		r.Groups = []msg.DescribeShareGroupOffsetsRequestGroup{{GroupID: ShareGroup,
			Topics: []msg.DescribeShareGroupOffsetsRequestGroupTopic{{TopicName: Topic, Partitions: []int32{0, 1}}}}}
		return &r
	}
	m[kafka.KeyAlterShareGroupOffsets] = func(label string) msg.Request { return alterRequest(label) }
	m[kafka.KeyDeleteShareGroupOffsets] = func(string) msg.Request {
		r := msg.NewDeleteShareGroupOffsetsRequest()
		r.GroupID, r.Topics = ShareGroup, []msg.DeleteShareGroupOffsetsRequestTopic{{TopicName: Compact}}
		return &r
	}
	stateRequests(m, id)
}

// stateRequests are those to the share coordinator.
func stateRequests(m map[int16]Build, id kafka.UUID) {
	m[kafka.KeyInitializeShareGroupState] = func(label string) msg.Request { return initializeRequest(label, id) }
	m[kafka.KeyReadShareGroupState] = func(string) msg.Request {
		r := msg.NewReadShareGroupStateRequest()
		r.GroupID = StateGroup
		r.Topics = []msg.ReadShareGroupStateRequestTopic{{TopicID: id, Partitions: []msg.ReadShareGroupStateRequestTopicPartition{{LeaderEpoch: 3}}}}
		return &r
	}
	m[kafka.KeyWriteShareGroupState] = func(string) msg.Request {
		r := msg.NewWriteShareGroupStateRequest()
		r.GroupID = StateGroup
		p := msg.NewWriteShareGroupStateRequestTopicPartition()
		p.StateEpoch, p.LeaderEpoch, p.StartOffset, p.DeliveryCompleteCount = 1, 3, 4, 2
		p.StateBatches = []msg.WriteShareGroupStateRequestTopicPartitionStateBatch{{FirstOffset: 5, LastOffset: 6, DeliveryState: 2, DeliveryCount: 1}}
		r.Topics = []msg.WriteShareGroupStateRequestTopic{{TopicID: id, Partitions: []msg.WriteShareGroupStateRequestTopicPartition{p}}}
		return &r
	}
	m[kafka.KeyDeleteShareGroupState] = func(label string) msg.Request {
		r := msg.NewDeleteShareGroupStateRequest()
		r.GroupID = label
		r.Topics = []msg.DeleteShareGroupStateRequestTopic{{TopicID: id, Partitions: []msg.DeleteShareGroupStateRequestTopicPartition{{}}}}
		return &r
	}
	m[kafka.KeyReadShareGroupStateSummary] = func(string) msg.Request {
		r := msg.NewReadShareGroupStateSummaryRequest()
		r.GroupID = StateGroup
		r.Topics = []msg.ReadShareGroupStateSummaryRequestTopic{{TopicID: id, Partitions: []msg.ReadShareGroupStateSummaryRequestTopicPartition{{}}}}
		return &r
	}
}
