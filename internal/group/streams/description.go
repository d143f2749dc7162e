package streams

import (
	"time"

	"github.com/myelin-stream/myelin/internal/group/kind"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// What a describe says of the description of a topology.
const (
	notStored int8 = 1
	available int8 = 3
)

// The time between two requests for a description that does not come.
const (
	firstAsk = 30 * time.Second
	lastAsk  = time.Hour
)

// described is the description of the topology, which a member gave, and when to
// ask for it again.
type described struct {
	epoch int32 // of the topology that it describes
	text  *msg.StreamsGroupDescribeResponseTopologyDescription

	asked int32     // the epoch that was asked for
	again time.Time // not to ask before
	wait  time.Duration
}

// wantsDescription says whether the member is to describe its topology.
func (b *beat) wantsDescription() bool {
	d, epoch := &b.g.described, b.topology.epoch
	switch {
	case b.who.Version < 1 || !b.cfg.KeepTopologies || b.next.topologyEpoch < epoch:
		return false
	case d.text != nil && d.epoch == epoch || b.g.failed == epoch:
		return false
	case d.wait > 0 && d.asked == epoch && b.now.Before(d.again):
		return false
	case d.wait == 0 || d.asked != epoch:
		d.wait = firstAsk
	default:
		d.wait = min(2*d.wait, lastAsk)
	}
	d.asked, d.again = epoch, b.now.Add(d.wait)
	return true
}

// description is what describes tell.
func (g *Group) description() (*msg.StreamsGroupDescribeResponseTopologyDescription, int8) {
	if d := &g.described; d.text != nil && g.topology != nil && d.epoch == g.topology.epoch {
		return d.text, available
	}
	return nil, notStored
}

// SetDescription takes a member's description of the topology, and keeps it as
// long as the group's coordinator does not move: who coordinates next asks again.
//
// Errors: UNSUPPORTED_VERSION when descriptions are not kept, INVALID_REQUEST,
// UNKNOWN_MEMBER_ID.
func (g *Group) SetDescription(req *msg.StreamsGroupTopologyDescriptionUpdateRequest) (kind.Step, error) {
	m := g.members[req.MemberID]
	switch {
	case m == nil:
		return kind.Step{}, unknownMember(req.MemberID, g.id)
	case g.topology == nil || req.TopologyEpoch != g.topology.epoch:
		return kind.Step{}, invalid("The epoch is not that of the group's topology.")
	}
	text, err := describe(&req.TopologyDescription)
	if err != nil {
		return kind.Step{}, err
	}
	g.described = described{epoch: req.TopologyEpoch, text: text}
	h := g.header
	h.stored = req.TopologyEpoch
	step := kind.Step{Wake: g.wake()}
	if h.stored != g.stored {
		step.Records = append(step.Records, g.headerRecord(h))
	}
	return step, nil
}

// The types of nodes.
const (
	sourceNode    int8 = 1
	processorNode int8 = 2
	sinkNode      int8 = 3
)

// describe makes the answer to describes of what a member said.
func describe(d *msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription) (*msg.StreamsGroupDescribeResponseTopologyDescription, error) {
	out := &msg.StreamsGroupDescribeResponseTopologyDescription{
		Subtopologies: []msg.StreamsGroupDescribeResponseTopologyDescriptionSubtopology{},
		GlobalStores:  []msg.StreamsGroupDescribeResponseTopologyDescriptionGlobalStore{},
	}
	for i := range d.Subtopologies {
		s := msg.StreamsGroupDescribeResponseTopologyDescriptionSubtopology{SubtopologyID: d.Subtopologies[i].SubtopologyID}
		for j := range d.Subtopologies[i].Nodes {
			n, err := describeNode(&d.Subtopologies[i].Nodes[j])
			if err != nil {
				return nil, err
			}
			s.Nodes = append(s.Nodes, n)
		}
		out.Subtopologies = append(out.Subtopologies, s)
	}
	for i := range d.GlobalStores {
		g := &d.GlobalStores[i]
		if g.Source.NodeType != sourceNode || g.Processor.NodeType != processorNode {
			return nil, invalid("A global store has a source and a processor.")
		}
		source, _ := describeNode(&g.Source)
		processor, _ := describeNode(&g.Processor)
		out.GlobalStores = append(out.GlobalStores, msg.StreamsGroupDescribeResponseTopologyDescriptionGlobalStore{Source: source, Processor: processor})
	}
	return out, nil
}

func describeNode(n *msg.StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode) (msg.StreamsGroupDescribeResponseTopologyDescriptionNode, error) {
	out := msg.StreamsGroupDescribeResponseTopologyDescriptionNode{
		Name: n.Name, NodeType: n.NodeType, SourceTopics: []string{}, Stores: []string{}, Successors: n.Successors,
	}
	switch n.NodeType {
	case sourceNode:
		out.SourceTopics = n.SourceTopics
	case processorNode:
		out.Stores = n.Stores
	case sinkNode:
		out.SinkTopic = n.SinkTopic
	default:
		return out, invalid("A node is a source, a processor or a sink.")
	}
	return out, nil
}

func invalid(text string) error { return kind.Refuse(kafka.InvalidRequest, "%s", text) }
