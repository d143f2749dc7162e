package api

import (
	"fmt"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/replica"
)

// DataHandlers answer what moves records: Produce, Fetch, ListOffsets,
// OffsetForLeaderEpoch.
type DataHandlers struct {
	Replicas Replicas
	Image    func() *cluster.Image
	NodeID   int32
	Sessions *FetchSessions

	// Turnover is told when this broker begins to lead; nil where there are no
	// followers.
	Turnover *Turnover

	// Throttle bounds what followers get that are not in sync; nil: nothing does.
	Throttle *Throttle

	// RackAware tells consumers of a replica in their own rack
	// (replica.selector.class).
	RackAware bool

	// FetchMaxBytes bounds the answer to a Fetch (fetch.max.bytes).
	FetchMaxBytes int32

	// Txns is asked before a partition takes the first batch of a transaction;
	// Verify says whether older clients' are verified, too
	// (transaction.partition.verification.enable).
	Txns   Transactions
	Verify func() bool

	// MinVersion is as in [TxnHandlers].
	MinVersion func(listener string) int16
}

// Replicas finds this broker's copy of a partition, as [replica.Table] does.
type Replicas interface {
	Get(topic string, partition int32) (*replica.Replica, error)
	GetID(id kafka.UUID, partition int32) (*replica.Replica, error)
}

func (h *DataHandlers) rows() []Row {
	produce := row(kafka.KeyProduce, h.produce, Access{auth.Write, auth.Topic}, Access{auth.Write, auth.TransactionalID})
	produce.Advertised.Min = 0 // librdkafka takes a higher one for "cannot compress" (KAFKA-18659)
	produce.Pipelined = true
	return []Row{
		produce,
		row(kafka.KeyFetch, h.fetch, Access{auth.Read, auth.Topic}, Access{auth.ClusterAction, auth.Cluster}),
		row(kafka.KeyListOffsets, cold(h.listOffsets), Access{auth.Describe, auth.Topic}),
		row(kafka.KeyOffsetForLeaderEpoch, cold(h.offsetForLeaderEpoch),
			Access{auth.Describe, auth.Topic}, Access{auth.ClusterAction, auth.Cluster}),
	}
}

// topicRef names a topic as a request does: by name, or by id from some version
// on.
type topicRef struct {
	name string
	id   kafka.UUID
	byID bool
}

// find gives the replica of a partition. What this broker does not hold, but the
// cluster has, is led by another: NOT_LEADER_OR_FOLLOWER. Else it is
// UNKNOWN_TOPIC_OR_PARTITION or UNKNOWN_TOPIC_ID.
func (h *DataHandlers) find(t *topicRef, partition int32) (*replica.Replica, error) {
	var r *replica.Replica
	var err error
	if t.byID {
		r, err = h.Replicas.GetID(t.id, partition)
	} else {
		r, err = h.Replicas.Get(t.name, partition)
	}
	if err == nil {
		return r, nil
	}
	if code := kafka.CodeOf(err); code != kafka.UnknownTopicOrPartition && code != kafka.UnknownTopicID {
		return nil, err
	}
	switch topic := h.topic(t); {
	case topic == nil:
		return nil, err
	case topic.Partition(partition) == nil:
		return nil, fmt.Errorf("partition %s-%d: %w", topic.Name, partition, kafka.UnknownTopicOrPartition)
	default:
		return nil, fmt.Errorf("partition %s-%d: %w", topic.Name, partition, kafka.NotLeaderOrFollower)
	}
}

// topic is what the cluster knows of a topic, nil if nothing.
func (h *DataHandlers) topic(t *topicRef) *cluster.Topic {
	if t.byID {
		return h.Image().TopicByID(t.id)
	}
	return h.Image().Topic(t.name)
}

// leader is whom the cluster says to ask instead, -1 and -1 if nobody is known
// or it is this broker (KIP-951).
func (h *DataHandlers) leader(t *topicRef, partition int32) (id, epoch int32) {
	p := h.topic(t).Partition(partition)
	if p == nil || p.Leader == h.NodeID {
		return kafka.NoBroker, kafka.NoEpoch
	}
	return p.Leader, p.LeaderEpoch
}
