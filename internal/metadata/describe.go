package metadata

import (
	"context"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Quorum is the state of the quorum as this node knows it.
func (m *Metadata) Quorum() quorum.Status { return m.node.Status() }

// DirectoryID is the id of the directory that holds the metadata log.
func (m *Metadata) DirectoryID() kafka.UUID { return m.node.Self().Directory }

// DescribeQuorum answers DescribeQuorum. Only the leader knows how far the
// others are. One that is cut off from them notices within an election timeout
// and then refuses.
func (m *Metadata) DescribeQuorum(ctx context.Context, req *msg.DescribeQuorumRequest) *msg.DescribeQuorumResponse {
	resp := msg.NewDescribeQuorumResponse()
	resp.ErrorMessage = new("")
	if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 || req.Topics[0].TopicName != quorum.Topic {
		return describeOther(req)
	}
	out := msg.DescribeQuorumResponseTopic{TopicName: req.Topics[0].TopicName}
	row := msg.DescribeQuorumResponseTopicPartition{PartitionIndex: req.Topics[0].Partitions[0].PartitionIndex, ErrorMessage: new("")}
	st := m.node.Status()
	switch {
	case row.PartitionIndex != quorum.Partition:
		return describeOther(req)
	case st.Leader != m.cfg.NodeID:
		row.ErrorCode, row.ErrorMessage = answer(quorum.ErrNotLeader)
		row.LeaderID, row.LeaderEpoch = st.Leader, int32(st.Term)
	default:
		now := m.cfg.Now().UnixMilli()
		row.LeaderID, row.LeaderEpoch, row.HighWatermark = st.Leader, int32(st.Term), int64(st.Committed)+1
		row.CurrentVoters = replicaStates(st.Voters, st, now)
		row.Observers = replicaStates(st.Learners, st, now)
		resp.Nodes = m.quorumNodes(st)
	}
	out.Partitions = []msg.DescribeQuorumResponseTopicPartition{row}
	resp.Topics = []msg.DescribeQuorumResponseTopic{out}
	return &resp
}

// describeOther answers for what is not the metadata log.
func describeOther(req *msg.DescribeQuorumRequest) *msg.DescribeQuorumResponse {
	resp := msg.NewDescribeQuorumResponse()
	resp.ErrorMessage = new("")
	for _, t := range req.Topics {
		out := msg.DescribeQuorumResponseTopic{TopicName: t.TopicName}
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, msg.DescribeQuorumResponseTopicPartition{
				PartitionIndex: p.PartitionIndex, ErrorCode: int16(kafka.UnknownTopicOrPartition),
				ErrorMessage: new("This server does not host this topic-partition.")})
		}
		resp.Topics = append(resp.Topics, out)
	}
	return &resp
}

// replicaStates tells how far members are. Who is at the leader's end and was
// heard of is caught up now; the leader itself always is.
func replicaStates(list []quorum.Progress, st quorum.Status, now int64) []msg.DescribeQuorumResponseReplicaState {
	var out []msg.DescribeQuorumResponseReplicaState
	for _, p := range list {
		r := msg.NewDescribeQuorumResponseReplicaState()
		r.ReplicaID, r.ReplicaDirectoryID, r.LogEndOffset = p.Node, p.Directory, p.End
		if p.Active {
			r.LastFetchTimestamp = now
			if p.End > int64(st.Last) {
				r.LastCaughtUpTimestamp = now
			}
		}
		out = append(out, r)
	}
	return out
}

// quorumNodes gives the addresses of the voters, on the listeners that they
// registered for the controller.
func (m *Metadata) quorumNodes(st quorum.Status) []msg.DescribeQuorumResponseNode {
	img := m.Image()
	controllers := m.cfg.Properties.List("controller.listener.names")
	var nodes []msg.DescribeQuorumResponseNode
	for _, v := range st.Voters {
		node := msg.DescribeQuorumResponseNode{NodeID: v.Node}
		if b := img.Broker(v.Node); b != nil {
			for _, name := range controllers {
				if e, ok := b.Endpoint(name); ok {
					node.Listeners = append(node.Listeners, msg.DescribeQuorumResponseNodeListener{
						Name: e.Listener, Host: e.Host, Port: e.Port})
				}
			}
		}
		nodes = append(nodes, node)
	}
	return nodes
}
