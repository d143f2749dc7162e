package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// createPartitions answers CreatePartitions (key 37, versions 0 to 3; KIP-195).
// Every topic is answered for itself.
//
//	authorize  TOPIC_AUTHORIZATION_FAILED
//	decide     see [controller.CreatePartitions]; NOT_CONTROLLER,
//	           REQUEST_TIMED_OUT
//
// Versions: 3 throttling code (KIP-599).
func (h *AdminHandlers) createPartitions(c *Call, req *msg.CreatePartitionsRequest) *msg.CreatePartitionsResponse {
	var refused []msg.CreatePartitionsResponseResult
	allowed := req.Topics[:0]
	for _, t := range req.Topics {
		if c.Allowed(auth.Alter, auth.Topic, t.Name) {
			allowed = append(allowed, t)
			continue
		}
		refused = append(refused, msg.CreatePartitionsResponseResult{
			Name: t.Name, ErrorCode: int16(kafka.TopicAuthorizationFailed)})
	}
	req.Topics = allowed
	ctx, cancel := c.within(req.TimeoutMs)
	defer cancel()
	resp := h.Metadata.CreatePartitions(ctx, req)
	resp.Results = append(resp.Results, refused...)
	return resp
}
