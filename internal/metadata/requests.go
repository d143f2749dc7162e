package metadata

import (
	"context"
	"errors"

	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// CreateTopics answers CreateTopics. The caller has authorized it: topics that
// must not be created are taken out before, and the settings in the answer that
// the client may not see after.
func (m *Metadata) CreateTopics(ctx context.Context, req *msg.CreateTopicsRequest) *msg.CreateTopicsResponse {
	return nil
}

// AutoTopic is the outcome of creating one topic on first use.
type AutoTopic struct {
	Name string
	Err  error // nil: it exists now, or did before
}

// AutoCreate makes topics that do not exist, with the broker's defaults; the
// internal ones get their own partitions, replicas and settings. The outcomes
// are in the order of names.
func (m *Metadata) AutoCreate(ctx context.Context, names []string) []AutoTopic { return nil }

// DeleteTopics answers DeleteTopics.
func (m *Metadata) DeleteTopics(ctx context.Context, req *msg.DeleteTopicsRequest) *msg.DeleteTopicsResponse {
	return nil
}

// CreatePartitions answers CreatePartitions.
func (m *Metadata) CreatePartitions(ctx context.Context, req *msg.CreatePartitionsRequest) *msg.CreatePartitionsResponse {
	return nil
}

// AlterConfigs answers AlterConfigs: each resource's settings are replaced.
func (m *Metadata) AlterConfigs(ctx context.Context, req *msg.AlterConfigsRequest) *msg.AlterConfigsResponse {
	return nil
}

// IncrementalAlterConfigs answers IncrementalAlterConfigs.
func (m *Metadata) IncrementalAlterConfigs(ctx context.Context, req *msg.IncrementalAlterConfigsRequest) *msg.IncrementalAlterConfigsResponse {
	return nil
}

// AllocateProducerIDs answers AllocateProducerIds, for other brokers.
func (m *Metadata) AllocateProducerIDs(ctx context.Context, req *msg.AllocateProducerIDsRequest) *msg.AllocateProducerIDsResponse {
	return nil
}

// NextProducerID gives out a producer id that was never given out before, from
// a block of this broker.
func (m *Metadata) NextProducerID(ctx context.Context) (int64, error) {
	return 0, errors.ErrUnsupported
}

// AlterPartition answers AlterPartition: a leader's change of its ISR.
func (m *Metadata) AlterPartition(ctx context.Context, req *msg.AlterPartitionRequest) *msg.AlterPartitionResponse {
	return nil
}

// DescribeQuorum answers DescribeQuorum.
func (m *Metadata) DescribeQuorum(ctx context.Context, req *msg.DescribeQuorumRequest) *msg.DescribeQuorumResponse {
	return nil
}
