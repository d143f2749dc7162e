package api

import (
	"bytes"
	"context"
	"slices"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/group"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
)

// GroupHandlers answer the classic group protocol and committed offsets.
type GroupHandlers struct {
	Groups *group.Service
	Image  func() *cluster.Image
	Topics InternalTopics
	NodeID int32
	Auto   bool // tell clients the address of this broker that they came to

	// MinVersion is as in [TxnHandlers].
	MinVersion func(listener string) int16

	// Protocols are those that are on: group.coordinator.rebalance.protocols. The
	// classic one always is, and share groups hang on their feature alone.
	Protocols []string
}

// The features that protocols of groups hang on; level 0 turns them off.
const (
	groupVersion   = "group.version"
	streamsVersion = "streams.version"
)

// consuming says whether the broker serves the consumer protocol.
func (h *GroupHandlers) consuming() bool { return h.serves("consumer", groupVersion) }

// streaming says whether the broker serves the streams protocol.
func (h *GroupHandlers) streaming() bool { return h.serves("streams", streamsVersion) }

func (h *GroupHandlers) serves(protocol, feature string) bool {
	return slices.Contains(h.Protocols, protocol) && h.Image().Feature(feature) >= 1
}

// InternalTopics makes topics on first use, as [metadata.Metadata] does.
type InternalTopics interface {
	AutoCreate(ctx context.Context, names []string) []metadata.AutoTopic
}

func (h *GroupHandlers) rows() []Row {
	read, describe, remove := Access{auth.Read, auth.Group}, Access{auth.Describe, auth.Group}, Access{auth.Delete, auth.Group}
	readTopic, describeTopic := Access{auth.Read, auth.Topic}, Access{auth.Describe, auth.Topic}
	return []Row{
		row(kafka.KeyOffsetCommit, cold(h.offsetCommit), read, readTopic),
		row(kafka.KeyOffsetFetch, cold(h.offsetFetch), describe, describeTopic),
		row(kafka.KeyTxnOffsetCommit, cold(h.txnOffsetCommit), read, readTopic, Access{auth.Write, auth.TransactionalID}),
		row(kafka.KeyFindCoordinator, cold(h.findCoordinator), describe, Access{auth.Describe, auth.TransactionalID},
			Access{auth.ClusterAction, auth.Cluster}),
		row(kafka.KeyJoinGroup, cold(h.joinGroup), read),
		row(kafka.KeyHeartbeat, cold(h.heartbeat), read),
		row(kafka.KeyLeaveGroup, cold(h.leaveGroup), read),
		row(kafka.KeySyncGroup, cold(h.syncGroup), read),
		row(kafka.KeyDescribeGroups, cold(h.describeGroups), describe),
		row(kafka.KeyListGroups, cold(h.listGroups), describe, Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyDeleteGroups, cold(h.deleteGroups), remove),
		row(kafka.KeyOffsetDelete, cold(h.offsetDelete), remove, readTopic),
		row(kafka.KeyConsumerGroupHeartbeat, cold(h.consumerGroupHeartbeat), read, describeTopic),
		row(kafka.KeyConsumerGroupDescribe, cold(h.consumerGroupDescribe), describe, describeTopic),
		row(kafka.KeyStreamsGroupHeartbeat, cold(h.streamsGroupHeartbeat), read, describeTopic, Access{auth.Create, auth.Cluster}, Access{auth.Create, auth.Topic}),
		row(kafka.KeyStreamsGroupDescribe, cold(h.streamsGroupDescribe), describe, describeTopic),
		row(kafka.KeyStreamsGroupTopologyDescriptionUpdate, cold(h.streamsGroupTopologyDescriptionUpdate), read),
		row(kafka.KeyShareGroupHeartbeat, cold(h.shareGroupHeartbeat), read, describeTopic),
		row(kafka.KeyShareGroupDescribe, cold(h.shareGroupDescribe), describe, describeTopic),
		row(kafka.KeyDescribeShareGroupOffsets, cold(h.describeShareGroupOffsets), describe, describeTopic),
		row(kafka.KeyAlterShareGroupOffsets, cold(h.alterShareGroupOffsets), read, readTopic),
		row(kafka.KeyDeleteShareGroupOffsets, cold(h.deleteShareGroupOffsets), remove, readTopic),
	}
}

// caller is who asks, for the coordinator.
func caller(c *Call) group.Client {
	return group.Client{ID: c.ClientID, Host: c.Conn.Peer, Version: c.Version}
}

// own copies what lies in the frame, for a handler that keeps it or waits.
func own(b []byte) []byte { return bytes.Clone(b) }
