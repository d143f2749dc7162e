package api

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metrics"
	"github.com/myelin-stream/myelin/internal/quota"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// served are the keys that this broker serves. A key that comes to be served
// is added here and gets a row.
var served = []int16{
	kafka.KeyProduce, kafka.KeyFetch, kafka.KeyListOffsets, kafka.KeyAPIVersions, kafka.KeyOffsetForLeaderEpoch,
	// groups
	kafka.KeyOffsetCommit, kafka.KeyOffsetFetch, kafka.KeyFindCoordinator, kafka.KeyJoinGroup, kafka.KeyHeartbeat,
	kafka.KeyLeaveGroup, kafka.KeySyncGroup, kafka.KeyDescribeGroups, kafka.KeyListGroups, kafka.KeyDeleteGroups,
	kafka.KeyOffsetDelete, kafka.KeyTxnOffsetCommit, kafka.KeyConsumerGroupHeartbeat, kafka.KeyConsumerGroupDescribe,
	// transactions
	kafka.KeyInitProducerID, kafka.KeyAddPartitionsToTxn, kafka.KeyAddOffsetsToTxn, kafka.KeyEndTxn, kafka.KeyWriteTxnMarkers,
	kafka.KeyDescribeTransactions, kafka.KeyListTransactions,
