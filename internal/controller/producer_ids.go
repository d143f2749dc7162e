package controller

import (
	"math"

	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
	"github.com/myelin-stream/myelin/internal/wire/state"
)

// ProducerIDBlock is how many producer ids a broker gets at once (KIP-730).
const ProducerIDBlock = 1000

// AllocateProducerIDs gives a broker a block of producer ids. A block is never
// given again, whatever becomes of the broker.
func AllocateProducerIDs(s *State, req *msg.AllocateProducerIDsRequest) (Records, *msg.AllocateProducerIDsResponse) {
	resp := msg.NewAllocateProducerIDsResponse()
	b := s.Image.Broker(req.BrokerID)
	first := s.Image.NextProducerID()
	switch {
	case b == nil:
		resp.ErrorCode = int16(kafka.BrokerIDNotRegistered)
		return nil, &resp
	case b.Epoch != req.BrokerEpoch:
		resp.ErrorCode = int16(kafka.StaleBrokerEpoch)
		return nil, &resp
	case first > math.MaxInt64-ProducerIDBlock:
		resp.ErrorCode = int16(kafka.UnknownServerError) // 2^63 are used up
		return nil, &resp
	}
	r := state.NewProducerIDsRecord()
	r.BrokerID, r.BrokerEpoch, r.NextProducerID = req.BrokerID, req.BrokerEpoch, first+ProducerIDBlock
	resp.ProducerIDStart, resp.ProducerIDLen = first, ProducerIDBlock
	return Records{&r}, &resp
}
