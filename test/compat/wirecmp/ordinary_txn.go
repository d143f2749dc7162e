package wirecmp

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Producer takes a transactional id for itself, and gives the producer that the
// broker makes of it.
func (p *Peer) Producer(id string) (*msg.InitProducerIDResponse, error) {
	var got msg.InitProducerIDResponse
	err := p.until(func() (kafka.Code, error) {
		find := msg.NewFindCoordinatorRequest()
		find.CoordinatorKey, find.KeyType = id, 1
		var found msg.FindCoordinatorResponse
		if err := p.Do(&find, 2, &found); err != nil || found.ErrorCode != 0 {
			return kafka.Code(found.ErrorCode), err
		}
		req := msg.NewInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMs = &id, 60000
		err := p.Do(&req, 4, &got)
		return kafka.Code(got.ErrorCode), err
	})
	if err != nil {
		return nil, fmt.Errorf("producer of %s: %w", id, err)
	}
	return &got, nil
}

// mustProducer is Producer for who cannot fail; a broker that gives none shows in
// what it answers next.
func (p *Peer) mustProducer(id string) *msg.InitProducerIDResponse {
	got, err := p.Producer(id)
	if err != nil {
		return &msg.InitProducerIDResponse{}
	}
	return got
}

// txnRequests are those of transactions. Each case has a transactional id of its
// own.
func txnRequests(m map[int16]Build, p *Peer, id kafka.UUID) {
	m[kafka.KeyAddPartitionsToTxn] = func(label string) msg.Request {
		who := p.mustProducer(label)
		r := msg.NewAddPartitionsToTxnRequest()
		topics := []msg.AddPartitionsToTxnRequestTopic{{Name: Topic, Partitions: []int32{0, 1}}}
		r.V3AndBelowTransactionalID, r.V3AndBelowProducerID, r.V3AndBelowProducerEpoch = label, who.ProducerID, who.ProducerEpoch
		r.V3AndBelowTopics = topics
		r.Transactions = []msg.AddPartitionsToTxnRequestTransaction{{TransactionalID: label, ProducerID: who.ProducerID,
			ProducerEpoch: who.ProducerEpoch, Topics: topics}}
		return &r
	}
	m[kafka.KeyAddOffsetsToTxn] = func(label string) msg.Request {
		who := p.mustProducer(label)
		r := msg.NewAddOffsetsToTxnRequest()
		r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.GroupID = label, who.ProducerID, who.ProducerEpoch, CommittedGroup
		return &r
	}
	m[kafka.KeyTxnOffsetCommit] = func(label string) msg.Request {
		who := p.mustProducer(label)
		r := msg.NewTxnOffsetCommitRequest()
		r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.GroupID = label, who.ProducerID, who.ProducerEpoch, label
		r.Topics = []msg.TxnOffsetCommitRequestTopic{{Name: Topic, TopicID: id, Partitions: []msg.TxnOffsetCommitRequestTopicPartition{
			{PartitionIndex: 0, CommittedOffset: 2, CommittedLeaderEpoch: -1}}}}
		return &r
	}
	m[kafka.KeyEndTxn] = func(label string) msg.Request {
		who := p.mustProducer(label)
		r := msg.NewEndTxnRequest()
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = label, who.ProducerID, who.ProducerEpoch
		return &r
	}
	m[kafka.KeyWriteTxnMarkers] = func(string) msg.Request {
		r := msg.NewWriteTxnMarkersRequest()
		r.Markers = []msg.WriteTxnMarkersRequestMarker{{ProducerID: 4711, TransactionResult: true,
			Topics: []msg.WriteTxnMarkersRequestMarkerTopic{{Name: Doomed, PartitionIndexes: []int32{0}}}}}
		return &r
	}
	m[kafka.KeyUpdateFeatures] = func(string) msg.Request {
		r := msg.NewUpdateFeaturesRequest()
		r.TimeoutMs, r.ValidateOnly = 5000, true
		r.FeatureUpdates = []msg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1}}
		return &r
	}
	m[kafka.KeyDescribeTransactions] = func(label string) msg.Request {
		p.mustProducer(label)
		r := msg.NewDescribeTransactionsRequest()
		r.TransactionalIDs = []string{label}
		return &r
	}
	m[kafka.KeyListTransactions] = func(string) msg.Request {
		r := msg.NewListTransactionsRequest()
		r.StateFilters, r.ProducerIDFilters = []string{"Ongoing", "Empty"}, []int64{1 << 40}
		r.DurationFilter, r.TransactionalIDPattern = 1000, ptr("no-such-.*")
		return &r
	}
}

// Hang leaves a transaction behind of which the coordinator knows nothing: a
// batch of an older client that forgot to add the partition. A broker takes it
// with transaction.partition.verification.enable=false only; Hang waits for that,
// and returns the producer's id.
func (p *Peer) Hang(id, topic string, partition int32) (int64, error) {
	who, err := p.Producer(id)
	if err != nil {
		return 0, err
	}
	return who.ProducerID, p.until(func() (kafka.Code, error) {
		req := msg.NewProduceRequest()
		req.TransactionalID, req.Acks, req.TimeoutMs = &id, -1, 5000
		req.TopicData = []msg.ProduceRequestTopicData{{Name: topic, PartitionData: []msg.ProduceRequestTopicDataPartitionData{
			{Index: partition, Records: InTransaction(Batch(2), who.ProducerID, who.ProducerEpoch, 0)}}}}
		var resp msg.ProduceResponse
		if err := p.Do(&req, 11, &resp); err != nil {
			return 0, err
		}
		return kafka.Code(resp.Responses[0].PartitionResponses[0].ErrorCode), nil
	})
}
