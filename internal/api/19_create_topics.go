package api

import (
	"github.com/myelin-stream/myelin/internal/auth"
	"github.com/myelin-stream/myelin/internal/kafka"
	"github.com/myelin-stream/myelin/internal/wire/msg"
)

// createTopics answers CreateTopics (key 19, versions 2 to 7). Every topic is
// answered for itself.
//
//	authorize  TOPIC_AUTHORIZATION_FAILED
//	decide     see [controller.CreateTopics]; NOT_CONTROLLER, REQUEST_TIMED_OUT
//	describe   the settings of new topics, if the client may see them
//
// Versions: 4 defaults for partitions and replicas (-1), 5 settings in the answer
// (KIP-525), 6 throttling code (KIP-599), 7 topic ids (KIP-516).
func (h *AdminHandlers) createTopics(c *Call, req *msg.CreateTopicsRequest) *msg.CreateTopicsResponse {
	var refused []msg.CreateTopicsResponseTopic
	if !c.AllowedCluster(auth.Create) {
		allowed := req.Topics[:0]
		for _, t := range req.Topics {
			if c.Allowed(auth.Create, auth.Topic, t.Name) {
				allowed = append(allowed, t)
				continue
			}
			row := msg.NewCreateTopicsResponseTopic()
			row.Name, row.Configs = t.Name, []msg.CreateTopicsResponseTopicConfig{}
			row.ErrorCode, row.ErrorMessage = int16(kafka.TopicAuthorizationFailed), new(unauthorizedText)
			refused = append(refused, row)
		}
		req.Topics = allowed
	}
	ctx, cancel := c.within(req.TimeoutMs)
	defer cancel()
	resp := h.Metadata.CreateTopics(ctx, req)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode == 0 && !c.Allowed(auth.DescribeConfigs, auth.Topic, t.Name) {
			t.TopicConfigErrorCode = int16(kafka.TopicAuthorizationFailed)
			t.NumPartitions, t.ReplicationFactor = -1, -1
			t.Configs = []msg.CreateTopicsResponseTopicConfig{}
		}
	}
	resp.Topics = append(resp.Topics, refused...)
	return resp
}
