package share

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/myelin-stream/myelin/internal/kafka"
)

// Key names a share partition.
type Key struct {
	Group     string
	TopicID   kafka.UUID
	Partition int32
}

// String is the key as FindCoordinator (key type 2) knows it.
func (k Key) String() string { return fmt.Sprintf("%s:%s:%d", k.Group, k.TopicID, k.Partition) }

func (k *Key) compare(o *Key) int {
	return cmp.Or(strings.Compare(k.Group, o.Group), bytes.Compare(k.TopicID[:], o.TopicID[:]), cmp.Compare(k.Partition, o.Partition))
}

// Delivery is the state of a record as the share coordinator stores it.
type Delivery int8

// The numbers are those of __share_group_state. Acquired is never stored: who
// reads the state back takes such a record for available.
const (
	Available    Delivery = 0
	Acquired     Delivery = 1
	Acknowledged Delivery = 2
	Archiving    Delivery = 3 // given up, its letter is on its way
	Archived     Delivery = 4
)

// Batch is a run of records in the same state, both offsets included.
type Batch struct {
	First, Last int64
	State       Delivery
	Count       int16 // deliveries so far
}

// State is what is stored of a share partition.
type State struct {
	// StateEpoch grows with each initialization (AlterShareGroupOffsets); who
	// writes with an older one is fenced.
	StateEpoch int32

	// StartOffset is the first offset that is not done, [NoStart] if the group's
	// share.auto.offset.reset decides.
	StartOffset int64

	// Batches are in order of their offsets and do not overlap. What lies between
	// them is available and was never delivered.
	Batches []Batch
}

// NoStart is the start offset of a share partition that was never read.
const NoStart int64 = -1

// Update changes the stored state.
type Update struct {
	StateEpoch  int32
	LeaderEpoch int32

	// StartOffset is the new start, NoStart to leave it.
	StartOffset int64

	// DeliveryComplete is how many records from the start on are done, -1 if
	// unknown.
	DeliveryComplete int32

	// Batches go over what is stored: what they do not cover stays.
	Batches []Batch
}

// Persister keeps the state of share partitions: the share coordinator, in this
// process or behind the network.
//
// Errors carry a [kafka.Code]: GROUP_ID_NOT_FOUND or UNKNOWN_TOPIC_OR_PARTITION
// when the partition was not initialized or was deleted, FENCED_STATE_EPOCH,
// FENCED_LEADER_EPOCH, INVALID_REQUEST, and NOT_COORDINATOR,
// COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS, which are worth
// another try. On an error the caller does not know whether the change was
// stored.
type Persister interface {
	// Read gives what is stored. leaderEpoch is that of the topic partition's
	// leader: from then on writes with an older one are fenced.
	Read(ctx context.Context, key Key, leaderEpoch int32) (State, error)

	// Write returns when the change is durable. Calls for one key come one at a
	// time; u.Batches is not kept.
	Write(ctx context.Context, key Key, u Update) error
}
