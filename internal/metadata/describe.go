package metadata

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/quorum"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// Quorum is the state of the quorum as this node knows it.
func (m *Metadata) Quorum() quorum.Status { return m.node.Status() }

// DirectoryID is the id of the directory that holds the metadata log.
func (m *Metadata) DirectoryID() kafka.UUID { return m.node.Self().Directory }

// describeWithin is how long a question about the quorum may take.
const describeWithin = 10 * time.Second

// DescribeQuorum answers DescribeQuorum, on any node: who leads is asked, since only
// the leader knows how far the others are, and it asks a majority whether it still
// leads. Without one the answer is NOT_CONTROLLER, or REQUEST_TIMED_OUT.
func (m *Metadata) DescribeQuorum(ctx context.Context, req *msg.DescribeQuorumRequest, version int16) *msg.DescribeQuorumResponse {
	if !describes(req) {
		return describeOther(req)
	}
	ctx, cancel := context.WithTimeout(ctx, describeWithin)
	defer cancel()
	resp, err := ask[msg.DescribeQuorumResponse](ctx, m, req, version)
	if err == nil {
		return resp
	}
	st := m.node.Status()
	row := msg.DescribeQuorumResponseTopicPartition{ErrorMessage: new("")}
	row.ErrorCode, row.ErrorMessage = told(err)
	row.LeaderID, row.LeaderEpoch = st.Leader, int32(st.Term)
	return describing(row)
}

// describes says whether a request is about the metadata log and nothing else.
func describes(req *msg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].TopicName == quorum.Topic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].PartitionIndex == quorum.Partition
}

func describing(row msg.DescribeQuorumResponseTopicPartition) *msg.DescribeQuorumResponse {
	resp := msg.NewDescribeQuorumResponse()
	resp.ErrorMessage = new("")
	resp.Topics = []msg.DescribeQuorumResponseTopic{{TopicName: quorum.Topic, Partitions: []msg.DescribeQuorumResponseTopicPartition{row}}}
	return &resp
}

// describe tells of the quorum what its leader knows.
func (m door) describe(ctx context.Context, req *msg.DescribeQuorumRequest) (*msg.DescribeQuorumResponse, error) {
	if !describes(req) {
		return describeOther(req), nil
	}
	if m.node.Status().Leader != m.cfg.NodeID {
		return nil, quorum.ErrNotLeader
	}
	if err := m.confirm(ctx); err != nil {
		return nil, err
	}
	st := m.node.Status()
	now := m.cfg.Now().UnixMilli()
	resp := describing(msg.DescribeQuorumResponseTopicPartition{
		ErrorMessage: new(""), LeaderID: st.Leader, LeaderEpoch: int32(st.Term), HighWatermark: int64(st.Committed) + 1,
		CurrentVoters: replicaStates(st.Voters, st, now), Observers: replicaStates(st.Learners, st, now),
	})
	resp.Nodes = m.quorumNodes(st)
	return resp, nil
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

// replicaStates tells how far members are, by node. The leader itself is always
// caught up.
func replicaStates(list []quorum.Progress, st quorum.Status, now int64) []msg.DescribeQuorumResponseReplicaState {
	var out []msg.DescribeQuorumResponseReplicaState
	for _, p := range byNode(list) {
		r := msg.NewDescribeQuorumResponseReplicaState()
		r.ReplicaID, r.ReplicaDirectoryID, r.LogEndOffset = p.Node, p.Directory, p.End
		r.LastFetchTimestamp, r.LastCaughtUpTimestamp = p.Heard, p.Whole
		if p.Member == st.Self {
			r.LastFetchTimestamp, r.LastCaughtUpTimestamp = now, now
		}
		out = append(out, r)
	}
	return out
}

func byNode(list []quorum.Progress) []quorum.Progress {
	return slices.SortedStableFunc(slices.Values(list), func(a, b quorum.Progress) int { return cmp.Compare(a.Node, b.Node) })
}

// quorumNodes gives the addresses of the voters, on the listeners that they
// registered for the controller, and of those learners that have one: they can
// be given a vote. One that is no broker registers none: it is where it said it
// would be as it joined.
func (m door) quorumNodes(st quorum.Status) []msg.DescribeQuorumResponseNode {
	img := m.Image()
	controllers := m.cfg.Properties.List("controller.listener.names")
	var nodes []msg.DescribeQuorumResponseNode
	for at, v := range slices.Concat(byNode(st.Voters), byNode(st.Learners)) {
		node := msg.DescribeQuorumResponseNode{NodeID: v.Node}
		if b := img.Broker(v.Node); b != nil {
			for _, name := range controllers {
				if e, ok := b.Endpoint(name); ok {
					node.Listeners = append(node.Listeners, msg.DescribeQuorumResponseNodeListener{
						Name: e.Listener, Host: e.Host, Port: e.Port})
				}
			}
		} else if p, ok := m.joined.get(v.Node); ok && len(controllers) > 0 {
			node.Listeners = append(node.Listeners, msg.DescribeQuorumResponseNodeListener{
				Name: controllers[0], Host: p.host, Port: p.port})
		}
		if at < len(st.Voters) || len(node.Listeners) > 0 {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
