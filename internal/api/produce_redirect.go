package api

import (
	"encoding/binary"
	"slices"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// guide is what a slot needs to tell producers whom to ask instead when leadership
// goes while their records wait (KIP-951).
type guide struct {
	h        *DataHandlers
	listener string
}

// redirectVersion is the first of Produce that tells it.
const redirectVersion = 10

// endpoint adds where a broker is found on a listener, once.
func (h *DataHandlers) endpoint(list []msg.ProduceResponseNodeEndpoint, id int32, listener string) []msg.ProduceResponseNodeEndpoint {
	b := h.Image().Broker(id)
	if b == nil || slices.ContainsFunc(list, func(e msg.ProduceResponseNodeEndpoint) bool { return e.NodeID == id }) {
		return list
	}
	if e, ok := b.Endpoint(listener); ok {
		list = append(list, msg.ProduceResponseNodeEndpoint{NodeID: b.ID, Host: e.Host, Port: int32(e.Port), Rack: b.Rack})
	}
	return list
}

// redirect makes the frame of an answer anew with the leaders that the cluster
// knows by now, for partitions that this broker does not lead any more. It gives
// the frame as it is if there is nothing to tell.
func (g *guide) redirect(frame []byte, version int16) []byte {
	const head = 4 + 4 // size, correlation id
	var r wire.Reader
	r.Reset(frame[head:])
	r.SkipTags()
	resp := msg.NewProduceResponse()
	if resp.Decode(&r, version); r.Failed() {
		return frame
	}
	found := false
	for i := range resp.Responses {
		t := &resp.Responses[i]
		ref := topicRef{name: t.Name, id: t.TopicID, byID: version >= 13}
		for j := range t.PartitionResponses {
			row := &t.PartitionResponses[j]
			if kafka.Code(row.ErrorCode) != kafka.NotLeaderOrFollower {
				continue
			}
			id, epoch := g.h.leader(&ref, row.Index)
			if id == kafka.NoBroker {
				continue
			}
			row.CurrentLeader.LeaderID, row.CurrentLeader.LeaderEpoch = id, epoch
			resp.NodeEndpoints = g.h.endpoint(resp.NodeEndpoints, id, g.listener)
			found = true
		}
	}
	if !found {
		return frame
	}
	frame = resp.Append(append(frame[:head:head], 0), version) // no tags in the header
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}
