package api

import (
	"context"
	"errors"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/txn"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// markerWait bounds how long an answer waits for partitions that cannot commit. It
// holds up what else the coordinator has for this broker, and the coordinator tries
// again.
const markerWait = 2 * time.Second

// writeTxnMarkers answers WriteTxnMarkers (key 27, versions 1 and 2): the
// coordinator of a transaction, or an administrator who ends one that hangs,
// writes its outcome into partitions that this broker leads. All markers of a
// request are appended before any is waited for.
//
//	authorize  CLUSTER_AUTHORIZATION_FAILED
//	append     UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER,
//	           INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED
//	await      what becomes of any batch under acks=all; REQUEST_TIMED_OUT
//
// Versions: 2 the version of the transaction, from which on a marker's epoch is
// greater than its batches' (KIP-1228).
func (h *TxnHandlers) writeTxnMarkers(c *Call, req *msg.WriteTxnMarkersRequest) *msg.WriteTxnMarkersResponse {
	resp := msg.NewWriteTxnMarkersResponse()
	allowed := c.AllowedCluster(auth.Alter) || c.AllowedCluster(auth.ClusterAction)
	c.Free()
	ctx, cancel := context.WithTimeout(c.Ctx, markerWait)
	defer cancel()
	waits := make([]func() []error, len(req.Markers))
	for i := range req.Markers {
		m := &req.Markers[i]
		var partitions []kafka.TopicPartition
		for _, t := range m.Topics {
			for _, p := range t.PartitionIndexes {
				partitions = append(partitions, kafka.TopicPartition{Topic: t.Name, Partition: p})
			}
		}
		waits[i] = func() []error { return allRefused(len(partitions), kafka.ClusterAuthorizationFailed) }
		switch {
		case allowed && (m.ProducerID == kafka.NoProducer || m.ProducerEpoch == kafka.NoProdEpoch):
			waits[i] = func() []error { return allRefused(len(partitions), kafka.UnknownServerError) } // as Kafka does
		case allowed:
			waits[i] = h.Markers.Start(ctx, txn.Marker{Producer: txn.Producer{ID: m.ProducerID, Epoch: m.ProducerEpoch},
				CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.TransactionResult, Version: int16(m.TransactionVersion)}, partitions)
		}
	}
	for i := range req.Markers {
		resp.Markers = append(resp.Markers, markerRow(&req.Markers[i], waits[i]()))
	}
	return &resp
}

// markerRow is the answer for one marker, of which errs has an error for each
// partition.
func markerRow(m *msg.WriteTxnMarkersRequestMarker, errs []error) msg.WriteTxnMarkersResponseMarker {
	row := msg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
	n := 0
	for _, t := range m.Topics {
		topic := msg.WriteTxnMarkersResponseMarkerTopic{Name: t.Name}
		for _, p := range t.PartitionIndexes {
			topic.Partitions = append(topic.Partitions, msg.WriteTxnMarkersResponseMarkerTopicPartition{
				PartitionIndex: p, ErrorCode: int16(markerCode(errs[n]))})
			n++
		}
		row.Topics = append(row.Topics, topic)
	}
	return row
}

// markerCode is what a coordinator hears; who is cut off by a drain tries again.
func markerCode(err error) kafka.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return kafka.NotLeaderOrFollower
	case errors.Is(err, context.DeadlineExceeded):
		return kafka.RequestTimedOut
	}
	switch code := kafka.CodeOf(err); code {
	case kafka.NotCoordinator, kafka.CoordinatorNotAvailable, kafka.CoordinatorLoadInProgress:
		return kafka.NotLeaderOrFollower // of offsets: markers know partitions, not coordinators
	default:
		return code
	}
}

func allRefused(n int, code kafka.Code) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = code
	}
	return errs
}
