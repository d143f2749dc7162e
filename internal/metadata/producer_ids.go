package metadata

import (
	"context"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// idBlock is this broker's block of producer ids. What is left of it when the
// process ends is lost; there are 2^63.
type idBlock struct {
	turn      turn
	next, end int64 // under the turn
}

// AllocateProducerIDs answers AllocateProducerIds, for other brokers.
func (m *Metadata) AllocateProducerIDs(ctx context.Context, req *msg.AllocateProducerIDsRequest) *msg.AllocateProducerIDsResponse {
	resp, err := ask[msg.AllocateProducerIDsResponse](ctx, m, req, newest(req))
	if err != nil {
		resp = new(msg.NewAllocateProducerIDsResponse())
		resp.ErrorCode, _ = answer(err)
	}
	return resp
}

// NextProducerID gives out a producer id that was never given out before, from
// a block of this broker. The error wraps a code that clients try again on.
func (m *Metadata) NextProducerID(ctx context.Context) (int64, error) {
	if err := m.ids.turn.takeFor(ctx); err != nil {
		return 0, timedOut(err)
	}
	defer m.ids.turn.give()
	if m.ids.next == m.ids.end {
		req := msg.NewAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = m.cfg.NodeID, m.BrokerEpoch()
		resp := m.AllocateProducerIDs(ctx, &req)
		if code := kafka.Code(resp.ErrorCode); code != kafka.None {
			return 0, code
		}
		m.ids.next, m.ids.end = resp.ProducerIDStart, resp.ProducerIDStart+int64(resp.ProducerIDLen)
	}
	id := m.ids.next
	m.ids.next++
	return id, nil
}
