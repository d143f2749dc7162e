package api

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/metadata"
)

// ClusterHandlers answer what describes the cluster: Metadata, DescribeCluster,
// DescribeQuorum, and what brokers ask each other.
type ClusterHandlers struct {
	Metadata *metadata.Metadata
	NodeID   int32

	// Auto tells each client the address that it connected to, for this broker
	// (advertised.listeners=auto).
	Auto bool
}

func (h *ClusterHandlers) rows() []Row {
	allocate := row(kafka.KeyAllocateProducerIDs, cold(h.allocateProducerIDs), Access{auth.ClusterAction, auth.Cluster})
	allocate.Hidden = true // brokers ask each other
	assign := row(kafka.KeyAssignReplicasToDirs, cold(h.assignReplicasToDirs), Access{auth.ClusterAction, auth.Cluster})
	assign.Hidden = true
	update := row(kafka.KeyUpdateRaftVoter, cold(h.updateRaftVoter), Access{auth.ClusterAction, auth.Cluster})
	update.Hidden = true
	return []Row{
		row(kafka.KeyMetadata, cold(h.metadata), Access{auth.Describe, auth.Topic}, Access{auth.Create, auth.Topic},
			Access{auth.Create, auth.Cluster}, Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyDescribeCluster, cold(h.describeCluster), Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyDescribeTopicPartitions, cold(h.describeTopicPartitions), Access{auth.Describe, auth.Topic}),
		row(kafka.KeyDescribeQuorum, cold(h.describeQuorum), Access{auth.Describe, auth.Cluster}),
		row(kafka.KeyUnregisterBroker, cold(h.unregisterBroker), Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyUpdateFeatures, cold(h.updateFeatures), Access{auth.Alter, auth.Cluster}),
		allocate, assign, update,
		row(kafka.KeyAddRaftVoter, cold(h.addRaftVoter), Access{auth.Alter, auth.Cluster}),
		row(kafka.KeyRemoveRaftVoter, cold(h.removeRaftVoter), Access{auth.Alter, auth.Cluster}),
		privateRow(kafka.KeyRaftMessages, cold(h.raftMessages)), privateRow(kafka.KeyRaftSnapshot, cold(h.raftSnapshot)),
		privateRow(kafka.KeyControllerAsk, cold(h.controllerAsk)), privateRow(kafka.KeyJoinQuorum, cold(h.joinQuorum)),
	}
}

// endpoint is where a client that came in by a listener reaches a broker; false
// if the broker does not have that listener.
func (h *ClusterHandlers) endpoint(c *Call, b *cluster.Broker) (host string, port int32, ok bool) {
	return endpoint(c, b, h.Auto && b.ID == h.NodeID)
}

// endpoint finds the address of a broker's listener. With auto, clients are told
// the address that they came to.
func endpoint(c *Call, b *cluster.Broker, auto bool) (host string, port int32, ok bool) {
	e, ok := b.Endpoint(c.Conn.Listener)
	if !ok {
		return "", 0, false
	}
	if auto {
		if host, port, err := net.SplitHostPort(c.Conn.Local); err == nil {
			if n, err := strconv.ParseUint(port, 10, 16); err == nil {
				return host, int32(n), true
			}
		}
	}
	return e.Host, int32(e.Port), true
}

// partitionState is what clients are told of a partition's leader: none, and
// why, where it cannot be reached.
//
// A leader that lacks the client's listener was always said to be "not
// available"; since Metadata 6 there is a code of its own, see named.
func (h *ClusterHandlers) partitionState(c *Call, img *cluster.Image, p *cluster.Partition, named bool) (leader int32, offline []int32, code kafka.Code) {
	reachable := func(id int32) bool {
		b := img.Broker(id)
		if b == nil || b.Fenced {
			return false
		}
		_, _, ok := h.endpoint(c, b)
		return ok
	}
	offline = []int32{}
	for _, id := range p.Replicas {
		if !reachable(id) {
			offline = append(offline, id)
		}
	}
	switch {
	case p.Leader == kafka.NoBroker || !img.Alive(p.Leader):
		return kafka.NoBroker, offline, kafka.LeaderNotAvailable
	case slices.Contains(offline, p.Leader) && named:
		return kafka.NoBroker, offline, kafka.ListenerNotFound
	case slices.Contains(offline, p.Leader):
		return kafka.NoBroker, offline, kafka.LeaderNotAvailable
	}
	return p.Leader, offline, kafka.None
}

// within gives the time that a request grants the controller. Whoever waits holds
// no read buffer meanwhile.
func (c *Call) within(ms int32) (context.Context, context.CancelFunc) {
	c.Free()
	return context.WithTimeout(c.Ctx, time.Duration(ms)*time.Millisecond)
}
