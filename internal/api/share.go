package api

import (
	"slices"
	"sync"

	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/cluster"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/share"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// ShareHandlers answer the members of share groups that read (KIP-932).
type ShareHandlers struct {
	Share *share.Service
	Data  *DataHandlers
	Auto  bool // tell clients the address of this broker that they came to
}

func (h *ShareHandlers) rows() []Row {
	group, topic := Access{auth.Read, auth.Group}, Access{auth.Read, auth.Topic}
	return []Row{
		row(kafka.KeyShareFetch, h.fetch, group, topic),
		row(kafka.KeyShareAcknowledge, cold(h.acknowledge), group, topic),
	}
}

// shareFeature is the feature without which share groups are not served.
const shareFeature = "share.version"

// who says on whose behalf a request comes.
//
// Errors: UNSUPPORTED_VERSION, INVALID_REQUEST, GROUP_AUTHORIZATION_FAILED.
func (h *ShareHandlers) who(c *Call, group, member *string) (share.Member, kafka.Code) {
	switch {
	case h.Data.Image().Feature(shareFeature) == 0:
		return share.Member{}, kafka.UnsupportedVersion
	case group == nil || member == nil:
		return share.Member{}, kafka.InvalidRequest
	case !c.Allowed(auth.Read, auth.Group, *group):
		return share.Member{}, kafka.GroupAuthorizationFailed
	case *member == "":
		return share.Member{}, kafka.InvalidRequest
	}
	return share.Member{Group: *group, ID: *member}, kafka.None
}

// sharePartition names a partition of a share request.
type sharePartition struct {
	share.TopicPartition
	acks []share.Ack
	bad  bool // the acknowledgements make no sense

	code kafka.Code
	why  *string
}

// ackBatch is a batch of acknowledgements of either request.
type ackBatch = msg.ShareFetchRequestTopicPartitionAcknowledgementBatch

// takeAcks copies acknowledgements out of a request and looks whether they make
// sense: batches in order with a type for all of their records or for each.
func (p *sharePartition) takeAcks(batches []ackBatch, renews bool) {
	last := int64(-1)
	for _, b := range batches {
		n := int64(len(b.AcknowledgeTypes))
		p.bad = p.bad || b.FirstOffset > b.LastOffset || b.FirstOffset <= last || n == 0 ||
			n > 1 && n != b.LastOffset-b.FirstOffset+1
		for _, t := range b.AcknowledgeTypes {
			p.bad = p.bad || t < share.Gap || t > share.Renew || t == share.Renew && !renews
		}
		last = b.LastOffset
		p.acks = append(p.acks, share.Ack{First: b.FirstOffset, Last: b.LastOffset, Types: b.AcknowledgeTypes})
	}
}

// settle hands over what a member says of records, of several partitions at
// once, and leaves in each what became of it.
func (h *ShareHandlers) settle(c *Call, m share.Member, parts []sharePartition) {
	h.Share.Stats.Requests.Add(1)
	if len(parts) == 1 {
		h.settleOne(c, m, &parts[0])
		return
	}
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { h.settleOne(c, m, &parts[i]) })
	}
	all.Wait()
}

func (h *ShareHandlers) settleOne(c *Call, m share.Member, p *sharePartition) {
	topic := topicRef{id: p.TopicID, byID: true}
	t := h.Data.topic(&topic)
	switch {
	case t == nil:
		p.code = kafka.UnknownTopicID
		return
	case !c.Allowed(auth.Read, auth.Topic, t.Name):
		p.code = kafka.TopicAuthorizationFailed
		return
	case t.Partition(p.Partition) == nil:
		p.code = kafka.UnknownTopicOrPartition
		return
	case p.bad:
		p.code = kafka.InvalidRequest
		return
	}
	err := error(kafka.UnknownTopicOrPartition)
	if at := h.Share.Known(m.Group, p.TopicPartition); at != nil {
		err = at.Acknowledge(c.Ctx, m.ID, p.acks)
	} else if t.Partition(p.Partition).Leader != h.Data.NodeID {
		err = kafka.NotLeaderOrFollower
	}
	if err != nil {
		p.code, p.why = kafka.CodeOf(err), new(err.Error())
	}
}

// leaderOf is whom to ask instead, where the code says that it is not this
// broker, and where to find it (KIP-951).
func (h *ShareHandlers) leaderOf(c *Call, tp share.TopicPartition, code kafka.Code) (leader leaderHint, b *cluster.Broker) {
	if code != kafka.NotLeaderOrFollower && code != kafka.FencedLeaderEpoch {
		return leaderHint{}, nil
	}
	topic := topicRef{id: tp.TopicID, byID: true}
	p := h.Data.topic(&topic).Partition(tp.Partition)
	if p == nil {
		return leaderHint{}, nil
	}
	return leaderHint{p.Leader, p.LeaderEpoch}, h.Data.Image().Broker(p.Leader)
}

// shareNode is a broker as answers to share requests name it.
type shareNode = msg.ShareAcknowledgeResponseNodeEndpoint

// node is where the client reaches a broker; nil if nowhere.
func (h *ShareHandlers) node(c *Call, b *cluster.Broker) *shareNode {
	if b == nil {
		return nil
	}
	host, port, ok := endpoint(c, b, h.Auto && b.ID == h.Data.NodeID)
	if !ok {
		return nil
	}
	return &shareNode{NodeID: b.ID, Host: host, Port: port, Rack: b.Rack}
}

// addNode adds a broker that is not there yet.
func addNode(to []shareNode, n *shareNode) []shareNode {
	if n == nil || slices.ContainsFunc(to, func(o shareNode) bool { return o.NodeID == n.NodeID }) {
		return to
	}
	return append(to, *n)
}

// lockMillis is how long a record is a member's, in an answer.
func lockMillis(s *share.Settings) int32 { return int32(s.Lock.Milliseconds()) }

// watchEnd has the member's session end with its connection.
func (h *ShareHandlers) watchEnd(c *Call) {
	if c.Conn.OnClose == nil {
		id := c.Conn.ID
		c.Conn.OnClose = func() { h.Share.Closed(id) }
	}
}
